"""The body of a request: which form it has, and what it says. What is forwarded is written anew from what was read.

How this works: JSON is taken as it is strict (RFC 8259: no repeated keys, no NaN, UTF-8 alone), YAML as the house reads
it (no aliases, no tags, no repeated keys), and both go out as JSON, which every form that ends in `yaml` takes too. A
reader that takes the first of two equal keys, where the API server takes the last, would decide on another object.
An object in protobuf is not read here: what it means is for the API server to say, by a dry run. CBOR is refused: its
clients go on with JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.wire.kubernetes import protobuf
from wicketgate_gateway.wire.kubernetes.request import Request, RequestError

MAX_BODY: Final = 3 * 1024 * 1024
"""Bytes: the API server's own limit (`MaxRequestBodyBytes`)."""
MAX_DEPTH: Final = 200

_PATCHES: Final = {
    "application/json-patch+json": list,
    "application/merge-patch+json": dict,
    "application/strategic-merge-patch+json": dict,
    "application/apply-patch+yaml": dict,
}
_WHOLE: Final = {"application/json": dict, "application/yaml": dict}


@dataclass(frozen=True, slots=True)
class Body:
    """A body that was understood."""

    form: str
    """Its media type, without parameters."""
    value: Any
    """A mapping, for a JSON patch a list; None if it can only be read by the API server."""
    raw: bytes
    """What is forwarded: compact JSON, or an object in protobuf as it came."""

    @property
    def opaque(self) -> bool:
        """Whether only the API server can read it."""
        return self.value is None

    @property
    def applies(self) -> bool:
        """Whether it is a server-side apply, which creates what is not there."""
        return self.form == "application/apply-patch+yaml"


def read(request: Request, content_type: str, data: bytes) -> Body | None:
    """The request's body, None if it has none. Raises RequestError."""
    if not data:
        return None
    if request.verb in ("get", "list", "watch"):
        raise RequestError(f"a request to `{request.verb}` has no body")
    if len(data) > MAX_BODY:
        raise RequestError(f"the body is over {MAX_BODY} bytes", code="body-too-large")
    form = _form(content_type)
    if form == protobuf.FORM and request.verb in ("create", "update"):
        if not data.startswith(protobuf.MAGIC):
            raise RequestError("the body is not in Kubernetes' protobuf form")
        return Body(form, None, data)
    if form == protobuf.FORM and request.verb in ("delete", "deletecollection"):
        options = protobuf.delete_options(data)
        return Body("application/json", options, canonical(options))
    kinds = _PATCHES if request.verb == "patch" else _WHOLE
    kind = kinds.get(form)
    if kind is None:
        raise RequestError(
            f"the body's media type `{form[:80]}` is not read here", code="media-type",
            remedy=f"send {' or '.join(f'`{name}`' for name in sorted(kinds))}",
        )  # fmt: skip
    value = _value(data, plain=not form.endswith("yaml"))
    if not isinstance(value, kind):
        raise RequestError(f"the body is no {'list' if kind is list else 'object'}")
    return Body(form, value, canonical(value))


def canonical(value: Any) -> bytes:
    """Compact JSON, keys in the order in which they came."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def load(data: bytes) -> Any:
    """Strict JSON. Raises RequestError."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise RequestError("the body is nested too deeply") from None
    except ValueError as error:
        if isinstance(error, _RepeatedError):
            raise RequestError(f"the key `{str(error)[:60]}` stands twice in one object") from None
        raise RequestError("the body is not JSON") from None


class _RepeatedError(ValueError):
    """A key stands twice in one object."""


def _value(data: bytes, *, plain: bool) -> Any:
    start = data.lstrip(b" \t\r\n")[:1]
    if plain or start in (b"{", b"["):
        value = load(data)
    else:
        try:
            value = yaml.parse(data.decode(), "the body").data
        except (DocumentError, UnicodeDecodeError, RecursionError):
            raise RequestError("the body is neither JSON nor plain YAML", remedy="send JSON") from None
    if _too_deep(value):
        raise RequestError("the body is nested too deeply")
    try:
        canonical(value)
    except (ValueError, UnicodeEncodeError):
        raise RequestError("the body holds what JSON cannot") from None
    return value


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return False
        level = below
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedError(key)
            seen.add(key)
    return found


def _no_constant(_: str) -> Any:
    raise ValueError("not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not JSON")
    return value


def _form(content_type: str) -> str:
    form, _, parameters = content_type.partition(";")
    if parameters.strip().lower() not in ("", "charset=utf-8"):
        return content_type.lower()
    # The API server takes a body without a type for JSON.
    return form.strip().lower() or "application/json"


def checked_names(request: Request, value: Any) -> str:
    """The name of what is written: the path's, else that of the body `value`. Raises RequestError where the two differ.

    Empty if it is not known before (`generateName`), or if the request is about many.
    """
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if metadata is None:
        return request.name
    if not isinstance(metadata, dict):
        raise RequestError("the body's `metadata` is no object")
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if metadata.get("generateName") and not request.name:
        name = ""  # a dry run makes up another one
    if name not in (None, "") and (not isinstance(name, str) or (request.name and name != request.name)):
        raise RequestError("the body names another object than the path")
    # An object of a namespace says the path's; one of none says none.
    within = request.namespace if request.resource != "namespaces" else ""
    if namespace not in (None, "", within):
        raise RequestError("the body names another namespace than the path")
    return request.name or name or ""


def dry_run(request: Request, body: Body | None) -> bool:
    """Whether nothing is persisted. Raises RequestError where target and body disagree: for a DELETE the API server
    heeds the body alone as soon as there is one, and a dry run by the target would delete."""
    if request.verb not in ("delete", "deletecollection"):
        return request.dry_run
    if body is None:
        return request.dry_run
    said = body.value.get("dryRun")
    if said not in (None, [], ["All"]):
        raise RequestError('the body\'s `dryRun` is not `["All"]`')
    if request.dry_run and not said:
        raise RequestError(
            "the path says `dryRun`, the body does not, and then the API server deletes",
            remedy='write `"dryRun": ["All"]` into the body',
        )
    return bool(said)
