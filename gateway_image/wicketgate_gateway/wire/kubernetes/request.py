"""What a request to the Kubernetes API asks for, read exactly as the API server reads it.

How this works: `understand` takes the method and the request target. A target is only taken if there is one way to read
it: no empty, dotted or encoded-slash segments, no repeated or unknown parameters, no switch but `true` and `false`.
What is left goes through the rules of the API server's own `RequestInfoFactory`
(k8s.io/apiserver/pkg/endpoints/request/requestinfo.go), and `Request.target` is written anew from what was understood:
what is forwarded is what was decided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from wicketgate_gateway.contract.errors import WicketgateError

MAX_TARGET: Final = 16 * 1024
"""Characters; a command's arguments stand in the target."""
MAX_SEGMENTS: Final = 64

_METHODS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_LISTED: Final = frozenset({"command", "dryRun", "ports"})
"""Parameters that may stand several times."""
_SWITCHES: Final = frozenset(
    {
        "allowWatchBookmarks",
        "follow",
        "force",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "insecureSkipTLSVerifyBackend",
        "orphanDependents",
        "pretty",
        "previous",
        "sendInitialEvents",
        "stderr",
        "stdin",
        "stdout",
        "timestamps",
        "tty",
        "watch",
    }
)
_NUMBERS: Final = frozenset(
    {"gracePeriodSeconds", "limit", "limitBytes", "sinceSeconds", "tailLines", "timeoutSeconds"}
)
_TEXTS: Final = frozenset(
    {
        "container",
        "continue",
        "fieldManager",
        "fieldSelector",
        "fieldValidation",
        "includeObject",
        "labelSelector",
        "path",
        "propagationPolicy",
        "resourceVersion",
        "resourceVersionMatch",
        "sinceTime",
        "stream",
        "timeout",
    }
)
_HEX: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\Z")
"""Groups, versions, resources, subresources and namespaces: lower case, as Kubernetes has them."""
_NAME: Final = re.compile(r"[!-$&-.0-~]{1,253}\Z")
"""Printable ASCII without `%` and `/` (k8s.io/apimachinery/pkg/api/validation/path); which names are valid depends on
the kind, and is for the API server to say."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}\Z")
_FIELD: Final = re.compile(r"((?:[^,=!\\]|\\[^=]|\\(?==)|!(?!=))*)(==|=|!=)((?:[^,\\=]|\\[,\\=])*)(?:,|\Z)|,")
"""A term of a field selector, or an empty one (k8s.io/apimachinery/pkg/fields/selector.go)."""
_LABEL_TERM: Final = re.compile(r"([A-Za-z0-9./_-]+)(?:==|=)([A-Za-z0-9._-]*)\Z")

CONNECTS: Final = frozenset({"exec", "attach", "portforward"})
"""Subresources of pods that open streams. They are `create` whatever the method: a WebSocket can only ask by GET, and
must not be taken for reading (kubernetes#78741)."""


class RequestError(WicketgateError):
    """The request cannot be read in one certain way, so it is refused."""

    code = "request-unclear"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the API server understands it."""

    method: str
    verb: str
    """`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; of a path that is no
    resource the method in lower case, as Kubernetes does."""
    segments: tuple[str, ...]
    """The path, decoded."""
    query: tuple[tuple[str, str], ...]
    resource: str = ""
    """Empty for a path that is no resource (discovery, health, metrics)."""
    subresource: str = ""
    group: str = ""
    """Empty for the core group."""
    version: str = ""
    namespace: str = ""
    """Empty for what is in no namespace, and for a request over all of them."""
    name: str = ""
    """Empty for a collection, and for what is created (its name is in the body)."""
    rest: tuple[str, ...] = ()
    """What follows the subresource: the path behind `proxy`."""
    named_by_selector: bool = False
    """The name is from a field selector."""
    trailing_slash: bool = False

    @property
    def path(self) -> str:
        """The canonical path."""
        return "/" + "/".join(quote(s, safe="!$&'()*+,-.:;=@_~") for s in self.segments) + "/" * self.trailing_slash

    @property
    def target(self) -> str:
        """The canonical request target: what is forwarded."""
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in self.query)
        return f"{self.path}?{query}" if query else self.path

    @property
    def full_resource(self) -> str:
        """`pods`, `pods/exec`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def connects(self) -> bool:
        """Whether it opens streams into a pod."""
        return self.group == "" and self.resource == "pods" and self.subresource in CONNECTS

    @property
    def streams(self) -> bool:
        """Whether the answer comes bit by bit for as long as the client listens."""
        return self.verb == "watch" or (self.full_resource == "pods/log" and self.switch("follow"))

    @property
    def collection(self) -> bool:
        """Whether it is about all that there is in a place."""
        return bool(self.resource) and not self.name and self.verb in ("list", "watch", "deletecollection")

    def values(self, key: str) -> list[str]:
        """All values of a parameter."""
        return [value for name, value in self.query if name == key]

    def value(self, key: str) -> str:
        """The value of a parameter, empty if it is not there."""
        return next(iter(self.values(key)), "")

    def switch(self, key: str) -> bool:
        """Whether a switch is on."""
        return self.value(key) == "true"

    @property
    def dry_run(self) -> bool:
        """Whether the API server persists nothing, as far as the target says; a DELETE may say so in its body."""
        return self.values("dryRun") == ["All"]

    @property
    def command(self) -> tuple[str, ...]:
        """The argv of an exec."""
        return tuple(self.values("command"))

    @property
    def labels(self) -> dict[str, str]:
        """What the label selector surely requires to be equal; nothing where it says more than that."""
        found: dict[str, str] = {}
        selector = self.value("labelSelector")
        for part in selector.split(",") if selector else ():
            term = _LABEL_TERM.match(part.strip())
            if term is None:
                return {}
            found[term[1]] = term[2]
        return found


def understand(method: str, target: str) -> Request:
    """The request. Raises RequestError if there is more than one way to read it, or none."""
    verb = _METHODS.get(method)
    if verb is None:
        raise RequestError(f"the method `{method[:20]}` is none of {', '.join(_METHODS)}", code="method-unknown")
    if len(target) > MAX_TARGET:
        raise RequestError(f"the path and its parameters are over {MAX_TARGET} characters")
    if not target.isascii() or not target.isprintable() or "#" in target or " " in target:
        raise RequestError("the path holds characters that must be encoded")
    path, asked, query = target.partition("?")
    if not path.startswith("/"):
        raise RequestError("the request target is no path", remedy="send the path, beginning with `/`")
    slash = len(path) > 1 and path.endswith("/")
    raw = path[1 : -1 if slash else None]
    segments = tuple(_segment(part) for part in raw.split("/")) if raw else ()
    if len(segments) > MAX_SEGMENTS:
        raise RequestError(f"the path has over {MAX_SEGMENTS} parts")
    pairs = _pairs(query) if asked else ()
    request = _request(method, verb, segments, pairs)
    if slash and request.subresource != "proxy":
        raise RequestError("the path ends with `/`", remedy="leave the last `/` out")
    if request.subresource == "proxy":
        return replace(request, trailing_slash=slash)
    if request.rest:
        raise RequestError("the path goes on behind the subresource")
    if request.resource:
        pairs = tuple(_checked(key, value) for key, value in pairs)
    keys = [key for key, _ in pairs if key not in _LISTED]
    if len(keys) != len(set(keys)):
        raise RequestError("a parameter stands there twice", remedy="give it once")
    dry = [value for key, value in pairs if key == "dryRun"]
    if dry and dry != ["All"]:
        raise RequestError("`dryRun` is not `All`", remedy="write `dryRun=All`, once, or leave it out")
    request = replace(request, query=pairs)
    return _named(request) if request.resource else request


def _segment(part: str) -> str:
    text = _decoded(part, plus=False)
    if not text or text in (".", ".."):
        raise RequestError("the path holds an empty part, `.` or `..`", remedy="write each part of the path once")
    if not _NAME.match(text):
        raise RequestError("a part of the path holds `/`, `%`, or what is not printable ASCII")
    return text


def _decoded(text: str, *, plus: bool) -> str:
    if plus:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if "%" in _HEX.sub("", text):
        raise RequestError("an encoding with `%` is not complete")
    try:
        return _HEX.sub(lambda m: chr(int(m[0][1:], 16)), text).encode("latin-1").decode()
    except UnicodeError:
        raise RequestError("an encoding with `%` is not UTF-8") from None


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for part in query.split("&"):
        if not part:
            continue
        if ";" in part:
            raise RequestError("the parameters hold `;`", remedy="separate parameters by `&`")
        key, _, value = part.partition("=")
        found.append((_decoded(key, plus=True), _decoded(value, plus=True)))
    return tuple(found)


def _checked(key: str, value: str) -> tuple[str, str]:
    if key in _SWITCHES:
        if value in ("true", "1", "True"):
            return key, "true"
        if value in ("false", "0", "False"):
            return key, "false"
        raise RequestError(f"`{key}` is neither `true` nor `false`")
    if key in _NUMBERS:
        if not _INTEGER.match(value):
            raise RequestError(f"`{key}` is no whole number")
    elif key == "ports":
        if not all(_INTEGER.match(port) for port in value.split(",")):
            raise RequestError("`ports` holds what is no port")
    elif key not in _TEXTS and key not in _LISTED:
        raise RequestError(f"the parameter `{key[:60]}` is not known", code="parameter-unknown", remedy="leave it out")
    if "\0" in value:
        raise RequestError(f"`{key}` holds a NUL character")
    return key, value


def _request(method: str, verb: str, segments: tuple[str, ...], query: tuple[tuple[str, str], ...]) -> Request:
    plain = Request(method, method.lower(), segments, query)
    parts = segments
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return plain
    group = ""
    if parts[0] == "apis":
        if len(parts) < 4:
            return plain
        group, parts = _label(parts[1]), parts[1:]
    version, parts = _label(parts[1]), parts[2:]
    if parts[0] in ("proxy", "watch"):
        # Special verbs before the resource, which RequestInfo still reads, and nobody needs.
        raise RequestError(
            f"`{parts[0]}` before the resource is an old form", code="path-obsolete",
            remedy="use `?watch=true`, or the subresource `proxy`",
        )  # fmt: skip
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in ("status", "finalize"):
            namespace, parts = _label(parts[1]), parts[2:]
    resource = _label(parts[0])
    name = parts[1] if len(parts) > 1 else ""
    subresource = _label(parts[2]) if len(parts) > 2 else ""
    if group == "" and resource == "pods" and subresource in CONNECTS:
        if method not in ("GET", "POST"):
            raise RequestError(f"`{subresource}` takes GET and POST alone", code="method-unknown")
        verb = "create"
    elif not name and verb == "get":
        on = any(key == "watch" and value.lower() not in ("false", "0") for key, value in query)
        verb = "watch" if on else "list"
    elif not name and verb == "delete":
        verb = "deletecollection"
    elif verb == "get" and name and not subresource and any(k == "watch" for k, _ in query):
        raise RequestError("`watch` is for collections", remedy="watch the collection, by `fieldSelector`")
    if verb in ("update", "patch") and not name:
        raise RequestError(f"`{verb}` needs a name in the path")
    return Request(
        method, verb, segments, query, resource, subresource, group, version, namespace, name, tuple(parts[3:])
    )


def _label(text: str) -> str:
    if not _LABEL.match(text):
        raise RequestError("a group, version, resource or namespace is not in lower case letters, digits, `-`, `.`")
    return text


def _named(request: Request) -> Request:
    """A collection's name where its field selector says it for sure."""
    selector = request.value("fieldSelector")
    if request.name or not selector or request.verb not in ("list", "watch", "deletecollection"):
        return request
    at, name = 0, ""
    while at < len(selector):
        term = _FIELD.match(selector, at)
        if term is None:
            return request
        at = term.end()
        if term[1] == "metadata.name" and term[2] != "!=":
            # Of several, one is enough: what is asked for is all of them at once.
            name = name or re.sub(r"\\(.)", r"\1", term[3])
    if not _NAME.match(name) or name in (".", ".."):
        return request
    return replace(request, name=name, named_by_selector=True)
