"""Targets by their kind: what the agent makes of each, and what serves a stream that the gateway opens to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wicketgate_gateway.agent.http_target import HttpService
from wicketgate_gateway.agent.session import Session
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.gateway import AgentTarget, HttpTarget, KubernetesTarget, PostgresTarget
from wicketgate_gateway.tunnel.messages import Open
from wicketgate_gateway.tunnel.mux import Stream


class Reached(Protocol):
    """A target of the agent. `Target` (PostgreSQL) is one, too, and served by `Session`."""

    name: str
    """What policies call it."""


class Serves(Reached, Protocol):
    """A target that serves streams itself."""

    def serve(self, stream: Stream, opening: Open, on_done: Callable[[Any], None]) -> object:
        """Serve a stream until either side ends it; call `on_done` with what is returned, once, at the end."""
        ...


AnyTarget = Target | Serves


def make(name: str, config: AgentTarget) -> AnyTarget:
    """The target of this configuration. Raises WicketgateError for what cannot be one."""
    if isinstance(config, PostgresTarget):
        return Target(name, config)
    if isinstance(config, HttpTarget | KubernetesTarget):
        return HttpService(name, config)
    from wicketgate_gateway.agent.ssh_target import SshTarget  # asyncssh takes a while, and few agents need it

    return SshTarget(name, config)


def serve(target: AnyTarget, stream: Stream, opening: Open, on_done: Callable[[Any], None]) -> object:
    """Serve a stream to the target."""
    if isinstance(target, Target):
        return Session(stream, opening, target, on_done)
    return target.serve(stream, opening, on_done)
