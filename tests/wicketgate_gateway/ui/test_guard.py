"""What may not reach the pages: other sites, forms that are none, frames; and what every answer carries."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.ui.guard import BrowserGuard

pytestmark = pytest.mark.anyio
ORIGIN = "https://gate.example"
FORM = {b"content-type": b"application/x-www-form-urlencoded"}
SAME = {b"sec-fetch-site": b"same-origin"}


async def ask(
    method: str,
    headers: dict[bytes, bytes] | list[tuple[bytes, bytes]],
    body: bytes = b"",
    path: bytes = b"/ui/x",
    **scope: Any,
) -> tuple[int, dict[bytes, bytes], list[bytes]]:
    """Status, the answer's headers, and the bodies that the application got."""
    seen: list[bytes] = []
    sent: list[Any] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive()).get("body", b""))
        start = {"type": "http.response.start", "status": 200}
        await send(
            {**start, "headers": [(b"cache-control", b"public"), (b"Content-Security-Policy", b"default-src *")]}
        )
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    items = list(headers.items()) if isinstance(headers, dict) else headers
    whole = {"type": "http", "method": method, "raw_path": path, "path": path.decode(), "query_string": b""}
    await BrowserGuard(app, ORIGIN)({**whole, "headers": items, "client": ("192.0.2.1", 1), **scope}, receive, send)
    names = [name.lower() for name, _ in sent[0]["headers"]]
    assert len(names) == len(set(names))
    return sent[0]["status"], {k.lower(): v for k, v in sent[0]["headers"]}, seen


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**FORM, **SAME}, 200),
        ({**FORM, **SAME, b"origin": ORIGIN.encode()}, 200),
        ({**FORM, b"origin": ORIGIN.encode()}, 200),  # a browser without Sec-Fetch-Site
        (FORM, 403),
        ({**FORM, b"sec-fetch-site": b"cross-site"}, 403),
        ({**FORM, b"sec-fetch-site": b"same-site"}, 403),
        ({**FORM, b"sec-fetch-site": b"none"}, 403),
        ({**FORM, b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate"}, 403),
        ({**FORM, **SAME, b"origin": b"https://evil.example"}, 403),
        ({**FORM, **SAME, b"origin": b"null"}, 403),
        ({**FORM, b"origin": b"http://gate.example"}, 403),
        ({**FORM, b"origin": b"https://gate.example:444"}, 403),
        ({**FORM, b"origin": b"https://gate.example.evil.example"}, 403),
        ({**FORM, b"referer": b"https://gate.example/ui/"}, 403),
        ({b"content-type": b"text/plain", **SAME}, 415),
        ({b"content-type": b"multipart/form-data; boundary=x", **SAME}, 415),
        ({b"content-type": b"application/json", **SAME}, 415),
        (SAME, 415),
        ({**FORM, **SAME, b"content-encoding": b"gzip"}, 415),
        ({**FORM, **SAME, b"content-length": b"999999999"}, 413),
        ({**FORM, **SAME, b"content-length": b"-1"}, 400),
        ({**FORM, **SAME, b"sec-fetch-dest": b"iframe"}, 403),
    ],
)
async def test_who_may_post(headers: dict[bytes, bytes], status: int) -> None:
    found, _, seen = await ask("POST", headers, b"a=1")
    assert found == status
    assert seen == ([b"a=1"] if status == 200 else [])


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {b"sec-fetch-site": b"none"}, 200),
        ("GET", {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate"}, 200),
        ("GET", {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"no-cors"}, 403),
        (
            "GET",
            {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"cors", b"origin": b"https://evil.example"},
            403,
        ),
        ("GET", {b"sec-fetch-site": b"same-site", b"sec-fetch-mode": b"no-cors"}, 403),
        ("GET", {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"iframe"}, 403),
        ("GET", {**SAME, b"sec-fetch-dest": b"object"}, 403),
        ("GET", {b"content-length": b"1"}, 400),
        ("GET", {b"transfer-encoding": b"chunked"}, 400),
        ("GET", [(b"cookie", b"a=1"), (b"cookie", b"a=2")], 400),
        ("GET", [(b"host", b"a"), (b"host", b"b")], 400),
        ("PUT", SAME, 405),
        ("DELETE", SAME, 405),
        ("OPTIONS", {b"origin": b"https://evil.example"}, 405),
        ("TRACE", {}, 405),
    ],
)
async def test_who_may_read(method: str, headers: Any, status: int) -> None:
    assert (await ask(method, headers))[0] == status


async def test_bodies_and_addresses_are_bounded() -> None:
    assert (await ask("POST", {**FORM, **SAME}, b"a" * 300_000))[0] == 413
    assert (await ask("GET", {}, path=b"/ui/" + b"x" * 5000))[0] == 414


@pytest.mark.parametrize("path", [b"/ui/approvals", b"/ui/sessions", b"/ui/sessions/x", b"/ui/static/1/a.js"])
async def test_what_every_answer_carries(path: bytes) -> None:
    for headers in ({}, {b"sec-fetch-site": b"cross-site"}):
        _, sent, _ = await ask("GET", headers, path=path)
        policy = sent[b"content-security-policy"].decode()
        rules = dict(part.split(" ", 1) for part in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
        assert "unsafe-inline" not in policy
        assert "'unsafe-eval'" not in policy
        assert ("'wasm-unsafe-eval'" in policy) == path.startswith(b"/ui/sessions/")
        assert "http" not in policy
        assert "*" not in policy
        assert sent[b"x-frame-options"] == b"DENY"
        assert sent[b"x-content-type-options"] == b"nosniff"
        assert sent[b"cross-origin-opener-policy"] == b"same-origin"
        cached = b"immutable" in sent[b"cache-control"]
        assert cached == path.startswith(b"/ui/static/")
        assert cached or sent[b"cache-control"] == b"no-store"
