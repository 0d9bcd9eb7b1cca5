"""Fuzz target `kubernetes`: what is decided on and what goes out are the same request to an API server.

The first byte of an input says what follows. `H` (and all else): a request as a client would send it. Where our reader
refuses it, all is well. Where it takes it:

- `read`, a second reader written after the API server's own `RequestInfoFactory`, with Python's `urllib` for paths and
  parameters, finds the same verb, group, version, resource, subresource, namespace and name in what came and in what
  goes out, and the same parameters and command;
- what goes out leads to the very same request and point, so nothing changes by a second gateway;
- the body that goes out is read by `msgspec` as the object that was decided on, and no key stands twice in it;
- h11 and llhttp read what goes out as exactly one request, with that target and body.

`5`, `4` and `S`: the client's bytes of an exec over WebSocket (`v5.channel.k8s.io`, `v4.channel.k8s.io`) or SPDY. Read
at once or in pieces they must mean the same, and an API server must read in what goes out what was put on record.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
from websockets.frames import Frame, Opcode

from fuzz.http import DifferenceError, one_request
from wicketgate_gateway.policy.kubernetes_operation import point_of
from wicketgate_gateway.server.kubernetes import target_of
from wicketgate_gateway.wire.http.body import Body as HttpBody
from wicketgate_gateway.wire.http.head import HttpError, head_end, parse_request, request_length, write_request
from wicketgate_gateway.wire.kubernetes import body as bodies
from wicketgate_gateway.wire.kubernetes import reason, spdy
from wicketgate_gateway.wire.kubernetes.channels import (
    V4,
    V5,
    Channel,
    ChannelError,
    Channels,
    Closed,
    Event,
    Over,
    Sent,
    SpdyChannels,
    WebSocketChannels,
)
from wicketgate_gateway.wire.kubernetes.request import Request, RequestError, understand

MAX_BYTES = 4096
WORDS = (
    b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ", b" HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n", b"/t/prod",
    b"/api/v1/", b"/apis/apps/v1/", b"namespaces/", b"pods/", b"secrets/", b"exec", b"attach", b"portforward", b"proxy",
    b"watch", b"status", b"finalize", b"log", b"%2e", b"%2f", b"%00", b"%25", b"//", b"/../", b";", b"?", b"&", b"=",
    b"+", b"watch=true", b"watch=0", b"command=", b"dryRun=All", b"fieldSelector=metadata.name%3D", b"labelSelector=",
    b"Content-Type: application/json\r\n", b"Content-Type: application/apply-patch+yaml\r\n",
    b"Content-Type: application/json-patch+json\r\n", b"Content-Type: application/merge-patch+json\r\n",
    b"Content-Length: 2\r\n", b"Authorization: Bearer a~YQ\r\n", b'{"metadata":{"name":"x"}}', b'"spec":', b"\\u0000",
    b"\x82\x85\0\0\0\0", b"\x02\x85\0\0\0\0", b"\x81\x85\0\0\0\0", b"\x80\x03\0\1", b"\xff\0",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "OPTIONS", "CONNECT", "TRACE")
_PARTS = (
    "api", "apis", "v1", "v1beta1", "apps", "batch", "example.com", "namespaces", "namespace", "pods", "secrets",
    "nodes", "deployments", "configmaps", "serviceaccounts", "a", "shop", "kube-system", "x", "web-1", "system:node",
    "status", "finalize", "exec", "attach", "portforward", "proxy", "watch", "log", "scale", "token", "binding",
    "ephemeralcontainers", "eviction", "", ".", "..", "%2e", "%2E%2e", "%2f", "a%2fb", "%70ods", "p%6fds", "Pods",
    "%00", "%25", "%252e", "%c0%ae", "%ff", "%e2%80%ae", "a;b", "a+b", "a b", "a%20b", "~", "!", "@", "a:b", "a,b",
    "healthz", "version", "metrics", "openapi", "v3", "livez", "debug", "*", "'", "\\", "ä",
)  # fmt: skip
_QUERY = (
    "watch=true", "watch=1", "watch=false", "watch", "watch=yes", "watch=TRUE", "watch=", "Watch=true", "watch=t",
    "dryRun=All", "dryRun=", "dryRun=all", "command=ls", "command=-l", "command=a%20b", "command=%26", "command=",
    "stdin=true", "stdout=1", "tty=True", "container=c", "fieldSelector=metadata.name%3Dx", "limit=5", "limit=x",
    "fieldSelector=metadata.name==x,spec.nodeName=n", "fieldSelector=metadata.name!=x", "fieldSelector=metadata.name",
    "fieldSelector=metadata.name%3Dx%2Cmetadata.name%3Dy", "fieldSelector=metadata.name%3D..", "labelSelector=a%3Db",
    "labelSelector=a%3Db,c", "resourceVersion=0", "resourceVersionMatch=Exact", "timeoutSeconds=5", "pretty=true",
    "timeoutSeconds=x", "continue=%00", "a=b", ";", "a;b=c", "%77atch=true", "watch%3Dtrue", "watch=+true",
    "pretty=%zz", "fieldSelector=metadata.name%3D", "fieldSelector=metadata.name%3Da%5C%2Cb", "&", "=x",
    "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan", "fieldManager=k", "force=true", "path=/a",
    "ports=80", "fieldSelector=,metadata.name%3Dx,", "allowWatchBookmarks=true",
)  # fmt: skip
_FORMS = (
    "application/json", "application/yaml", "application/merge-patch+json", "application/json-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf",
    "application/cbor", "application/json; charset=utf-8", "",
)  # fmt: skip
_BODIES = (
    '{"kind":"Pod","metadata":{"name":"x","namespace":"a"},"spec":{"hostNetwork":true}}', '{"a":1,"a":2}', "[]", "{}",
    '[{"op":"add","path":"/data/a","value":"b"}]', "metadata: {name: x}\nspec:\n  a: yes\n", "a: &x 1\nb: *x\n",
    '{"dryRun":["All"],"gracePeriodSeconds":0}', '{"a":1e400}', '{"a":NaN}', '{"\\ud800":1}', '{"a":-0.0,"b":1E3}',
    '{"a":12345678901234567890123}', "\ufeff{}", '{"metadata":null}', '{"metadata":{"generateName":"x-"}}',
)  # fmt: skip


def seeds() -> list[bytes]:
    """Inputs to start from."""
    rng = random.Random(7)  # noqa: S311 - the same inputs each time
    requests = [b"H" + generated(rng) for _ in range(40)]
    frames = [_frame(b"\0ls\n"), _frame(b'\4{"Width":80,"Height":24}'), _frame(b"\xff\0")]
    writer = spdy.Writer()
    opened = [writer.open(2 * n + 1, {"streamtype": kind}) for n, kind in enumerate(("error", "stdin", "resize"))]
    stream = b"".join((*opened, writer.data(3, b"ls\n"), writer.data(5, b"{}"), writer.data(3, b"", fin=True)))
    return [*requests, b"5\x03" + b"".join(frames), b"4\x07" + b"".join(frames[:2]), b"S\x05" + stream]


def generated(rng: random.Random) -> bytes:
    """A request: mostly one that a client could send, with oddities."""
    method, target = generated_target(rng)
    lines = [f"{method} /t/prod{target} HTTP/1.1", "Host: a"]
    body = b""
    if method in ("POST", "PUT", "PATCH", "DELETE") and rng.random() < 0.6:
        body = rng.choice(_BODIES).encode("utf-8", "surrogatepass")
        lines += [f"Content-Type: {rng.choice(_FORMS)}", f"Content-Length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode("utf-8", "replace") + body


def generated_target(rng: random.Random) -> tuple[str, str]:
    """A method and a request target as an API server would get it."""
    parts: list[str] = []
    if rng.random() < 0.9:
        parts += rng.choice(
            (["api", "v1"], ["apis", "apps", "v1"], ["apis", "example.com", "v1beta1"], ["api"], ["apis"])
        )
        if rng.random() < 0.6:
            parts += ["namespaces", rng.choice(("a", "shop", "kube-system"))]
        parts += [
            rng.choice(names)
            for names in (("pods", "secrets", "deployments", "nodes", "namespaces"), ("x", "web-1", "system:node"),
                          ("exec", "status", "log", "proxy", "finalize", "scale"))[: rng.randrange(4)]
        ]  # fmt: skip
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        at = rng.randrange(len(parts) + 1)
        parts[at : at + rng.randrange(2)] = [rng.choice(_PARTS)]
    query = "&".join(rng.choice(_QUERY) for _ in range(rng.choice((0, 0, 1, 1, 2, 3))))
    slash = "/" if rng.random() < 0.05 else ""
    method = rng.choice(_METHODS[:6]) if rng.random() < 0.95 else rng.choice(_METHODS)
    return method, "/" + "/".join(parts) + slash + ("?" + query if query or rng.random() < 0.02 else "")


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Another input: a new request, or this one with a part that stands for something."""
    rng = random.Random(seed)  # noqa: S311 - the same input for the same seed
    if data[:1] not in b"54S" and rng.random() < 0.5:
        return (b"H" + generated(rng))[:most]
    at = rng.randrange(len(data) + 1)
    word = rng.choice((*WORDS, rng.choice(_PARTS).encode(), rng.choice(_QUERY).encode()))
    return (data[:at] + word + data[at + rng.randrange(4) :])[:most]


def run(data: bytes) -> None:
    """One run. Raises DifferenceError."""
    kind, rest = data[:1], data[1:]
    if kind in (b"5", b"4"):
        protocol = V5 if kind == b"5" else V4
        _streams(rest, lambda: WebSocketChannels(protocol))
    elif kind == b"S":
        _streams(rest, SpdyChannels)
    else:
        _request(rest)


# --- requests --------------------------------------------------------------------------------------------------------


def read(method: str, target: str) -> tuple[str, ...]:
    """Verb, group, version, resource, subresource, namespace, name: after requestinfo.go of k8s.io/apiserver, but for
    what the gateway adds on purpose (see `_wanted`)."""
    split = urlsplit("http://h" + target)
    query = dict(reversed(parse_qsl(split.query, keep_blank_values=True)))  # the first of several, as Go's Get
    path = unquote(split.path, errors="strict").strip("/")
    parts = path.split("/") if path else []
    plain = (method.lower(), "", "", "", "", "", "")
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return plain
    prefix, parts = parts[0], parts[1:]
    group = ""
    if prefix == "apis":
        if len(parts) < 3:
            return plain
        group, parts = parts[0], parts[1:]
    version, parts = parts[0], parts[1:]
    verb = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[
        method
    ]
    if parts[0] in ("proxy", "watch"):
        verb, parts = parts[0], parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in ("status", "finalize"):
            parts = parts[2:]
    subresource = parts[2] if len(parts) > 2 and verb != "proxy" else ""
    name = parts[1] if len(parts) > 1 else ""
    if not name and verb == "get":
        verb = "watch" if query.get("watch", "false").lower() not in ("false", "0") else "list"
        name = _selected(query.get("fieldSelector", ""))
    if not name and verb == "delete":
        verb = "deletecollection"
    return verb, group, version, parts[0], subresource, namespace, name


def _selected(selector: str) -> str:
    """The name that a field selector requires, after ParseSelector of k8s.io/apimachinery; empty if it is none."""
    terms, escaped = [""], False
    for sign in selector:
        if sign == "," and not escaped:
            terms.append("")
        else:
            terms[-1] += sign
        escaped = sign == "\\" and not escaped
    found = ""
    for term in filter(None, terms):
        at = min((i for i in (term.find("!="), term.find("=")) if i >= 0), default=-1)
        if at < 0:
            return ""
        sign = next(sign for sign in ("!=", "==", "=") if term.startswith(sign, at))
        value = term[at + len(sign) :]
        bare = value.replace("\\\\", "").replace("\\,", "").replace("\\=", "")
        if any(one in bare for one in "\\,="):
            return ""
        if term[:at] == "metadata.name" and sign != "!=" and not found:
            found = value.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    return "" if found in (".", "..") or "/" in found or "%" in found else found


def _wanted(request: Request) -> tuple[str, ...]:
    """What was decided on, in the API server's words. On purpose the gateway takes streams for `create` whatever the
    method, as the API server does since 1.36, and knows the name that a selective deletion of a collection is about."""
    verb, name = request.verb, request.name
    if request.connects and request.method == "GET":
        verb = "get"
    if verb == "deletecollection":
        name = ""
    return verb, request.group, request.version, request.resource, request.subresource, request.namespace, name


def _request(data: bytes) -> None:
    try:
        end = head_end(data)
        if end < 0:
            return
        head = parse_request(data[:end])
        framing = HttpBody(request_length(head))
        content = b"".join(framing.feed(data[end:]))
        if not framing.done:
            return
        reason.given(head)
        _, target = target_of(head)
        request = understand(head.method, target)
        form = head.first("content-type")
        opened = bool(request.resource) and request.subresource != "proxy"
        body = bodies.read(request, form, content) if opened else None
        point = point_of(request, body)
    except (HttpError, RequestError):
        return
    check_request(request, target)
    out = request.target
    again = understand(request.method, out)
    if again != request or again.target != out:
        raise DifferenceError(f"a second gateway reads {again}, not {request}")
    sent = content if not opened else body.raw if body is not None else b""
    again_body = bodies.read(again, body.form, body.raw) if body is not None else None
    if again_body != body or str(point_of(again, again_body)) != str(point) or point_of(again, again_body) != point:
        raise DifferenceError("a second gateway decides on something else")
    if body is not None and not body.opaque:
        _same_object(body.raw, body.value)
        if form.startswith("application/json") or form.endswith("+json"):
            _same_object(content, body.value)
    lengths = [("Content-Length", str(len(sent)))] if sent else []
    one_request(write_request(request.method, out, [("Host", "api"), *lengths]) + sent, request.method, out, sent)


def check_request(request: Request, target: str) -> None:
    """Whether the second reader finds the same in what came and in what goes out. Raises DifferenceError."""
    for text in (target, request.target):
        if (seen := read(request.method, text)) != _wanted(request):
            raise DifferenceError(f"an API server reads {seen} in {text}, decided was {_wanted(request)}")
        split = urlsplit("http://h" + text)
        pairs = parse_qsl(split.query, keep_blank_values=True)
        if [k for k, _ in pairs] != [k for k, _ in request.query]:
            raise DifferenceError(f"other parameters: {pairs} and {request.query}")
        for (_, seen_value), (key, value) in zip(pairs, request.query, strict=True):
            if seen_value != value and (text == request.target or not _switch(seen_value, value)):
                raise DifferenceError(f"`{key}` is {seen_value!r} and {value!r}")
        if tuple(v for k, v in pairs if k == "command") != request.command:
            raise DifferenceError("another command")
        path = unquote(split.path, errors="strict")
        if path.strip("/") != "/".join(request.segments) or any(p in ("", ".", "..") for p in request.segments):
            raise DifferenceError(f"another path: {path}")
    if not request.target.isascii() or quote(request.path, safe="/!$&'()*+,-.:;=@_~%") != request.path:
        raise DifferenceError(f"what goes out needs encoding: {request.path}")


def _switch(came: str, value: str) -> bool:
    return came in {"true": ("1", "True"), "false": ("0", "False")}.get(value, ())


def _same_object(data: bytes, value: Any) -> None:
    seen: Any = msgspec.json.decode(data)
    if _plain(seen) != _plain(value):
        raise DifferenceError(f"msgspec reads {seen}, decided was {value}")
    json.loads(data, object_pairs_hook=_once)


def _plain(value: Any) -> Any:
    """Without what readers of JSON may do as they like: numbers of over 64 bits."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        return float(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise DifferenceError("a key stands twice in what was taken")
    return dict(pairs)


# --- streams ---------------------------------------------------------------------------------------------------------


def _streams(data: bytes, made: Any) -> None:
    size, data = (data[0] % 31 + 1, data[1:]) if data else (1, b"")
    whole = _events(made(), [data])
    parts = _events(made(), [data[at : at + size] for at in range(0, len(data), size)])
    if whole[1] != parts[1] or (not whole[1] and whole[0] != parts[0]):
        raise DifferenceError(f"at once it is {whole}, in pieces {parts}")
    far, server = WebSocketChannels(V5, client=True), WebSocketChannels(V5)
    recorded: list[Event] = []
    for event in whole[0]:
        match event:
            case Sent(Channel.STDIN | Channel.RESIZE as channel, payload):
                far.send(channel, payload)
                recorded.append(event)
            case Closed(Channel.STDIN):
                far.close(Channel.STDIN)
                recorded.append(event)
            case Sent() | Over():
                break
            case _:
                pass
    seen = server.feed(out) if (out := far.out()) else []
    if _joined(seen) != _joined(recorded):
        raise DifferenceError(f"the API server reads {seen}, on record is {recorded}")


def _events(channels: Channels, pieces: Iterable[bytes]) -> tuple[list[Event], bool]:
    """What a client's bytes mean, and whether they break the protocol."""
    found: list[Event] = []
    for piece in pieces:
        if not piece:
            continue
        try:
            found += channels.feed(piece)
        except ChannelError:
            return found, True
    return _joined(found), False


def _joined(events: Iterable[Event]) -> list[Event]:
    """Pieces of one channel that follow each other are one."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, Sent) and isinstance(last, Sent) and event.channel is last.channel:
            found[-1] = Sent(event.channel, last.data + event.data)
        elif not (isinstance(event, Sent) and not event.data):
            found.append(event)
    return found


def _frame(payload: bytes) -> bytes:
    return Frame(Opcode.BINARY, payload).serialize(mask=True)
