"""Answers to requests to Kubernetes: how they are masked, and what is told in place of one.

How this works: what could hold values of Secrets is asked for as JSON alone and looked at as a whole, a watch line by
line, for each of its lines is a document by itself.
"""

from __future__ import annotations

import json
from typing import Final

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking import kubernetes as secrets
from wicketgate_gateway.session.kubernetes_upstream import UpstreamError
from wicketgate_gateway.wire.kubernetes import body as bodies
from wicketgate_gateway.wire.kubernetes.request import Request
from wicketgate_gateway.wire.kubernetes.status import status

MAX_LINE: Final = 16 * 1024 * 1024
JSON: Final = [("Content-Type", "application/json")]


def no_such(request: Request) -> Verdict:
    """The denial of a resource that the API server does not have."""
    where = "/".join(filter(None, (request.group, request.version)))
    reason = f"the API server has no `{request.full_resource}` in `{where}`"
    return Verdict(Effect.DENY, "builtin:discovery", reason, "look at `kubectl api-resources`", "unknown-resource")


def code_of(verdict: Verdict, code: int) -> int:
    """The HTTP status of a refusal."""
    return 429 if verdict.code == "hold-pending" else code


def told(verdict: Verdict) -> str:
    """A verdict in one line."""
    return f"{verdict.reason}; {verdict.remedy}" if verdict.remedy else verdict.reason


def refusal(verdict: Verdict, code: int) -> bytes:
    """What a client is told of a denial, or of a hold that did not come to run."""
    retry = 30 if verdict.code == "hold-pending" else 0
    return status(code, f"wicketgate: {told(verdict)}", cause=verdict.code, retry_after=retry)


def dry_target(request: Request) -> str:
    """The request's target as a dry run."""
    return request.target if request.dry_run else request.target + ("&" if request.query else "?") + "dryRun=All"


def json_alone(accept: str) -> str:
    """The JSON forms (objects, tables) that an `Accept` asks for, in its order: what is looked at must be JSON."""
    kept = [part.strip() for part in accept.split(",") if part.strip().lower().startswith("application/json")]
    return ", ".join(kept) or "application/json"


def masked(content: bytes, request: Request) -> bytes:
    """An answer, or what is written, without values of Secrets."""
    try:
        value = json.loads(content)
    except ValueError:
        # What is not JSON could hold anything.
        return b"" if secrets.concerns(request) else content
    return bodies.canonical(value) if secrets.mask(value, request) else content


class Lines:
    """A watch: one JSON document a line, each masked by itself."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that are whole, masked."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > MAX_LINE:
            raise UpstreamError("an event is too long", code="answer-too-large")
        lines = data[:end].splitlines(keepends=True)
        return b"".join(masked(line[:-1], self._request) + b"\n" for line in lines)

    def flush(self) -> bytes:
        """What is left."""
        rest, self._rest = self._rest, b""
        return masked(rest, self._request) if rest else b""
