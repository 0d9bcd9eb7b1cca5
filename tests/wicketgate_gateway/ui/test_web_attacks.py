"""Attacks on the pages, over the served API: each is refused, or does nothing of what it is for.

A person who may approve is signed in; each attack comes with their cookie where a browser would send it. Afterwards the
held operation must wait as before, the session must stand, and no answer may hold a cookie, another site's name, or
markup that was sent. Markup in what bots send: `test_replays.py`, `test_app.py`; sign-in: `test_sign_in.py`,
`test_saml.py`.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

import pytest

from tests.wicketgate_gateway.ui.conftest import ORIGIN
from wicketgate_gateway.approvals.model import State

FORM = "Content-Type: application/x-www-form-urlencoded"
OURS = f"Origin: {ORIGIN}\r\nSec-Fetch-Site: same-origin"
CROSS = "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate"
APPROVE = "POST /ui/approvals/{handle}/approve HTTP/1.1"
BODY = "seal={seal}&comment=ok"
REFUSED = (400, 401, 403, 404, 405, 411, 413, 414, 415, 422, 501, 505)

WEBSOCKET = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    "Origin: https://evil.example"
)
FOREIGN = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: "

# name: (request line, header lines, body, statuses)
ATTACKS: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
    # Cross-site request forgery.
    "form of another site": (APPROVE, f"{FORM}\r\n{CROSS}", BODY, (403,)),
    "form of a sandboxed frame": (APPROVE, f"{FORM}\r\nOrigin: null\r\nSec-Fetch-Site: cross-site", BODY, (403,)),
    "form of a sibling site": (APPROVE, f"{FORM}\r\nSec-Fetch-Site: same-site", BODY, (403,)),
    "form without a word on where from": (APPROVE, FORM, BODY, (403,)),
    "form from the address bar": (APPROVE, f"{FORM}\r\nSec-Fetch-Site: none", BODY, (403,)),
    "origin that begins like ours": (APPROVE, f"{FORM}\r\nOrigin: {ORIGIN}.evil.example", BODY, (403,)),
    "origin with another port": (APPROVE, f"{FORM}\r\nOrigin: https://gate.example:8445", BODY, (403,)),
    "origin without TLS": (APPROVE, f"{FORM}\r\nOrigin: http://gate.example:8444", BODY, (403,)),
    "origin twice": (APPROVE, f"{FORM}\r\nOrigin: {ORIGIN}\r\nOrigin: https://evil.example", BODY, (400,)),
    "fetch metadata twice": (APPROVE, f"{FORM}\r\nSec-Fetch-Site: cross-site\r\n{OURS}", BODY, (400,)),
    "our referer alone": (APPROVE, f"{FORM}\r\nReferer: {ORIGIN}/ui/approvals", BODY, (403,)),
    "simple request as text": (APPROVE, f"Content-Type: text/plain\r\n{OURS}", BODY, (415,)),
    "simple request as multipart": (APPROVE, f"Content-Type: multipart/form-data; boundary=x\r\n{OURS}", BODY, (415,)),
    "beacon as JSON": (APPROVE, f"Content-Type: application/json\r\n{OURS}", '{{"seal":"{seal}"}}', (415,)),
    "content type twice": (APPROVE, f"{FORM}\r\nContent-Type: text/plain\r\n{OURS}", BODY, (400,)),
    "GET in place of POST": ("GET /ui/approvals/{handle}/approve?seal={seal} HTTP/1.1", OURS, "", (404,)),
    "HEAD in place of POST": ("HEAD /ui/approvals/{handle}/approve?seal={seal} HTTP/1.1", OURS, "", (404,)),
    "method by a header": (
        "GET /ui/approvals/{handle}/approve HTTP/1.1",
        f"X-HTTP-Method-Override: POST\r\n{OURS}",
        "",
        (404,),
    ),
    "method by a field": ("GET /ui/approvals/{handle}/approve?_method=POST&seal={seal} HTTP/1.1", OURS, "", (404,)),
    "PUT": ("PUT /ui/approvals/{handle}/approve HTTP/1.1", f"{FORM}\r\n{OURS}", BODY, (405,)),
    "seal in the address": (
        "POST /ui/approvals/{handle}/approve?seal={seal} HTTP/1.1",
        f"{FORM}\r\n{OURS}",
        "comment=ok",
        (409, 422),
    ),
    "seal twice": (APPROVE, f"{FORM}\r\n{OURS}", "seal=0&seal={seal}", (422,)),
    "seal of another request": (APPROVE, f"{FORM}\r\n{OURS}", "seal=" + "0" * 64, (409,)),
    "sign-out from another site": ("POST /ui/sign-out HTTP/1.1", f"{FORM}\r\n{CROSS}", "", (403,)),
    "sign-out by a picture": (
        "GET /ui/sign-out HTTP/1.1",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors",
        "",
        (403, 404),
    ),
    "verify from another site": ("POST /ui/audit/verify HTTP/1.1", f"{FORM}\r\n{CROSS}", "", (403,)),
    "policy tried from another site": (
        "POST /ui/policies/orders HTTP/1.1",
        f"{FORM}\r\n{CROSS}",
        "do=try&text=x",
        (403,),
    ),
    # Reading across sites, and frames.
    "CORS preflight": (
        "OPTIONS /ui/approvals HTTP/1.1",
        "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET",
        "",
        (403, 405),
    ),
    "fetch with credentials": (
        "GET /ui/approvals HTTP/1.1",
        FOREIGN + "cors\r\nOrigin: https://evil.example",
        "",
        (403,),
    ),
    "page as a script": ("GET /ui/approvals HTTP/1.1", FOREIGN + "no-cors\r\nSec-Fetch-Dest: script", "", (403,)),
    "page as a style": (
        "GET /ui/approvals HTTP/1.1",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: style",
        "",
        (403,),
    ),
    "page in a frame": ("GET /ui/approvals HTTP/1.1", FOREIGN + "navigate\r\nSec-Fetch-Dest: iframe", "", (403,)),
    "page as an object of ours": (
        "GET /ui/approvals HTTP/1.1",
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Dest: object",
        "",
        (403,),
    ),
    "websocket": ("GET /ui/approvals HTTP/1.1", WEBSOCKET, "", (400, 403, 404, 426)),
    # Hosts, addresses and caches.
    "another host": ("GET /ui/ HTTP/1.1", "Host: evil.example", "", (303, 400, 421)),
    "host twice": ("GET /ui/approvals HTTP/1.1", "Host: evil.example\r\nHost: gate.example", "", (400,)),
    "forwarded host": ("GET /ui/ HTTP/1.1", "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http", "", (303,)),
    "forwarded": ("GET /ui/ HTTP/1.1", "Forwarded: host=evil.example;proto=http", "", (303,)),
    "absolute address": ("GET https://evil.example/ui/ HTTP/1.1", OURS, "", (303, 400, 403, 404, 421)),
    "original URL": ("GET /ui/approvals HTTP/1.1", "X-Original-URL: /ui/sign-out\r\nX-Rewrite-URL: /v1/me", "", (200,)),
    "cache deception by a suffix": ("GET /ui/approvals/x.css HTTP/1.1", OURS, "", REFUSED),
    "cache deception by a path": ("GET /ui/approvals;/x.js HTTP/1.1", OURS, "", REFUSED),
    "cache deception by static": ("GET /ui/static/../approvals HTTP/1.1", OURS, "", (*REFUSED, 200)),
    "static out of its folder": ("GET /ui/static/x/..%2f..%2ftexts.py HTTP/1.1", OURS, "", REFUSED),
    "upper case": ("GET /UI/approvals HTTP/1.1", OURS, "", REFUSED),
    "double slash": ("GET //ui/approvals HTTP/1.1", OURS, "", REFUSED),
    "encoded slash": ("GET /ui%2fapprovals HTTP/1.1", OURS, "", REFUSED),
    "the API below the pages": ("GET /ui/../v1/approvals HTTP/1.1", OURS, "", REFUSED),
    "the API by cookie": ("GET /v1/approvals HTTP/1.1", OURS, "", (401, 403)),
    "the API by cookie, to approve": (
        "POST /v1/approvals/{handle}/approve HTTP/1.1",
        "Content-Type: application/json\r\n" + OURS,
        '{{"seal":"{seal}"}}',
        (401, 403),
    ),
    "open redirect": ("GET /ui/sign-in?to=https://evil.example/ HTTP/1.1", OURS, "", (200,)),
    "open redirect by slashes": ("GET /ui/sign-in?to=//evil.example HTTP/1.1", OURS, "", (200,)),
    "header by a line feed": ("GET /ui/sign-in?to=/ui/%0d%0aSet-Cookie:%20evil=1 HTTP/1.1", OURS, "", (200,)),
    "markup in an address": ("GET /ui/<script>alert(1)</script> HTTP/1.1", OURS, "", REFUSED),
    "markup in a filter": ("GET /ui/approvals?view=%22%3E%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1", OURS, "", (200,)),
    "markup in a handle": ("GET /ui/approvals/%3Cscript%3Ealert(1)%3C%2Fscript%3E HTTP/1.1", OURS, "", REFUSED),
    "redirect by a forged part": (
        "GET /ui/approvals HTTP/1.1",
        "HX-Request: true\r\nHX-Current-URL: https://evil.example/\r\n" + OURS,
        "",
        (200,),
    ),
    # Bodies.
    "body with a GET": ("GET /ui/approvals HTTP/1.1", f"{FORM}\r\n{OURS}", BODY, (400,)),
    "form that is too large": (APPROVE, f"{FORM}\r\n{OURS}", "seal={seal}&comment=" + "x" * 300_000, (413,)),
    "form with too many fields": (
        APPROVE,
        f"{FORM}\r\n{OURS}",
        "seal={seal}&" + "&".join(f"a{n}=1" for n in range(100)),
        (422,),
    ),
    "encoded form": (APPROVE, f"{FORM}\r\nContent-Encoding: gzip\r\n{OURS}", BODY, (415,)),
}
COOKIES = {
    "without the prefix": "wicketgate={cookie}",
    "twice, ours last": "__Host-wicketgate=x; __Host-wicketgate={cookie}x",
    "in quotes with more": '__Host-wicketgate="{cookie} "; a=b',
    "in lower case": "__host-wicketgate={cookie}",
    "cut short": "__Host-wicketgate={short}",
    "of the sign-in": "__Host-wicketgate={other}",
    "empty": "__Host-wicketgate=",
    "very long": "__Host-wicketgate=" + "x" * 5000,
}


@pytest.fixture
def raw(desk: Any) -> Any:
    """`raw(head, body)`: the status and the whole answer to these very bytes."""

    def send(head: str, body: str = "") -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(desk.ca_file))
        with (
            socket.create_connection(("127.0.0.1", desk.port), 30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(f"{head}\r\nConnection: close\r\n\r\n{body}".encode("latin-1"))
            found = b""
            while piece := sock.recv(65536):
                found += piece
        text = found.decode("utf-8", "replace")
        return int(text.split(" ")[1]), text

    return send


def test_there_are_enough() -> None:
    assert len(ATTACKS) + len(COOKIES) >= 60


def test_attacks_do_nothing(desk: Any, tab: Any, raw: Any) -> None:
    held = desk.hold()
    page = tab("Dana")
    cookie = f"__Host-wicketgate={page.cookies['__Host-wicketgate']}"
    (given,) = [text for text in page.raw if text.startswith("__Host-wicketgate=")]
    assert {"HttpOnly", "Path=/", "SameSite=strict", "Secure"} <= set(given.split("; "))
    wrong: list[str] = []
    for name, (line, headers, body, statuses) in ATTACKS.items():
        sent = body.format(handle=held.handle, seal=held.seal)
        head = f"{line.format(handle=held.handle, seal=held.seal)}\r\n{headers}\r\nCookie: {cookie}"
        if "Host:" not in headers.replace("Forwarded-Host", ""):
            head += "\r\nHost: gate.example:8444"
        if sent:
            head += f"\r\nContent-Length: {len(sent)}"
        status, answer = raw(head, sent)
        if status not in statuses:
            wrong.append(f"{name}: {status}")
        given, _, content = answer.partition("\r\n\r\n")
        low = given.lower()
        # Cookies of ours are exchanged by themselves after minutes; here none may be set.
        signs = ("access-control-allow", "location: https://evil", "location: //")
        wrong += [f"{name}: `{part}`" for part in signs if part in low]
        if "set-cookie" in low:
            wrong.append(f"{name}: a cookie")
        if "evil.example" in answer or "<script>alert" in content:
            wrong.append(f"{name}: it comes back")
        if status == 200 and "text/html" in low:
            policy = re.search(r"content-security-policy: ([^\r]*)", low)
            if policy is None or "frame-ancestors 'none'" not in policy[1] or "no-store" not in low:
                wrong.append(f"{name}: headers are missing")
    assert wrong == [], "\n".join(wrong)
    assert desk.stands(held.handle).state is State.PENDING
    assert desk.stands(held.handle).votes == ()
    assert page.get("/ui/approvals").status_code == 200


def test_cookies_that_are_none(desk: Any, tab: Any, raw: Any) -> None:
    page = tab("Dana")
    page.start()
    good, other = page.cookies["__Host-wicketgate"], page.cookies["__Host-wicketgate-signin"]
    for name, text in COOKIES.items():
        given = text.format(cookie=good, short=good[:-1], other=other)
        status, answer = raw(f"GET /ui/approvals HTTP/1.1\r\nHost: gate.example:8444\r\nCookie: {given}")
        assert status in (303, 400, 431), name
        assert "hold-" not in answer
    status, _ = raw(f"GET /ui/approvals HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: __Host-wicketgate={good}")
    assert status == 400
    assert page.get("/ui/approvals").status_code == 200


def test_a_session_that_was_there_before_signing_in_is_not_taken(desk: Any, tab: Any) -> None:
    """Fixation: a cookie that somebody planted is not the one that counts afterwards."""
    victim = tab()
    victim.cookies["__Host-wicketgate"] = "planted" * 6
    victim.sign_in("Dana")
    assert victim.cookies["__Host-wicketgate"] != "planted" * 6
    thief = tab()
    thief.cookies["__Host-wicketgate"] = "planted" * 6
    assert thief.get("/ui/approvals").status_code == 303
