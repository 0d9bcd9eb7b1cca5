"""A journal to ask about."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from wicketgate_gateway.audit import ingest
from wicketgate_gateway.audit.anchors import Anchorer, FilePlace
from wicketgate_gateway.audit.events import AuditEvent, Operation, OperationFinished, SessionEnded, SessionStarted
from wicketgate_gateway.audit.evidence import check_recordings
from wicketgate_gateway.audit.heads import Sealer
from wicketgate_gateway.audit.seals import SealLog, key_text, signing_key
from wicketgate_gateway.audit.verify import Report, purged_recordings, verify
from wicketgate_gateway.contract.keeping import AuditStore
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal, journal_files
from wicketgate_gateway.recording.recorder import Recorder, session_folder
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import Connection
from wicketgate_gateway.wire.postgres import messages as m


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connection]:
    """An open store of each kind, for the state folder `tmp_path`."""
    if request.param == "postgresql":
        place.remember(tmp_path, AuditStore(url_file=str(request.getfixturevalue("audit_url")())))
    connection = place.open_store(tmp_path)
    yield connection
    connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, sealed: Sealed) -> Iterator[Connection]:
    """An open store of each kind that has caught up with `sealed`."""
    if request.param == "postgresql":
        place.remember(sealed.state, AuditStore(url_file=str(request.getfixturevalue("audit_url")())))
    connection = place.open_store(sealed.state)
    ingest.catch_up(sealed.state, connection)
    yield connection
    connection.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Open the journal, append each list of events as a frame, and close it."""

    def append(*frames: list[AuditEvent], **options: int) -> None:
        journal = Journal(tmp_path / "journal", **options)  # type: ignore[arg-type]
        for frame in frames:
            journal.append(frame)
        journal.close()

    return append


@pytest.fixture
def make_session() -> Callable[..., list[AuditEvent]]:
    def make(
        bot: str = "code-review",
        target: str = "orders-db",
        statements: tuple[str, ...] = ("SELECT 1",),
        effect: str = "allow",
        ended: bool = True,
        start: int = 0,
    ) -> list[AuditEvent]:
        session = new_session_id()
        at = start or time.time_ns()
        events: list[AuditEvent] = [
            SessionStarted(
                time=at,
                session=session,
                bot=bot,
                bot_id="b",
                token_id="u",
                target=target,
                protocol="postgres",
                peer="127.0.0.1:5",
                agent="eu",
            )
        ]
        for seq, statement in enumerate(statements, 1):
            at += 1_000_000
            events.append(
                Operation(
                    time=at,
                    session=session,
                    seq=seq,
                    statement=statement,
                    effect=effect,
                    rule="p#1",
                    bot=bot,
                    target=target,
                    parameters=[b"\x00\xff", None],
                )
            )
            if effect == "allow":
                at += 1_000_000
                events.append(
                    OperationFinished(time=at, session=session, seq=seq, outcome="ok", rows=3, duration_us=500)
                )
        if ended:
            events.append(SessionEnded(time=at + 1, session=session, reason="client left", bytes_in=7, bytes_out=9))
        return events

    return make


class Sealed:
    """A state folder as a gateway leaves it: a journal of several files, recordings, seals, and an anchor outside."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.anchor = folder / "outside" / "seals.ndjson"
        self.anchor.parent.mkdir()
        self.key = signing_key(self.state)
        self.log = SealLog(self.state)
        self.sessions: list[str] = []

    def run(self, sessions: int = 3, *, rotate_bytes: int = 900, statements: int = 3) -> None:
        """A gateway runs, with the sealer at work after each session, and ends."""

        async def gateway() -> None:
            journal = Journal(self.journal, rotate_bytes=rotate_bytes)
            recorder = Recorder(self.state / "recordings", rotate_bytes=2000)
            recorder.on_closed = lambda event: journal.submit([event])
            sealer = Sealer(self.journal, self.log, self.key)
            for number in range(sessions):
                await self._session(journal, recorder, statements, number)
                sealer.seal()
            await recorder.close()
            await journal.drain()
            journal.close()

        asyncio.run(gateway())
        self.seal()

    async def _session(self, journal: Journal, recorder: Recorder, statements: int, number: int) -> None:
        session = new_session_id()
        self.sessions.append(session)
        started = SessionStarted(
            time=time.time_ns(),
            session=session,
            bot=f"bot-{number}",
            bot_id="b",
            token_id="u",
            target="orders-db",
            protocol="postgres",
            peer="127.0.0.1:5",
            agent="eu",
        )
        recording = recorder.start(started)
        journal.submit([started])
        for seq in range(1, statements + 1):
            recording.client(m.query(f"SELECT {seq}"))
            recording.server(m.command_complete("SELECT 1") + os.urandom(700) + m.ready_for_query())
            recording.flush()
            operation = Operation(
                time=time.time_ns(), session=session, seq=seq, statement=f"SELECT {seq}", effect="allow", rule="p#1"
            )
            journal.submit([operation])
            await journal.drain()
        recording.finish("client left")
        journal.submit([SessionEnded(time=time.time_ns(), session=session, reason="client left")])
        deadline = time.monotonic() + 10
        while recording in recorder._live:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        await journal.drain()

    @property
    def journal(self) -> Path:
        return self.state / "journal"

    def files(self) -> list[Path]:
        return journal_files(self.journal)

    def recording(self, number: int) -> Path:
        return session_folder(self.state / "recordings", self.sessions[number])

    def seal(self) -> None:
        Sealer(self.journal, self.log, self.key).seal()
        Anchorer(self.state, FilePlace(self.anchor)).deliver()

    def report(self, *, anchored: bool = True, key: str | None = None) -> Report:
        report = verify(
            self.state, anchors=[self.anchor] if anchored else [], key=key or key_text(self.key.public_key())
        )
        check_recordings(report, self.state / "recordings", purged_recordings(self.state))
        return report

    def kinds(self, *, anchored: bool = True) -> list[str]:
        return [found.kind for found in self.report(anchored=anchored).findings]

    def frames(self, path: Path) -> list[tuple[int, int]]:
        """Start and end of each frame of a file, the header's first."""
        data, offset, found = path.read_bytes(), fmt.MAGIC_BYTES, []
        while offset < len(data):
            end = offset + fmt.HEAD_BYTES + int.from_bytes(data[offset : offset + 4], "big")
            found.append((offset, end))
            offset = end
        return found

    def remake(self, path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
        """Change frame `number` of a file, and make every digest after it anew, in this and all later files."""
        files = self.files()
        previous: bytes | None = None
        for file in files[files.index(path) :]:
            data = file.read_bytes()
            out = data[: fmt.MAGIC_BYTES]
            for at, (start, end) in enumerate(self.frames(file)):
                payload = data[start + fmt.HEAD_BYTES : end]
                if at == 0:
                    header = msgspec.msgpack.decode(payload, type=fmt.FileHeader)
                    if previous is not None:
                        header = msgspec.structs.replace(header, previous=previous)
                    payload, previous = msgspec.msgpack.encode(header), header.previous
                if file == path and at == number:
                    payload = change(payload)
                assert previous is not None
                frame, previous = fmt.frame(previous, payload)
                out += frame
            file.write_bytes(out)


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    made = Sealed(tmp_path)
    made.run()
    return made
