"""Answers to requests to Kubernetes: how they are masked, and what is told in place of one.

How this works: what could hold values of Secrets is asked for as JSON alone and looked at as a whole, a watch line by
line, for each of its lines is a document by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking import kubernetes as secrets
from wicketgate_gateway.masking.detectors import Detecting, DetectorError, detecting
from wicketgate_gateway.masking.documents import FieldMasks
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.session.kubernetes_upstream import UpstreamError
from wicketgate_gateway.session.redacting import RedactionError
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


@dataclass(frozen=True, slots=True)
class Masking:
    """What is masked in the answers of a session, by the policy in force."""

    fields: FieldMasks
    detecting: Detecting | None

    @classmethod
    def of(cls, policy: TargetPolicy, key: bytes) -> Masking:
        """Raises RedactionError if that cannot be told."""
        try:
            return cls(FieldMasks.of(policy.data_masks, key), detecting(policy, key))
        except DetectorError as error:
            raise RedactionError(error.message, remedy=error.remedy) from None

    def __bool__(self) -> bool:
        return bool(self.fields.paths) or self.detecting is not None

    def document(self, content: bytes, request: Request, *, reveal: bool) -> bytes:
        """A JSON answer, masked; empty if it could not be read where something in it must be."""
        hidden = not reveal and (secrets.concerns(request) or b"Secret" in content)
        if content and (hidden or self.fields.paths):
            try:
                value = json.loads(content)
            except (ValueError, RecursionError):
                # What is not JSON could hold anything.
                return b"" if self.fields.paths or secrets.concerns(request) else self._text(content)
            changed = hidden and secrets.mask(value, request)
            if self.fields.paths:
                value, changed = self.fields.apply(value), True
            if changed:
                content = bodies.canonical(value)
        return self._text(content)

    def _text(self, content: bytes) -> bytes:
        return content if self.detecting is None else self.detecting.text(content, quote=True)


def without_secrets(content: bytes, request: Request) -> bytes:
    """What is written, for the record: without values of Secrets."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return b""
    return bodies.canonical(value) if secrets.mask(value, request) else content


class Lines:
    """A watch: one JSON document a line, each masked by itself."""

    def __init__(self, request: Request, masking: Masking, *, reveal: bool) -> None:
        self._request = request
        self._masking = masking
        self._reveal = reveal
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that are whole, masked."""
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > MAX_LINE:
            raise UpstreamError("an event is too long", code="answer-too-large")
        lines = data[:end].splitlines(keepends=True)
        return b"".join(self._masked(line[:-1]) + b"\n" for line in lines)

    def flush(self) -> bytes:
        """What is left."""
        rest, self._rest = self._rest, b""
        return self._masked(rest) if rest else b""

    def _masked(self, line: bytes) -> bytes:
        return self._masking.document(line, self._request, reveal=self._reveal)
