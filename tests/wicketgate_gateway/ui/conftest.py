"""A browser's part by plain HTTP: signing in at the emulator by the pages' own redirects, against the served API."""

from __future__ import annotations

import asyncio
import html
import re
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from wicketgate_gateway.audit import ingest
from wicketgate_gateway.audit.events import AuditEvent, Operation, SessionEnded, SessionStarted
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder
from wicketgate_gateway.store.place import open_store

ORIGIN = "https://gate.example:8444"
SAME = {"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN}


class Tab:
    """One browser without an engine: cookies by name, no redirect followed by itself."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.cookies: dict[str, str] = {}
        self.raw: list[str] = []
        context = ssl.create_default_context(cafile=str(desk.ca_file))
        self._http = httpx2.Client(base_url=f"https://127.0.0.1:{desk.port}", verify=context, follow_redirects=False)
        entra = ssl.create_default_context(cafile=str(desk.cloud.entra.ca_file))
        self._entra = httpx2.Client(verify=entra, follow_redirects=False)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self._send("GET", path, headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> httpx2.Response:
        body = urlencode(form or {})
        given = {"Content-Type": "application/x-www-form-urlencoded", **SAME, **headers}
        return self._send("POST", path, given, body)

    def _send(self, method: str, path: str, headers: dict[str, str], body: str = "") -> httpx2.Response:
        if self.cookies:
            headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), **headers}
        answer = self._http.request(method, path, headers=headers, content=body or None)
        for text in answer.headers.get_list("set-cookie"):
            self.raw.append(text)
            name, _, value = text.partition(";")[0].partition("=")
            value = value.strip('"')
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer

    def start(self, to: str = "/ui/", **more: str) -> str:
        """Entra's address for a sign-in that begins now."""
        answer = self.get("/ui/sign-in/start?" + urlencode({"to": to, **more}))
        assert answer.status_code == 303
        return answer.headers["location"]

    def pick(self, address: str, name: str) -> dict[str, str]:
        """What Entra redirects with, once that person was clicked."""
        page = self._entra.get(address).text
        field = re.search(r'name="request" value="([^"]+)"', page)
        assert field, page
        tenant = self.desk.cloud.entra.tenant
        where = f"{self.desk.cloud.entra.authority}/{tenant}/login"
        answer = self._entra.post(where, data={"request": html.unescape(field[1]), "user": self.desk.cloud.ids[name]})
        parts = urlsplit(answer.headers["location"])
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ORIGIN}/ui/signed-in"
        return {key: values[0] for key, values in parse_qs(parts.query).items()}

    def finish(self, values: dict[str, str]) -> httpx2.Response:
        return self.get("/ui/signed-in?" + urlencode(values))

    def saml_start(self, to: str = "/ui/", **more: str) -> str:
        """Entra's address for a sign-in by SAML that begins now."""
        answer = self.get("/ui/saml/start?" + urlencode({"to": to, **more}))
        assert answer.status_code == 303
        return answer.headers["location"]

    def saml_pick(self, address: str, name: str) -> dict[str, str]:
        """The form that Entra's page posts, once that person was clicked."""
        page = self._entra.get(address).text
        field = re.search(r'name="request" value="([^"]+)"', page)
        assert field, page
        where = f"{self.desk.cloud.entra.authority}/{self.desk.cloud.entra.tenant}/saml2/login"
        answer = self._entra.post(where, data={"request": html.unescape(field[1]), "user": self.desk.cloud.ids[name]})
        assert f'action="{ORIGIN}/ui/saml/acs"' in answer.text, answer.text
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', answer.text)
        return {key: html.unescape(value) for key, value in found}

    def saml_post(self, form: dict[str, str], **headers: str) -> httpx2.Response:
        """As a browser on Entra's page posts it: from another site, with the one cookie that goes along."""
        kept = dict(self.cookies)
        self.cookies = {key: value for key, value in kept.items() if key == "__Host-wicketgate-saml"}
        given = {"Origin": "null", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        try:
            return self.post("/ui/saml/acs", form, **(given | {"Sec-Fetch-Dest": "document"} | headers))
        finally:
            self.cookies = {key: value for key, value in kept.items() if key in self._kept(kept)} | self.cookies

    def _kept(self, before: dict[str, str]) -> set[str]:
        return {key for key in before if key != "__Host-wicketgate-saml"}

    def sign_in(self, name: str, to: str = "/ui/") -> httpx2.Response:
        answer = self.finish(self.pick(self.start(to), name))
        assert answer.status_code == 200, answer.text
        return answer

    def close(self) -> None:
        self._http.close()
        self._entra.close()


@pytest.fixture
def tab(desk: Any) -> Any:
    """`tab()`: a new browser; `tab("Dana")`: one that is signed in."""
    made: list[Tab] = []

    def get(name: str = "") -> Tab:
        made.append(Tab(desk))
        if name:
            made[-1].sign_in(name)
        return made[-1]

    yield get
    for each in made:
        each.close()


async def _write(state: Path, started: SessionStarted, said: Sequence[tuple[str, bytes]], asked: Sequence[str]) -> None:
    journal = Journal(state / "journal")
    recorder = Recorder(state / "recordings")
    recorder.on_closed = lambda event: journal.submit([event])
    recording = recorder.start(started)
    events: list[AuditEvent] = [started]
    for seq, text in enumerate(asked, 1):
        effect = "deny" if "denied" in text else "allow"
        events.append(
            Operation(
                time=time.time_ns(),
                session=started.session,
                seq=seq,
                statement=text,
                effect=effect,
                rule="orders#1",
                reason="<b>no</b>" if effect == "deny" else "",
                bot=started.bot,
                target=started.target,
            )
        )
    for who, data in said:
        (recording.client if who == "client" else recording.server)(data)
    recording.finish("client left")
    events.append(SessionEnded(time=time.time_ns(), session=started.session, reason="client left"))
    for event in events:
        journal.submit([event], lambda error: None)
    await recorder.close()
    await journal.drain()
    journal.close()


@pytest.fixture
def record(desk: Any) -> Callable[..., str]:
    """`record("ssh", [("client", b"…"), …], ["uname"])`: a session on record, with operations; its id."""

    def make(protocol: str, said: Sequence[tuple[str, bytes]], asked: Sequence[str] = (), bot: str = "bot<b>") -> str:
        state = Path(desk.config.state)
        started = SessionStarted(
            time=time.time_ns(), session=new_session_id(), bot=bot, bot_id="id", token_id="uti", target="orders-db",
            protocol=protocol, peer="127.0.0.1:5", agent="desk", client="<i>client</i>",
        )  # fmt: skip
        asyncio.run(_write(state, started, said, asked))
        connection = open_store(state)
        try:
            ingest.catch_up(state, connection)
        finally:
            connection.close()
        return started.session

    return make
