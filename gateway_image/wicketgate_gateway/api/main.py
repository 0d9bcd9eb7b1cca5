"""`python -m wicketgate_gateway.api --config gateway.yaml`: the API's process.

How this works: the gateway starts this process and gives its own configuration on standard input (`--config -`: one
line of JSON); when the input ends, the gateway is gone, and so this process ends. It opens the control store, reads the
policy bundle as the gateway does, listens, and then writes `<state>/api.json` with its port. Logs are JSON lines on
standard error and hold no secrets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import structlog
import uvloop
from pydantic import ValidationError

from wicketgate_gateway.api import bearer
from wicketgate_gateway.api import http as server_http
from wicketgate_gateway.api.access import Access
from wicketgate_gateway.api.app import Parts, guarded
from wicketgate_gateway.api.changes import Changes
from wicketgate_gateway.api.names import Names
from wicketgate_gateway.api.sessions import SessionReader
from wicketgate_gateway.api.webhooks import Webhooks
from wicketgate_gateway.approvals.gone import Gone
from wicketgate_gateway.approvals.people import PeopleStore
from wicketgate_gateway.approvals.place import store_url
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.model import read
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.authenticator import Authenticator
from wicketgate_gateway.identity.people import PeopleAuthenticator
from wicketgate_gateway.identity.workload import WorkloadCredential
from wicketgate_gateway.policy.load import PolicyStore
from wicketgate_gateway.recording.files import write_whole
from wicketgate_gateway.server.tls import server_context
from wicketgate_gateway.ui.app import WithPages
from wicketgate_gateway.ui.desk import Desk
from wicketgate_gateway.ui.saml import SamlSignIn
from wicketgate_gateway.ui.sign_in import SignIn

POLICY_SECONDS = 0.5
READY = "api.json"
MAX_CONFIG = 4 * 1024 * 1024
log = structlog.get_logger("wicketgate.api")


async def run(config: GatewayConfig, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises WicketgateError for what cannot work."""
    async with contextlib.AsyncExitStack() as stack:
        if config.listen.api is None or config.people is None:
            raise WicketgateError("there is no `listen.api`", code="api-off", remedy="give `listen.api` and `people`")
        state = Path(config.state)
        ready = state / READY
        ready.unlink(missing_ok=True)
        context = server_context(config.tls)
        policies = PolicyStore(config.policies)
        client = await stack.enter_async_context(http.client(config.entra))
        authenticator = Authenticator(
            config, groups=lambda: policies.current.groups, bots=lambda: policies.current.bots, http=client
        )
        credential = WorkloadCredential(config.entra, config.workload, client)
        people = PeopleAuthenticator(config, authenticator.verifier, credential, client)
        store = await open_store(store_url(config))
        stack.push_async_callback(store.close)
        gone = Gone(config.entra.tenant, authenticator, lambda: policies.current.bots)
        approvals = Approvals(store, policy=lambda: policies.current.digest, bot_gone=gone.why)
        changes = Changes(store)
        webhooks = Webhooks(config, store)
        signed_in = PeopleStore(store.database)
        tokens = bearer.of_setting(config, people, signed_in, http.fetcher(client))
        parts = Parts(
            config=config,
            access=Access(people, lambda: frozenset(policies.current.bundle.approvers.values()), tokens=tokens),
            approvals=approvals,
            changes=changes,
            names=Names(config, lambda: policies.current),
            sessions=SessionReader(state),
            policies=lambda: policies.current,
            tokens=tokens,
        )
        by_saml = config.people.saml
        saml = None
        if by_saml is not None:
            saml = SamlSignIn(config, by_saml, people, http.fetcher(client), used=signed_in)
        desk = Desk(parts, people, SignIn(config, people, client), saml=saml)
        bound = _bind(config.listen.api.host, config.listen.api.port)
        stack.callback(bound.close)
        server = server_http.server(WithPages(guarded(parts), desk, config.people.url), context)
        tasks = [changes.run(), approvals.sweeping(), webhooks.run(), _follow(policies)]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task) for task in tasks]
            serving = group.create_task(server._serve([bound]))
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells by no event
                await asyncio.sleep(0.01)
            port = int(bound.getsockname()[1])
            write_whole(ready, json.dumps({"api": port, "pid": os.getpid()}) + "\n")
            log.info("api ready", port=port)
            await stop.wait()
            ready.unlink(missing_ok=True)
            server.should_exit = True
            await serving
            for task in running:
                task.cancel()
        log.info("api stopped")


async def _follow(policies: PolicyStore) -> None:
    while True:
        await asyncio.sleep(POLICY_SECONDS)
        try:
            policies.refresh()
        except Exception:
            log.exception("the policies could not be looked at")


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        raise WicketgateError(
            f"the API cannot listen: {error.strerror or error}",
            code="address-unusable",
            remedy="check `listen.api`; port 0 takes a free one",
        ) from None
    return bound


def _configured(given: str) -> GatewayConfig:
    if given != "-":
        return read(GatewayConfig, given)
    try:
        return GatewayConfig.model_validate_json(sys.stdin.readline(MAX_CONFIG))
    except ValidationError as error:
        raise WicketgateError(
            f"the configuration on standard input is wrong in {error.error_count()} places", code="config-invalid"
        ) from None


async def _main(config: GatewayConfig, *, watch_input: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if watch_input:
        # A thread: standard input may be anything, and the end of the gateway is the end of it.
        def wait() -> None:
            while sys.stdin.readline(MAX_CONFIG):
                pass
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait, daemon=True).start()
    await run(config, stop)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 at the end, 2 for a configuration that is wrong."""
    from wicketgate_gateway.server.log import configure_logging

    parser = argparse.ArgumentParser(prog="wicketgate-api", description="The API for people.")
    parser.add_argument("--config", required=True, metavar="FILE", help="gateway.yaml; `-`: JSON on standard input")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        uvloop.run(_main(_configured(options.config), watch_input=options.config == "-"))
    except WicketgateError as error:
        log.error("the API cannot run", code=error.code, reason=str(error))
        return 2
    return 0
