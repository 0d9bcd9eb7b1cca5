"""Each credential that the agent holds, at a real service over TLS: used, renewed, rotated, refused, never seen."""

from __future__ import annotations

import base64
import contextlib
import gzip
import html
import json
import secrets as random
import ssl
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import brotli
import pytest
import zstandard

from tests.web import web_in
from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.audit.events import Operation, SessionEnded

pytestmark = pytest.mark.slow
WAYS = ("bearer", "basic", "header", "oauth", "cookie", "certificate")
CODINGS = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "deflate": zlib.compress,
}
POLICY: dict[str, Any] = {
    "policy": "credentials",
    "targets": [*(f"{way}-api" for way in WAYS), "orders-api"],
    "rules": [{"allow": {"http": {"methods": "*", "routes": "/**"}}}],
}


class Service:
    """A service that wants to know who asks, below a path for each way to tell it. What it takes may be changed."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.token, self.value = "tok/en+of&the=service-1", "key-of-the-service-1"
        self.user, self.password = "agent", "pass/word+of<the>service"
        self.client_secret = "client-secret-of-the-service"
        self.lasts = 300
        self.tokens: list[str] = []
        """Access tokens in force, the newest last."""
        self.sessions: list[str] = []
        self.logins = self.asked = 0
        self.serials: list[str] = []
        """Serial numbers of client certificates, as they came."""
        self.heads: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.serve(self)

            do_POST = do_GET  # noqa: N815 - http.server names it

            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - http.server names it

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                with contextlib.suppress(OSError):
                    tls = context.wrap_socket(request, server_side=True)
                    super().finish_request(tls, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def serve(self, asked: Any) -> None:
        """One request."""
        body = asked.rfile.read(int(asked.headers.get("content-length", 0)))
        parts = urlsplit(asked.path)
        way, _, path = parts.path[1:].partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.heads.append(f"{asked.requestline}\n{asked.headers}")
        if path == "token":
            self._token(asked, body)
        elif path == "login":
            self._login(asked, body)
        elif not self._known(way, asked):
            if way == "cookie" and "api" not in query:
                self._answer(asked, 302, b"", ("Location", f"/cookie/login?next={quote(parts.path)}"))
            else:
                self._answer(asked, 401, b"who are you?", ("WWW-Authenticate", 'Bearer realm="service"'))
        elif path == "echo":
            self._echo(asked, query)
        elif path == "range":
            self._range(asked)
        else:
            self._answer(asked, 200, b'{"ok": true}')

    def _known(self, way: str, asked: Any) -> bool:
        given = asked.headers.get("authorization", "")
        basic = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        match way:
            case "bearer":
                return given == f"Bearer {self.token}"
            case "basic":
                return given == f"Basic {basic}"
            case "header":
                return asked.headers.get("x-api-key") == self.value
            case "oauth":
                return given.removeprefix("Bearer ") in self.tokens
            case "cookie":
                return any(f"session={each}" in asked.headers.get("cookie", "") for each in self.sessions)
            case _:
                certificate = asked.connection.getpeercert()
                self.serials.append(str(certificate and certificate["serialNumber"]))
                return bool(certificate)

    def _token(self, asked: Any, body: bytes) -> None:
        self.asked += 1
        wanted = base64.b64encode(f"me:{quote(self.client_secret, safe='')}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {wanted}" or b"grant_type=client_credentials" not in body:
            self._answer(asked, 401, json.dumps({"error": "invalid_client", "secret": self.client_secret}).encode())
            return
        self.tokens.append(f"access-token-{random.token_hex(12)}")
        found = {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": self.lasts}
        self._answer(asked, 200, json.dumps(found).encode())

    def _login(self, asked: Any, body: bytes) -> None:
        self.logins += 1
        form = parse_qs(body.decode())
        if (form.get("username"), form.get("password")) != ([self.user], [self.password]):
            self._answer(asked, 302, b"", ("Location", "/cookie/login?error=1"), ("Set-Cookie", "visitor=nobody"))
            return
        self.sessions.append(random.token_hex(16))
        cookie = f"session={self.sessions[-1]}; Path=/; HttpOnly; Secure; Max-Age={self.lasts}"
        self._answer(asked, 302, b"", ("Location", "/cookie/home"), ("Set-Cookie", cookie))

    def _echo(self, asked: Any, query: dict[str, str]) -> None:
        told = dict(asked.headers.items())
        said = "\n".join(f"{name}: {value}" for name, value in told.items())
        text = {
            "": said,
            "json": json.dumps(told),
            "php": json.dumps(told).replace("/", "\\/"),
            "html": html.escape(said),
            "go": said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("+", "&#43;"),
            "url": quote(said, safe=""),
        }[query.get("as", "")]
        data = text.encode() + b"\nthe end"
        headers: list[tuple[str, str]] = []
        if coding := query.get("coding"):
            data = CODINGS[coding](data)
            headers.append(("Content-Encoding", coding))
        if "redirect" in query:
            headers += [("Location", f"/elsewhere?{said[-300:]}".replace("\n", "&")), ("Refresh", said[:9])]
        secret = (told.get("Authorization") or told.get("Cookie") or told.get("X-Api-Key") or "").split(" ")[-1]
        headers += [
            ("Set-Cookie", f"seen={quote(secret, safe='')}"),
            ("X-Seen", secret),
            ("X-Wicketgate-Trouble", "x"),
        ]
        size = int(query.get("chunk", 0))
        if not size:
            self._answer(asked, 302 if "redirect" in query else 200, data, *headers)
            return
        asked.send_response(200)
        for name, value in (*headers, ("Transfer-Encoding", "chunked")):
            asked.send_header(name, value)
        asked.end_headers()
        for i in range(0, len(data), size):
            asked.wfile.write(b"%x\r\n%b\r\n" % (len(data[i : i + size]), data[i : i + size]))
            if "slowly" in query:
                time.sleep(0.03)
        asked.wfile.write(b"0\r\n\r\n")

    def _range(self, asked: Any) -> None:
        data = f"secret: {self.token}".encode()
        wanted = asked.headers.get("range")
        if wanted is None:
            self._answer(asked, 200, data)
            return
        first, last = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
        self._answer(asked, 206, data[first : last + 1], ("Content-Range", f"bytes {first}-{last}/{len(data)}"))

    def _answer(self, asked: Any, status: int, data: bytes, *headers: tuple[str, str]) -> None:
        asked.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            asked.send_header(name, value)
        asked.end_headers()
        asked.wfile.write(data)

    def secrets(self) -> list[bytes]:
        """What nobody may see, in the forms that it could be seen in."""
        basic = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        values = [self.token, self.value, self.password, self.client_secret, basic, *self.tokens, *self.sessions]
        written = {w for v in values for w in (v, quote(v, safe=""), html.escape(v), json.dumps(v)[1:-1])}
        return [each.encode() for each in written]


class World:
    """The gateway, the service, and the folders with credentials."""

    def __init__(self, web: Any, service: Service, folder: Path) -> None:
        self.web, self.service, self.folder = web, service, folder

    def ask(self, way: str, path: str = "/ok", *arguments: str) -> tuple[int, bytes]:
        """Status, and all that came, with the heads."""
        done = self.web.curl("-i", "-w", "\n%{http_code}", *arguments, path, target=f"{way}-api")
        whole, _, status = done.stdout.rpartition(b"\n")
        for secret in self.service.secrets():
            assert secret not in whole
        return int(status), whole

    def put(self, way: str, **files: str) -> None:
        """Replace files of a credential, as Kubernetes does it: whole, by a rename."""
        for name, value in files.items():
            path = self.folder / way / name.replace("_crt", ".crt").replace("_key", ".key")
            path.with_name("new").write_text(value)
            path.with_name("new").replace(path)


@pytest.fixture(scope="module")
def world(web_cloud: Any) -> Iterator[World]:
    """One gateway, one agent, one service, six ways."""
    with tempfile.TemporaryDirectory(prefix="wicketgate-credentials-") as name:
        folder = Path(name)
        leaf = web_cloud.ca.issue_files(folder / "server", "service", ["localhost"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(web_cloud.ca.cert_file))
        context.load_cert_chain(leaf.cert_file, leaf.key_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        service = Service(context)
        files = {
            "bearer": {"token": service.token},
            "basic": {"username": service.user, "password": service.password},
            "header": {"value": service.value},
            "oauth": {"client_id": "me", "client_secret": service.client_secret},
            "cookie": {"username": service.user, "password": service.password},
            "certificate": dict(zip(("tls.crt", "tls.key"), client_files(web_cloud, folder, "one"), strict=True)),
        }
        for way, values in files.items():
            (folder / way).mkdir(mode=0o700)
            for file, value in values.items():
                (folder / way / file).write_text(value)
        base = f"https://localhost:{service.port}"
        more: dict[str, dict[str, str]] = {
            "header": {"header": "X-Api-Key"},
            "oauth": {"tokenUrl": f"{base}/oauth/token", "auth": "oauth-client"},
            "cookie": {"loginPath": "/login"},
            "certificate": {"auth": "client-certificate"},
        }
        targets = {
            f"{way}-api": {
                "kind": "http",
                "address": f"{base}/{way}",
                "caFile": str(web_cloud.ca.cert_file),
                "auth": way,
                "credential": str(folder / way),
                **more.get(way, {}),
            }
            for way in WAYS
        }
        try:
            with web_in(folder / "web", web_cloud, POLICY, **targets) as web:
                yield World(web, service, folder)
        finally:
            service.close()


def client_files(cloud: Any, folder: Path, stem: str) -> tuple[str, str]:
    """A client certificate and its key."""
    made = cloud.ca.issue_files(folder / "clients", stem, [stem], client=True)
    return made.cert_file.read_text(), made.key_file.read_text()


@pytest.mark.parametrize("way", WAYS)
def test_the_agent_proves_itself_and_nothing_of_it_is_seen(world: World, way: str) -> None:
    """Whatever the service echoes, in whatever form, encoding and chunks."""
    assert world.ask(way)[0] == 200
    assert world.ask(way, "/ok", "-d", "x=1")[0] == 200
    every = (
        *(f"as={form}" for form in ("json", "php", "html", "go", "url")),
        *(f"coding={coding}" for coding in CODINGS),
        *(f"coding={coding}&chunk=7" for coding in CODINGS),
        "chunk=1", "chunk=5&slowly", "",
    )  # fmt: skip
    for query in every if way in ("bearer", "cookie") else ("", "as=json", "coding=gzip&chunk=7", "chunk=1"):
        status, whole = world.ask(way, f"/echo?{query}", "-H", "Accept-Encoding: gzip, br", "-H", "X-A: kept")
        assert status == 200, query
        head, _, body = whole.partition(b"\r\n\r\n")
        assert b"x-wicketgate" not in head.lower()
        assert b"set-cookie" not in head.lower()
        if way == "certificate":
            continue  # nothing that an answer could hold: it passes as it is
        assert b"the end" in body, query
        assert b"kept" in body, query
        assert b"content-encoding" not in head.lower()
    assert world.ask(way, "/echo?redirect")[0] == 302


def test_nothing_of_a_credential_is_on_record(world: World) -> None:
    """Neither in recordings, nor in the journal, nor in a log."""
    world.ask("bearer", "/echo")
    world.ask("cookie", "/echo?coding=gzip")
    web = world.web
    sessions = {e.session for e in web.events() if isinstance(e, Operation)}
    web.wait(lambda: sessions <= {e.session for e in web.events() if isinstance(e, SessionEnded)}, 30)
    kept = b"".join(web.recorded(session) for session in sessions)
    assert b"the end" in kept
    files = [path for path in web.folder.rglob("*") if path.is_file() and "credential" not in path.as_posix()[-30:]]
    whole = kept + b"".join(path.read_bytes() for path in files)
    for secret in world.service.secrets():
        assert secret not in whole


def test_a_part_of_an_answer_is_no_way_to_a_half_of_a_secret(world: World) -> None:
    """`Range` does not pass where a secret is looked for; the whole comes, without it."""
    for wanted in ("0-19", "20-40"):
        status, whole = world.ask("bearer", "/range", "-H", f"Range: bytes={wanted}")
        assert status == 200
        assert whole.endswith(b"secret: " + b"*" * len(world.service.token))


@pytest.mark.parametrize("way", ["bearer", "basic", "header"])
def test_a_file_is_rotated(world: World, way: str) -> None:
    """What is wrong is told, without it; what is right works at once; what was in use before is not seen either."""
    service = world.service
    name, file = {"bearer": ("token", "token"), "basic": ("password", "password"), "header": ("value", "value")}[way]
    before = getattr(service, name)
    setattr(service, name, f"another-{name}-{random.token_hex(8)}")
    try:
        status, whole = world.ask(way)
        assert status == 502
        assert b"target-credential-refused" in whole
        assert b"your own token is good" in whole
        assert b"who are you" not in whole
        assert before.encode() not in whole
        world.put(way, **{file: getattr(service, name)})
        assert world.ask(way)[0] == 200
        done = world.ask(way, f"/echo?as=url&old={quote(before, safe='')}", "-H", f"X-Old: {before}")
        assert before.encode() not in done[1].partition(b"\r\n\r\n")[2]
    finally:
        setattr(service, name, before)
        world.put(way, **{file: before})
    assert world.ask(way)[0] == 200


def test_a_client_certificate_is_rotated_and_missed(world: World) -> None:
    """A new connection has the new one; without one the service says no."""
    service = world.service
    assert world.ask("certificate")[0] == 200
    first = service.serials[-1]
    certificate, key = client_files(world.web.cloud, world.folder, "two")
    world.put("certificate", tls_key=key, tls_crt=certificate)
    assert world.ask("certificate")[0] == 200
    assert service.serials[-1] != first
    world.put("certificate", tls_crt="none")
    status, whole = world.ask("certificate")
    assert status == 502
    assert b"credential-unreadable" in whole
    strange = CertificateAuthority.open(world.folder / "another-ca").issue(["two"], client=True)
    world.put("certificate", tls_crt=strange[0].decode(), tls_key=strange[1].decode())
    status, whole = world.ask("certificate")
    assert status == 502
    assert b"the target broke TLS off" in whole
    world.put("certificate", tls_key=key, tls_crt=certificate)
    assert world.ask("certificate")[0] == 200


def test_an_access_token_is_renewed(world: World) -> None:
    """Before it ends; and when it is refused, without the bot seeing it where nothing can be done twice."""
    service = world.service
    assert world.ask("oauth")[0] == 200
    assert world.ask("oauth")[0] == 200
    asked = service.asked
    service.tokens.clear()
    assert world.ask("oauth")[0] == 200
    assert service.asked == asked + 1
    service.tokens.clear()
    status, whole = world.ask("oauth", "/ok", "-d", "x=1")  # who knows what it did
    assert (status, b"target-credential-refused" in whole) == (502, True)
    service.lasts = 1
    assert world.ask("oauth", "/ok", "-d", "x=1")[0] == 200
    asked = service.asked
    world.web.wait(lambda: world.ask("oauth")[0] == 200 and service.asked > asked, 20)
    service.lasts = 300


def test_a_log_in_is_renewed(world: World) -> None:
    """A session that ended leads to the form, or to 401: the agent logs in anew, and the bot notices nothing."""
    service = world.service
    for path in ("/ok", "/ok?api"):
        assert world.ask("cookie", path)[0] == 200
        logins = service.logins
        service.sessions.clear()
        status, whole = world.ask("cookie", path)
        assert status == 200
        assert b"login" not in whole
        assert service.logins == logins + 1


@pytest.mark.parametrize("way", ["oauth", "cookie"])
def test_a_wrong_log_in_is_told_and_not_tried_on_and_on(world: World, way: str) -> None:
    """An account is not locked by a bot that asks again; a file that is put right helps at once."""
    service = world.service
    file, right = ("client_secret", service.client_secret) if way == "oauth" else ("password", service.password)
    world.put(way, **{file: "wrong-secret-of-mine"})
    tried = service.asked + service.logins
    for _ in range(4):
        status, whole = world.ask(way)
        assert status == 502
        assert b"target-login-failed" in whole
        assert b"wrong-secret-of-mine" not in whole
    assert service.asked + service.logins == tried + 1
    world.put(way, **{file: right})
    assert world.ask(way)[0] == 200
    assert b"wrong-secret-of-mine" not in (world.web.folder / "agent.log").read_bytes()
