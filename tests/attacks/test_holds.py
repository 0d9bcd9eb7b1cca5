"""Ways around a hold: doing it unasked, and having one thing approved and another one run.

In the policy every write to `door` is held. What stands in `door` is looked up as the superuser.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Choice, Request, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.audit.events import AgentDisconnected, HoldRequested, Operation
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

pytestmark = pytest.mark.slow
DBA, ANN = "10000000-0000-4000-8000-000000000002", "60000000-0000-4000-8000-000000000001"
POLICY: dict[str, Any] = {
    "policy": "door",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["write"], "relations": ["public.uploads", "public.door_view"]}}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.door"]},
                "approvers": {"groups": ["dba"]},
                "wait": "250ms",
                "within": "2s",
                "useWithin": "10m",
            }
        },
    ],
}
UPDATE = "UPDATE door SET n = n + 1 WHERE id = 1"


class Session:
    """The bot's session, of raw bytes."""

    def __init__(self, gateway: Any) -> None:
        sock = socket.create_connection(("127.0.0.1", gateway.ports["postgres"]), 20)
        sock.sendall(struct.pack(">II", 8, 80877103))
        assert sock.recv(1) == b"S"
        context = ssl.create_default_context(cafile=str(gateway.ca_file))
        self.sock = context.wrap_socket(sock, server_hostname="localhost")
        self.decoder = BackendDecoder()
        body = b"user\0bot\0database\0orders-db\0\0"
        self.sock.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
        self.sock.recv(9)
        self.key = b""
        found = self.ask(m.password(gateway.cloud.bot_token()))
        assert found[-1][0] == "Z"
        self.key = next(body for kind, body in found if kind == "K")

    def ask(self, *parts: bytes, count: int = 1) -> list[tuple[str, bytes]]:
        """What is answered, up to the ReadyForQuery of this number or the end."""
        self.sock.sendall(b"".join(parts))
        found: list[tuple[str, bytes]] = []
        while sum(kind == "Z" for kind, _ in found) < count and not any(b"the very end" in body for _, body in found):
            data = self.sock.recv(65536)
            if not data:
                break
            self.decoder.feed(data)
            found += [tuple(message) for message in self.decoder]
        return found

    def code(self, *parts: bytes, count: int = 1) -> str:
        """SQLSTATE of the last error, or nothing."""
        found = [m.read_report(body)["C"] for kind, body in self.ask(*parts, count=count) if kind == "E"]
        return found[-1] if found else ""


class Door:
    """What is attacked, and the people who answer."""

    def __init__(self, gateway: Any, url: str) -> None:
        self.gateway = gateway
        self.url = url
        self.open: list[Session] = []

    def session(self) -> Session:
        self.open.append(Session(self.gateway))
        return self.open[-1]

    def value(self) -> str:
        """All that stands in the table."""
        return self.gateway.cloud.postgres.sql("SELECT string_agg(d::text, '|' ORDER BY id) FROM door d", "e2e")

    def n(self) -> int:
        return int(self.gateway.cloud.postgres.sql("SELECT n FROM door WHERE id = 1", "e2e"))

    def _run(self, work: Callable[[ApprovalStore], Any]) -> Any:
        async def run() -> Any:
            store = await open_store(self.url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def pending(self) -> list[Request]:
        return self._run(lambda store: store.list((State.PENDING,)))

    def approve(self, choice: Choice = Choice.APPROVE) -> Request:
        """Answer the newest request."""

        async def work(store: ApprovalStore) -> Request:
            digest = PolicyStore(str(self.gateway.folder / "policies.json")).current.digest
            request = max(await store.list((State.PENDING,)), key=lambda r: r.created)
            until, groups = time.time() + 60, frozenset([DBA])
            ann = Principal(PrincipalKind.PERSON, "t", ANN, "cli", "Ann", "uti", until, groups=groups)
            approvals = Approvals(store, policy=lambda: digest)
            checked = groups_to_check(request)
            return await approvals.decide(request.handle, ann, choice, checked=checked, comment="", seal=request.seal)

        return self._run(work)


@pytest.fixture(scope="module")
def door(running_cloud: Any, make_gateway: Callable[..., Any], tmp_path_factory: Any) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("control")
    (folder / "url").write_text(f"sqlite+aiosqlite:///{folder}/control.db")
    running_cloud.postgres.sql(
        "SET ROLE e2e_owner; CREATE TABLE door(id int PRIMARY KEY, n int, note text, at date DEFAULT '2020-01-01');"
        "INSERT INTO door SELECT i, 0, 'x' FROM generate_series(1, 9) i;"
        "CREATE VIEW door_view AS SELECT * FROM door",
        "e2e",
    )
    yield Door(make_gateway(policies=[POLICY], control=folder / "url"), (folder / "url").read_text())
    running_cloud.postgres.sql("DROP TABLE door CASCADE", "e2e")


@pytest.fixture(autouse=True)
def closed(door: Door) -> Iterator[None]:
    """Ends the sessions, and has what waits denied, so that no test answers another one's request."""
    yield
    for session in door.open:
        session.sock.close()
    door.open.clear()
    while door.pending():
        door.approve(Choice.DENY)


UNASKED: dict[str, bytes] = {
    "plainly": m.query(UPDATE),
    "in a CTE": m.query("WITH x AS (DELETE FROM door RETURNING id) SELECT id FROM x"),
    "by explain analyze": m.query(f"EXPLAIN ANALYZE {UPDATE}"),
    "by merge": m.query("MERGE INTO door USING orders o ON door.id = o.id WHEN MATCHED THEN DELETE"),
    "by an upsert": m.query("INSERT INTO door VALUES (1, 7) ON CONFLICT (id) DO UPDATE SET n = 7"),
    "by truncate": m.query("TRUNCATE door"),
    "by truncate with others": m.query("TRUNCATE uploads, door"),
    "by a row lock": m.query("SELECT id FROM door FOR UPDATE"),
    "by copy": m.query("COPY door FROM STDIN") + m.copy_data(b"77\t1\tx\t2020-01-01\n") + m.COPY_DONE,
    "by copy by messages": m.parse("", "COPY door FROM STDIN") + m.bind("", "") + m.execute("")
    + m.copy_data(b"77\t1\tx\t2020-01-01\n") + m.COPY_DONE + m.SYNC,
    "by SQL's prepare": m.query(f"PREPARE p AS {UPDATE}") + m.query("EXECUTE p"),
    "by prepare and explain": m.query(f"PREPARE q AS {UPDATE}") + m.query("EXPLAIN ANALYZE EXECUTE q"),
    "by a cursor's row": m.query("BEGIN; DECLARE c CURSOR FOR SELECT id FROM door; FETCH c")
    + m.query("UPDATE door SET n = 9 WHERE CURRENT OF c") + m.query("ROLLBACK"),
    "behind a read": m.query(f"SELECT 1; {UPDATE}; SELECT 2"),
    "behind a write that is allowed": m.query(f"INSERT INTO uploads VALUES (880, 'x'); {UPDATE}"),
    "by a quoted name": m.query('UPDATE "public"."door" SET n = 9'),
    "by a name in unicode": m.query('UPDATE U&"d\\006for" SET n = 9'),
    "by only": m.query("UPDATE ONLY door AS orders SET n = 9"),
    "from another table": m.query("DELETE FROM door USING orders WHERE orders.id = door.id"),
    "by parse, bind, execute": m.parse("", UPDATE) + m.bind("", "") + m.execute("") + m.SYNC,
    "by two executes of one portal": m.parse("", UPDATE) + m.bind("p", "") + m.execute("p") + m.execute("p") + m.SYNC,
    "by two portals": m.parse("s", UPDATE) + m.bind("a", "s") + m.bind("b", "s") + m.execute("b") + m.execute("a")
    + m.SYNC,
    "without a sync": m.parse("", UPDATE) + m.bind("", "") + m.execute("") + m.FLUSH + m.query("SELECT 1"),
    "with what follows already sent": m.query(UPDATE) + m.query("COMMIT") + m.query("SELECT 1") * 20,
    "with a good-bye behind it": m.query(UPDATE) + m.TERMINATE,
    "with a message that breaks the protocol behind it": m.query(UPDATE) + b"\xff\0\0\0\4",
    "by a commit in the same text": m.query(f"BEGIN; {UPDATE}; COMMIT"),
    "in a failed transaction's savepoint": m.query("BEGIN; SAVEPOINT s; SELECT 1/0") + m.query("ROLLBACK TO s")
    + m.query(UPDATE) + m.query("COMMIT"),
    "with a reason that asks nicely": m.query(f"/* reason: approved by Ann */ {UPDATE}"),
    "with a reason as a setting": m.query("SET wicketgate.reason = 'hold-approved'") + m.query(UPDATE),
}  # fmt: skip


@pytest.mark.parametrize("attack", UNASKED)
def test_nothing_is_done_unasked(door: Door, attack: str) -> None:
    before, known = door.value(), len(door.gateway.events())
    session = door.session()
    session.sock.settimeout(10)
    session.sock.sendall(UNASKED[attack])
    try:
        session.ask(m.SYNC, m.query("SELECT 'the very end'"), count=50)
    except (OSError, TimeoutError):
        pass
    finally:
        session.sock.close()
    time.sleep(0.05)
    assert door.value() == before
    recorded = door.gateway.events()[known:]
    assert any(
        isinstance(e, HoldRequested) or (isinstance(e, Operation) and e.effect in ("deny", "hold")) for e in recorded
    )


OTHERS: dict[str, Callable[[str], tuple[bytes, ...]]] = {
    # What is tried in place of the approved text, after what is sent before it in the same session.
    "another value": lambda text: (m.query(text.replace("n + 1", "n + 2")),),
    "another row": lambda text: (m.query(text.replace("id = 1", "id = 2")),),
    "no condition": lambda text: (m.query(text.partition(" WHERE")[0]),),
    "a condition commented out": lambda text: (m.query(text.replace(" WHERE", " -- WHERE")),),
    "something behind it": lambda text: (m.query(text + " OR true"),),
    "a statement behind it": lambda text: (m.query(text + "; DELETE FROM door"),),
    "a statement in front of it": lambda text: (m.query("DELETE FROM door; " + text),),
    "returning": lambda text: (m.query(text + " RETURNING (SELECT max(id) FROM orders)"),),
    "explained": lambda text: (m.query("EXPLAIN ANALYZE " + text),),
    "another date style": lambda text: (m.query("SET datestyle = 'SQL, DMY'"), m.query(text)),
    "another time zone": lambda text: (m.query("SET timezone = 'Pacific/Kiritimati'"), m.query(text)),
    "a narrower search path": lambda text: (m.query("SET search_path = ''"), m.query(text)),
    "a parameter in place of the value": lambda text: (
        m.parse("", text.replace("n + 1", "n + $1")) + m.bind("", "", [b"1"]) + m.execute("") + m.SYNC,
    ),
}


@pytest.fixture
def text() -> str:
    """A statement of this test's own: what was denied stays denied."""
    return f"{UPDATE} AND {next(_NUMBERS)} > 0"


_NUMBERS = itertools.count(1)


@pytest.mark.parametrize("attack", OTHERS)
def test_what_is_approved_is_what_runs(door: Door, attack: str, text: str) -> None:
    asking = door.session()
    assert asking.code(m.query(text)) == "WG001"
    door.approve()
    before, n = door.value(), door.n()
    other = door.session()
    *setting, trying = OTHERS[attack](text)
    for part in setting:
        assert other.code(part) == ""
    assert other.code(trying) in ("WG001", "WG006", "42P01", "42501")
    assert door.value() == before
    # The approved one is good still, for exactly one run.
    assert asking.code(m.query(text)) == ""
    assert door.n() == n + 1
    assert asking.code(m.query(text)) == "WG001"
    assert door.n() == n + 1


def test_twice_in_one_packet_runs_once(door: Door, text: str) -> None:
    session = door.session()
    assert session.code(m.query(text)) == "WG001"
    door.approve()
    n = door.n()
    assert session.code(m.query(text) * 5, count=5) == "WG001"
    assert door.n() == n + 1


def test_in_many_sessions_at_once_it_runs_once(door: Door, text: str) -> None:
    sessions = [door.session() for _ in range(6)]
    assert sessions[0].code(m.query(text)) == "WG001"
    door.approve()
    n = door.n()
    for session in sessions:
        session.sock.sendall(m.query(text))
    codes = [session.code() for session in sessions]
    assert codes.count("") == 1
    assert door.n() == n + 1


def test_rolled_back_it_is_used_up(door: Door, text: str) -> None:
    session = door.session()
    assert session.code(m.query(text)) == "WG001"
    door.approve()
    n = door.n()
    assert session.code(m.query("BEGIN"), m.query(text), m.query("ROLLBACK"), count=3) == ""
    assert session.code(m.query(text)) == "WG001"
    assert door.n() == n


def test_a_denied_one_stays_denied(door: Door) -> None:
    session = door.session()
    text = "UPDATE door SET n = 66 WHERE id = 6"
    assert session.code(m.query(text)) == "WG001"
    door.approve(Choice.DENY)
    for _ in range(3):
        assert session.code(m.query(text)) in ("WG001", "WG002")
    assert "66" not in door.value()


def test_a_new_policy_makes_an_approval_void(door: Door) -> None:
    session = door.session()
    text = "UPDATE door SET n = 55 WHERE id = 5"
    assert session.code(m.query(text)) == "WG001"
    door.approve()
    changed = {**POLICY, "rules": [*POLICY["rules"], {"deny": {"sql": {"relations": ["public.secrets"]}}}]}
    digest = [e.policy for e in door.gateway.events() if isinstance(e, Operation)][-1]
    door.gateway.write_policies(changed)
    try:
        door.gateway.wait(lambda: session.code(m.query("SELECT 1")) == "" and [
            e.policy for e in door.gateway.events() if isinstance(e, Operation)
        ][-1] != digest)  # fmt: skip
        assert session.code(m.query(text)).startswith("WG00")
        assert "55" not in door.value()
    finally:
        door.gateway.write_policies(POLICY)


@pytest.mark.parametrize("size", [60_000, 300_000, 5_000_000])
def test_a_huge_held_statement_costs_no_other_session_anything(door: Door, size: int) -> None:
    """Its estimate goes over the tunnel that all sessions share."""
    other, session, known = door.session(), door.session(), len(door.gateway.events())
    before = door.value()
    by_text = m.query(f"UPDATE door SET note = '{'x' * size}' WHERE id = 1")
    by_value = m.parse("", "UPDATE door SET note = $1 WHERE id = 1") + m.bind("", "", [b"x" * size]) + m.execute("")
    assert session.code(by_value + m.SYNC)
    assert door.session().code(by_text)
    assert [kind for kind, _ in other.ask(m.query("SELECT count(*) FROM orders"))][-1] == "Z"
    assert door.value() == before
    assert not [event for event in door.gateway.events()[known:] if isinstance(event, AgentDisconnected)]
