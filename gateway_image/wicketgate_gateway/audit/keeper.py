"""The process beside the gateway that seals what it wrote, streams it, stores recordings away, and deletes in time.

How this works: each duty is a thread of its own, so that a collector that hangs keeps nobody from sealing. A duty that
fails says so once and tries again, later each time. The settings come as one line of JSON on standard input; the
process does its duties a last time and ends when standard input does, so it never outlives the gateway. It only reads
the journal: the gateway never waits for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pydantic import Field

from wicketgate_gateway.audit.anchors import Anchorer, place_of
from wicketgate_gateway.audit.follow import Follower
from wicketgate_gateway.audit.heads import Sealer
from wicketgate_gateway.audit.ingest import catch_up, journal_folder
from wicketgate_gateway.audit.retention import Rules, carry_out, forget_approvals, make_plan, only_run
from wicketgate_gateway.audit.seals import SealLog, key_text, signing_key
from wicketgate_gateway.audit.sinks import OtlpSink, Sink, SyslogSink
from wicketgate_gateway.audit.storing import store_closed
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ControlStore, GatewayTarget
from wicketgate_gateway.contract.keeping import AuditSettings, RecordingStore, Retention
from wicketgate_gateway.contract.model import Model, read
from wicketgate_gateway.contract.policy import Bundle
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.recording.objects import ObjectStore, remember, remembered
from wicketgate_gateway.store.place import open_store

_LAST_SECONDS = 10.0
_LONGEST_PAUSE = 300.0
_RESTART_SECONDS = 5.0
_POLL_SECONDS = 0.5
_STORE_SECONDS = 5.0
_FIRST_RETENTION = 60.0


class Duties(Model):
    """What the keeper is told: the parts of `gateway.yaml` that it needs."""

    state: str
    policies: str = ""
    targets: dict[str, GatewayTarget] = Field(default_factory=dict[str, GatewayTarget])
    audit: AuditSettings
    retention: Retention
    recordings: RecordingStore | None = None
    control: ControlStore = Field(default_factory=ControlStore)


def tell(what: str, message: str) -> None:
    """One line on standard error, for the log."""
    print(f"{what}: {message}", file=sys.stderr, flush=True)


class Duty:
    """Something to do every so often, in a thread of its own."""

    def __init__(
        self, name: str, every: float, step: Callable[[], None], *, first: float = 0, last: bool = True
    ) -> None:
        self.name = name
        self._every = every
        self._step = step
        self._first = first
        self._last = last
        self._told = ""
        self._failures = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Ask it to end, after one more step if that is its way."""
        self._ending.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        self._ending.wait(self._first)
        while True:
            ending = self._ending.is_set()
            if not ending or self._last:
                self._try()
            if ending:
                return
            pause = self._every
            if self._failures:
                pause = min(_LONGEST_PAUSE, max(0.5, min(self._every, 1.0) * 2 ** min(self._failures - 1, 10)))
            self._ending.wait(pause)

    def _try(self) -> None:
        try:
            self._step()
        except Exception as error:  # whatever it is, it is told, and tried again
            self._failures += 1
            message = str(error) if isinstance(error, WicketgateError | OSError) else repr(error)
            if message != self._told:
                self._told = message
                tell(self.name, f"{message}; it is tried again")
            return
        if self._told:
            tell(self.name, "works again")
        self._told, self._failures = "", 0


def sealing(duties: Duties) -> Callable[[], None]:
    """Seal what came, and bring the seals outside. Raises SealError."""
    state = Path(duties.state)
    key = signing_key(state)
    log = SealLog(state)
    tell("seals", f"the audit is sealed with {key_text(key.public_key())}")
    found: list[Sealer] = []
    anchor = duties.audit.anchor
    anchorer = Anchorer(state, place_of(anchor)) if anchor is not None else None

    def step() -> None:
        if not found:
            found.append(Sealer(journal_folder(state), log, key))
        for signed in found[0].seal():
            if type(signed.seal).__name__ == "Breach":
                tell("seals", f"the journal does not go on from what was sealed: {signed.line.decode()}")
        if anchorer is not None:
            anchorer.deliver()

    return step


def storing(duties: Duties, setting: RecordingStore) -> Callable[[], None]:
    """Bring closed recordings to the object store."""
    state = Path(duties.state)
    recordings = state / "recordings"

    def step() -> None:
        store = ObjectStore(setting.url)
        remember(recordings, setting.url)
        connection = open_store(state)
        try:
            catch_up(state, connection)
            store_closed(
                recordings,
                connection,
                store,
                keep_local=setting.keep_local,
                tell=lambda message: tell("recordings", message),
            )
        finally:
            connection.close()

    return step


def deleting(duties: Duties) -> Callable[[], None]:
    """Delete what is too old."""
    state = Path(duties.state)

    def step() -> None:
        # The bundle of now: policies change while the gateway runs.
        rules = Rules(duties.retention, read(Bundle, duties.policies), duties.targets)
        connection = open_store(state)
        try:
            catch_up(state, connection)
            with only_run(state):
                store = remembered(state / "recordings")
                plan = make_plan(state, connection, rules, stored=store.has if store else lambda _: False)
                carry_out(state, connection, plan, unstore=store.remove if store else lambda _: None)
        finally:
            connection.close()
        if not plan.empty:
            events = plan.journal.events if plan.journal else 0
            tell("retention", f"{len(plan.recordings)} recordings and {events} events were deleted")

    return step


def forgetting(duties: Duties) -> Callable[[], None]:
    """Delete requests for approval that ended long ago."""
    state = Path(duties.state)

    def step() -> None:
        count = forget_approvals(state, duties.control, duties.retention)
        if count:
            tell("retention", f"{count} requests for approval were forgotten")

    return step


def streaming(duties: Duties, name: str, sink: Sink) -> Callable[[], None]:
    """Send what came to a sink, batch by batch."""
    follower = Follower(Path(duties.state), name, lambda message: tell(f"stream {name}", message))

    def step() -> None:
        while entries := follower.batch():
            sink.send(entries)
            follower.accepted()

    return step


def make_duties(duties: Duties) -> list[Duty]:
    """All that these settings ask for."""
    made = [Duty("seals", max(0.05, seconds(duties.audit.every)), sealing(duties))]
    audit = duties.audit
    if audit.syslog is not None:
        made.append(Duty("stream syslog", _POLL_SECONDS, streaming(duties, "syslog", SyslogSink(audit.syslog))))
    if audit.otlp is not None:
        sink = OtlpSink(audit.otlp, lambda message: tell("stream otlp", message))
        made.append(Duty("stream otlp", _POLL_SECONDS, streaming(duties, "otlp", sink)))
    if duties.recordings is not None:
        made.append(Duty("recordings", _STORE_SECONDS, storing(duties, duties.recordings)))
    every = seconds(duties.retention.every)
    if every and duties.policies:
        first = min(every, _FIRST_RETENTION)
        made.append(Duty("retention", every, deleting(duties), first=first, last=False))
        made.append(Duty("retention of approvals", every, forgetting(duties), first=first, last=False))
    return made


def run(duties: Duties, stdin: BinaryIO) -> None:
    """Do the duties until `stdin` ends."""
    all_duties = make_duties(duties)
    for duty in all_duties:
        duty.start()
    while stdin.read(4096):
        pass
    for duty in all_duties:
        duty.end()
    for duty in all_duties:
        duty.join(_LAST_SECONDS)


class Keeper:
    """The keeper's process, as the gateway starts it. Raises SealError if the key cannot be used."""

    def __init__(self, duties: Duties) -> None:
        self._duties = duties
        # Here, so that a key that cannot be used keeps the gateway from starting, rather than from sealing.
        signing_key(Path(duties.state))
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "wicketgate_gateway.audit.keeper"], stdin=subprocess.PIPE, start_new_session=True
        )
        self._started = time.monotonic()
        assert process.stdin is not None
        process.stdin.write(self._duties.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n")
        process.stdin.flush()
        return process

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def look(self) -> bool:
        """Start it again if it died; True if it had."""
        if self._process.poll() is None or time.monotonic() - self._started < _RESTART_SECONDS:
            return False
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = self._start()
        return True

    def stop(self) -> None:
        """Let it do its duties a last time, and end it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_LAST_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> int:
    """The process itself. Exit status 2 for settings that cannot work."""
    os.nice(5)
    stdin = sys.stdin.buffer
    try:
        run(Duties.model_validate_json(stdin.readline()), stdin)
    except WicketgateError as error:
        tell("audit keeper", str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
