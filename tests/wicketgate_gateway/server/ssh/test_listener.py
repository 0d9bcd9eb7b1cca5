"""What comes over the link of the SSH process: log-ins, and channels of those sessions that came over the same link."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.contract.gateway import TargetKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.sessions import LogInError
from wicketgate_gateway.server.ssh.listener import SshListener
from wicketgate_gateway.tunnel.messages import Cancel, Control, Failed, Opened, SshChannel, SshConnect
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, Mux, Stream

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Registry:
    """What a listener needs of `Sessions`; one token lets in."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(limits=SimpleNamespace(login="1s"))
        self.authenticator = self
        self.agents = self
        self.full = False
        self.killed = False
        self.slow = False
        self.live: list[Any] = []
        self.refusals: list[tuple[str, str]] = []
        self.events: list[Any] = []
        self.numbers = 0
        notices = SimpleNamespace(add=self.events.extend, flush=lambda: None)
        self.gate = SimpleNamespace(notices=notices, journal=SimpleNamespace(submit=self.events.extend))

    async def bot(self, token: str) -> Any:
        if self.slow:
            await asyncio.sleep(60)
        if token != "good":
            raise Refused("token-invalid", "the token is none", "get another")
        return SimpleNamespace(name="some-bot")

    def session_for(self, principal: Any, name: str, kind: TargetKind, **more: Any) -> Any:
        assert kind is TargetKind.SSH
        if name != "web-1":
            raise LogInError(f"no policy lets this bot use the target `{name}`", code="no-policy")
        self.numbers += 1
        return SimpleNamespace(
            id=f"s{self.numbers}", recording=None, bot=principal.name, ended=lambda reason: ("ended", reason),
            opening=SimpleNamespace(target_name=name), gate=self.gate,
        )  # fmt: skip

    def no_room(self) -> LogInError:
        return LogInError("no room", code="too-many-sessions")

    def refuse_killed(self, session: Any) -> None:
        if self.killed:
            raise LogInError("killed by ada", code="killed")

    async def start_on_record(self, session: Any) -> None:
        self.events.append(("started", session.id))

    def refused(self, code: str, reason: str, *, peer: str, target: str, **more: Any) -> None:
        self.refusals.append((code, target))

    def add(self, live: Any, cancel: Callable[[], None]) -> None:
        self.live.append(live)

    def remove(self, live: Any) -> None:
        self.live.remove(live)

    async def open(self, target: str, opening: Any) -> Any:
        await asyncio.sleep(60)


class Desk:
    """A listener, and links to it as the SSH process has one."""

    def __init__(self) -> None:
        self.registry: Any = Registry()
        self.listener = SshListener(self.registry)
        self.listener._socket = socket.create_server(("127.0.0.1", 0))
        self.links: list[Mux] = []

    async def link(self) -> Mux:
        """What the process would do with the sockets that it inherits."""
        theirs, listening = self.listener._sockets()
        listening.close()
        theirs.setblocking(False)

        def make() -> Mux:
            made = Mux(opens=True, on_message=lambda _: None, on_lost=lambda _: None)
            made.max_message = MAX_MESSAGE
            return made

        _, mux = await asyncio.get_running_loop().create_connection(make, sock=theirs)
        self.links.append(mux)
        return mux


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    for mux in made.links:
        mux.abort("the test ends")
    await made.listener.close()


async def asked(mux: Mux, message: Control) -> tuple[Stream, Control | str]:
    stream = mux.open(message)
    answered: asyncio.Future[Control | str] = asyncio.get_running_loop().create_future()

    def answer(what: Control | str) -> None:
        if not answered.done():
            answered.set_result(what)

    stream.on_control = stream.on_close = answer
    return stream, await asyncio.wait_for(answered, 5)


def connect(token: str = "good", target: str = "web-1") -> SshConnect:
    return SshConnect(target=target, token=token, user="u", peer="127.0.0.1:5", client="SSH-2.0-x")


def channel(session: str) -> SshChannel:
    return SshChannel(session=session, kind="exec", command="uname")


async def test_who_is_let_in_is_on_record_first(desk: Desk) -> None:
    _, found = await asked(await desk.link(), connect())
    assert found == Opened(parameters={"session": "s1"})
    assert desk.registry.events == [("started", "s1")]
    assert len(desk.registry.live) == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (connect(token=""), "token-missing"),
        (connect(token="bad"), "token-invalid"),
        (connect(target="other"), "no-policy"),
        (connect(target=""), "no-policy"),
    ],
)
async def test_who_is_not_is_told_and_on_record(desk: Desk, request_: SshConnect, code: str) -> None:
    _, found = await asked(await desk.link(), request_)
    assert isinstance(found, Failed)
    assert found.code == code
    assert desk.registry.refusals == [(code, request_.target)]
    assert not desk.registry.live


async def test_no_room_a_kill_and_a_slow_check(desk: Desk) -> None:
    mux = await desk.link()
    for name, code in (("full", "too-many-sessions"), ("killed", "killed"), ("slow", "login-timeout")):
        setattr(desk.registry, name, True)
        _, found = await asked(mux, connect())
        setattr(desk.registry, name, False)
        assert isinstance(found, Failed)
        assert found.code == code
    assert not desk.registry.live


async def test_attack_a_channel_of_a_session_of_another_link(desk: Desk, eventually: Eventually) -> None:
    first, second = await desk.link(), await desk.link()
    await asked(first, connect())
    assert (await asked(second, channel("s1")))[1] == "there is no such session"
    assert (await asked(first, channel("s2")))[1] == "there is no such session"
    assert (await asked(first, Cancel()))[1] == "not understood"


async def test_the_process_going_ends_its_sessions_and_no_others(desk: Desk, eventually: Eventually) -> None:
    first, second = await desk.link(), await desk.link()
    await asked(first, connect())
    await asked(second, connect())
    first.abort("the process was killed")
    await eventually(lambda: len(desk.registry.live) == 1)
    assert desk.registry.live[0].session.id == "s2"
    assert ("ended", "the client hung up") in desk.registry.events


async def test_when_it_stops_each_session_is_told(desk: Desk) -> None:
    mux = await desk.link()
    stream, _ = await asked(mux, connect())
    told: list[str] = []
    stream.on_close = told.append
    await desk.listener.close()
    assert not desk.registry.live
    assert (await asked(mux, connect()))[1] == "the gateway stops"
    assert told == ["the gateway stops; connect again"]
