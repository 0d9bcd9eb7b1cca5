"""Deliveries to a real https receiver: signed, tried again, noted; and what a receiver must refuse."""

import asyncio
import base64
import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.api import webhooks
from wicketgate_gateway.api.webhooks import Webhooks, receiver
from wicketgate_gateway.approvals.place import store_url
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.gateway import Webhook as Settings

pytestmark = pytest.mark.anyio
SECRET = "whsec_" + base64.b64encode(b"a secret of more than 24 bytes").decode()
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Receiver:
    """An https server that answers what it is told to and keeps what it got."""

    def __init__(self, folder: Path) -> None:
        outer = self
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.hangs = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                while outer.hangs.is_set():
                    time.sleep(0.01)
                status = outer.answers.pop(0) if outer.answers else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - its name there

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        authority = CertificateAuthority.open(folder / "ca")
        self.ca_file = authority.cert_file
        leaf = authority.issue_files(folder, "receiver", ["127.0.0.1"])
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.cert_file, leaf.key_file)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.got]


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "secret").write_text(SECRET + "\n")
    made = Receiver(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


class Place:
    """A state folder of its own with the desk's way of asking."""

    def __init__(self, desk: Any, folder: Path, there: Receiver) -> None:
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        hook = {"url": there.url, "secretFile": str(folder / "secret"), "caFile": str(there.ca_file)}
        document = desk.config.document()
        document["state"] = str(self.state)
        document["people"] = {**document["people"], "webhooks": {"ops": hook}}
        self.config = GatewayConfig.model_validate(document)
        self.desk = desk

    async def hold(self, **more: Any) -> Any:
        config, self.desk.config = self.desk.config, self.config
        try:
            return await asyncio.to_thread(self.desk.hold, **more)
        finally:
            self.desk.config = config

    def dead(self) -> list[dict[str, Any]]:
        file = self.state / webhooks.DEAD
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    async def look(self, query: str) -> list[Any]:
        store = await open_store(store_url(self.config))
        try:
            async with store.database.reading() as (connection, _):
                return list((await connection.execute(text(query))).all())
        finally:
            await store.close()

    async def settled(self) -> None:
        """Until something was told, and nothing is left to be."""
        async with asyncio.timeout(20):
            while {s for (s,) in await self.look("SELECT DISTINCT state FROM deliveries")} != {"told"}:  # noqa: ASYNC110 - tells by no event
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[Any]:
        store = await open_store(store_url(self.config))
        task = asyncio.get_running_loop().create_task(Webhooks(self.config, store, **more).run())
        # It begins with the changes from then on.
        while not await self.look("SELECT name FROM receivers"):  # noqa: ASYNC110 - tells by no event
            await asyncio.sleep(0.01)
        try:
            yield store
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await store.close()


@pytest.fixture
def place(desk: Any, tmp_path: Path, there: Receiver) -> Place:
    return Place(desk, tmp_path, there)


async def test_signed_as_the_scheme_says(place: Place, there: Receiver, eventually: Eventually) -> None:
    async with place.running():
        held = await place.hold()
        await eventually(lambda: there.got)
    path, headers, body = there.got[0]
    assert path == "/hook"
    assert headers["content-type"] == "application/json"
    verified = Webhook(SECRET).verify(body, headers)
    assert (verified["type"], verified["data"]["handle"]) == ("hold.requested", held.handle)
    # What a receiver must refuse, and does by the library: forged, altered, replayed later, of another secret.
    for changes, data, secret in (
        ({"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}, body, SECRET),
        ({}, body.replace(b"code-review", b"other-bot"), SECRET),
        ({"webhook-id": "msg_other_1"}, body, SECRET),
        ({"webhook-timestamp": str(int(time.time()) - 600)}, body, SECRET),
        ({"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body, SECRET),
        ({}, body, "whsec_" + base64.b64encode(b"another secret of 24 bytes").decode()),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(data, headers | changes)


async def test_tried_again_with_the_same_id_and_a_new_signature(
    place: Place, there: Receiver, eventually: Eventually
) -> None:
    there.answers = [500, 302, 429]
    waited: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        waited.append((low, high))
        return 0.01

    async with place.running(draw=draw):
        await place.hold()
        await eventually(lambda: len(there.got) == 4)
        await place.settled()
    assert len({headers["webhook-id"] for _, headers, _ in there.got}) == 1
    assert {path for path, _, _ in there.got} == {"/hook"}  # a redirect is not followed
    assert waited == [(1.0, 2.0), (5.0, 10.0), (15.0, 30.0)]
    assert place.dead() == []


async def test_given_up_and_noted(place: Place, there: Receiver, eventually: Eventually) -> None:
    there.answers = [500] * 3
    async with place.running(pauses=(0.01, 0.01)):
        held = await place.hold()
        await eventually(place.dead)
        more = await place.hold()
        await eventually(lambda: len(there.got) == 4)
    (line,) = place.dead()
    assert (line["receiver"], line["handle"], line["reason"]) == ("ops", held.handle, "HTTP 500")
    assert there.bodies()[-1]["data"]["handle"] == more.handle


async def test_a_receiver_that_is_gone_or_does_not_exist(place: Place, there: Receiver, eventually: Eventually) -> None:
    there.answers = [410]
    async with place.running(pauses=(0.01,)):
        await place.hold()
        await eventually(place.dead)
        assert len(there.got) == 1
        there.server.shutdown()
        there.server.server_close()
        await place.hold()
        await eventually(lambda: len(place.dead()) == 2)
    assert place.dead()[1]["reason"] == "ConnectError"
    assert "127.0.0.1" not in json.dumps(place.dead())  # an address may be a secret


async def test_what_happened_while_the_process_was_away_is_told(
    place: Place, there: Receiver, eventually: Eventually
) -> None:
    async with place.running():
        await place.hold()
        await place.settled()
    held = await place.hold()
    async with place.running() as store:
        await eventually(lambda: len(there.got) == 2)
        await store.void("test", handle=held.handle)
        await eventually(lambda: len(there.got) == 3)
    told = [(body["type"], body["data"]["handle"]) for body in there.bodies()]
    assert told[1:] == [("hold.requested", held.handle), ("hold.void", held.handle)]
    assert (await asyncio.to_thread(lambda: place.dead())) == []


async def test_a_message_not_delivered_yet_is_delivered_by_the_next_process(
    place: Place, there: Receiver, eventually: Eventually
) -> None:
    async with place.running():
        await place.hold()
        await place.settled()
    there.answers = [500]
    async with place.running(draw=lambda low, high: 0.2, lease=1.0):
        held = await place.hold()
        await eventually(lambda: len(there.got) == 2)
    async with place.running(lease=1.0):
        await eventually(lambda: len(there.got) == 3)
    assert there.got[1][1]["webhook-id"] == there.got[2][1]["webhook-id"]
    assert there.bodies()[2]["data"]["handle"] == held.handle


async def test_a_request_that_has_lapsed_is_not_told_late(
    place: Place, there: Receiver, eventually: Eventually
) -> None:
    there.answers = [500]
    async with place.running(pauses=(1.0,), draw=lambda low, high: high):
        await place.hold(within=0.5)
        await eventually(place.dead)
    assert place.dead()[0]["reason"] == "it lapsed before it could be told"
    assert [body["type"] for body in there.bodies()].count("hold.requested") == 1


async def test_a_certificate_that_nobody_vouches_for(place: Place, there: Receiver, eventually: Eventually) -> None:
    assert place.config.people is not None
    hook = place.config.people.webhooks["ops"].model_copy(update={"ca_file": None})
    people = place.config.people.model_copy(update={"webhooks": {"ops": hook}})
    place.config = place.config.model_copy(update={"people": people})
    async with place.running(pauses=(0.01,)):
        await place.hold()
        await eventually(place.dead)
    assert there.got == []


# Several gateways on one store.

SENDER = """
import asyncio, sys
from pathlib import Path
from wicketgate_gateway.api.webhooks import Webhooks
from wicketgate_gateway.approvals.place import store_url
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.gateway import GatewayConfig

async def main():
    config = GatewayConfig.model_validate_json(Path(sys.argv[1]).read_text())
    store = await open_store(store_url(config))
    await Webhooks(config, store, lease=float(sys.argv[2])).run()

asyncio.run(main())
"""


class Gateways:
    """Processes that tell the same receiver, over one store."""

    def __init__(self, place: Place, url: str) -> None:
        url_file = place.state / "url"
        url_file.write_text(url)
        document = place.config.document()
        document["control"] = {"urlFile": str(url_file)}
        self.place = place
        place.config = GatewayConfig.model_validate(document)
        self._file = place.state / "config.json"
        self._file.write_text(json.dumps(document))
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, lease: float = 30.0) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", SENDER, str(self._file), str(lease)])
        self.processes.append(process)
        return process

    async def enrolled(self) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    if await self.place.look("SELECT name FROM receivers"):
                        return
                except WicketgateError:
                    pass
                await asyncio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def gateways(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Iterator[Gateways]:
    if request.param == "sqlite":
        made = Gateways(place, f"sqlite+aiosqlite:///{tmp_path}/shared/control.db")
    else:
        server = request.getfixturevalue("postgres")
        name = f"webhooks_{uuid.uuid4().hex[:12]}"
        server.create_user("wicketgate_webhooks", "store password")
        server.create_database(name, "wicketgate_webhooks")
        made = Gateways(place, server.dsn("wicketgate_webhooks", "store password", name))
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


async def test_two_gateways_on_one_store_send_each_message_once(
    gateways: Gateways, there: Receiver, eventually: Any
) -> None:
    gateways.start()
    gateways.start()
    await gateways.enrolled()
    held = [await gateways.place.hold() for _ in range(15)]
    await eventually(lambda: len(there.got) >= 15, 60)
    await gateways.place.settled()
    ids = [headers["webhook-id"] for _, headers, _ in there.got]
    assert len(set(ids)) == len(ids) == 15
    assert {body["data"]["handle"] for body in there.bodies()} == {h.handle for h in held}


async def test_a_gateway_that_is_killed_while_it_sends_is_taken_over(
    gateways: Gateways, there: Receiver, eventually: Any
) -> None:
    there.hangs.set()
    first = gateways.start(lease=2.0)
    await gateways.enrolled()
    held = await gateways.place.hold()
    await eventually(lambda: len(there.got) == 1, 30)
    first.kill()
    first.wait()
    there.hangs.clear()
    gateways.start(lease=2.0)
    await eventually(lambda: len(there.got) == 2, 30)
    await gateways.place.settled()
    # The receiver may have had the first: the id says that it is the same message.
    assert there.got[0][1]["webhook-id"] == there.got[1][1]["webhook-id"]
    assert there.bodies()[1]["data"]["handle"] == held.handle
    assert len(there.got) == 2


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_" + base64.b64encode(b"short").decode(), SECRET.removeprefix("whsec_"), "whsec_é"]
)
def test_secrets_that_are_none(tmp_path: Path, secret: str) -> None:
    (tmp_path / "secret").write_text(secret)
    with pytest.raises(WicketgateError) as error:
        receiver("ops", Settings(url="https://x", secret_file=str(tmp_path / "secret")))
    assert error.value.code == "webhook-invalid"
    assert len(secret) < 10 or secret not in str(error.value)


@pytest.mark.parametrize("url", ["http://hooks.example/x", "file:///etc/passwd", "", "https://a@b/"])
def test_addresses_in_files_are_checked_like_others(tmp_path: Path, url: str) -> None:
    (tmp_path / "url").write_text(url)
    with pytest.raises(WicketgateError) as error:
        receiver("ops", Settings.model_validate({"format": "slack", "urlFile": str(tmp_path / "url")}))
    assert error.value.code == "webhook-invalid"
    assert not url or url not in str(error.value)


def test_a_receiver_does_not_print_its_secrets(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hooks.example/T0/secret")
    made = receiver("ops", Settings.model_validate({"format": "slack", "urlFile": str(tmp_path / "url")}))
    assert repr(made) == "Receiver(ops)"
