"""How sessions end, and what goes on: crashes, restarts, new policies, bots that lose their access."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from wicketgate_gateway.audit.events import Operation, OperationFinished, PolicyRefused, SessionEnded, SessionStarted
from wicketgate_gateway.recording.reader import Recording

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(make_gateway: Callable[..., Any]) -> Any:
    """A gateway for this module's tests, with quick checks."""
    return make_gateway(groupsCache="1s")


def ended(gateway: Any, session: str) -> SessionEnded:
    def find() -> list[SessionEnded]:
        return [e for e in gateway.events() if isinstance(e, SessionEnded) and e.session == session]

    gateway.wait(find)
    return find()[0]


def session_of(gateway: Any) -> str:
    return [e for e in gateway.events() if isinstance(e, SessionStarted)][-1].session


def test_the_agent_is_killed_in_mid_statement(own: Any) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        session = session_of(own)
        killer = threading.Timer(0.5, lambda: own.stop("agent", signal.SIGKILL))
        killer.start()
        with pytest.raises(psycopg.OperationalError) as caught:
            db.execute("SELECT pg_sleep(60)")
        killer.join()
        assert caught.value.sqlstate == "08006" or "08006" in str(caught.value) or "lost" in str(caught.value)
    assert "target lost" in ended(own, session).reason
    finished = [e for e in own.events() if isinstance(e, OperationFinished) and e.session == session]
    assert finished[-1].outcome == "lost"
    own.start_agent()
    own.wait_for_agent()


def test_the_gateway_is_killed_in_mid_statement(own: Any) -> None:
    old_ports = own.ports
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        db.execute("SELECT 'before the end'")
        session = session_of(own)
        time.sleep(0.6)  # a recording may lack its last quarter of a second
        killer = threading.Timer(0.3, lambda: own.stop("gateway", signal.SIGKILL))
        killer.start()
        with pytest.raises(psycopg.OperationalError):
            db.execute("SELECT pg_sleep(60)")
        killer.join()
    statements = [e.statement for e in own.events() if isinstance(e, Operation) and e.session == session]
    assert statements[-2:] == ["SELECT 'before the end'", "SELECT pg_sleep(60)"]
    # On the same ports, so that the agent finds it again by itself.
    config = json.loads((own.folder / "gateway.yaml").read_text())
    config["listen"] = {name: {"port": old_ports[name]} for name in ("postgres", "agents")}
    (own.folder / "gateway.yaml").write_text(json.dumps(config))
    own.start_gateway()
    own.wait_for_agent()
    recording = Recording(own.state / "recordings", session)
    data = b"".join(r.data for r in recording.records())
    assert b"before the end" in data
    assert recording.end is None


def test_a_new_policy_counts_for_running_sessions(own: Any, policy: dict[str, Any]) -> None:
    stricter = copy.deepcopy(policy)
    stricter["rules"].append({"deny": {"sql": {"relations": ["public.orders"]}}})
    stricter["mask"].append({"columns": ["public.customers.name"], "with": "redact"})
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        orders, names = "SELECT id FROM orders WHERE id = %s", "SELECT name FROM customers WHERE id = %s"
        for _ in range(2):
            db.execute(orders, [1], prepare=True)
            assert db.execute(names, [1], prepare=True).fetchone() == ("Ann",)
        own.write_policies(stricter)
        own.wait(lambda: _denied(db, orders))
        # Statements that were prepared before are decided and masked anew, too.
        assert db.execute(names, [1], prepare=True).fetchone() == ("•••",)
        own.write_policies(policy)
        own.wait(lambda: not _denied(db, orders))
        assert db.execute(names, [1], prepare=True).fetchone() == ("Ann",)


def _denied(db: psycopg.Connection[Any], query: str) -> bool:
    try:
        db.execute(query, [1], prepare=True)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def test_a_broken_policy_is_refused_and_the_old_one_stays(own: Any, policy: dict[str, Any]) -> None:
    (own.folder / "policies.json").write_text('{"version": 1, "policies": [')
    own.wait(lambda: [e for e in own.events() if isinstance(e, PolicyRefused)])
    assert own.psql("SELECT * FROM secrets").returncode == 1
    assert own.psql("SELECT 1").stdout.strip() == "1"
    own.write_policies(policy)


def test_a_policy_that_no_longer_knows_the_bot_ends_its_sessions(own: Any, policy: dict[str, Any]) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        session = session_of(own)
        own.write_policies({**policy, "targets": ["other-db"]})

        def refused() -> bool:
            try:
                db.execute("SELECT 1")
            except psycopg.Error as error:
                return "no policy lets this bot use" in str(error)
            return False

        own.wait(refused)
    assert ended(own, session).reason == "no-policy"
    own.write_policies(policy)
    own.wait(lambda: own.psql("SELECT 1").returncode == 0)


def test_a_bot_that_is_disabled_or_leaves_its_group(own: Any) -> None:
    entra = own.cloud.entra
    store = entra.store
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        session = session_of(own)
        db.execute("SELECT 1")
        bot = store.get("servicePrincipal", own.cloud.principal("bot"))
        try:
            bot["accountEnabled"] = False
            entra.core.directory.save(bot)
            assert ended(own, session).reason.startswith("bot-disabled")
            with pytest.raises(psycopg.Error):
                db.execute("SELECT 1")
            assert own.psql("SELECT 1").returncode == 2
        finally:
            bot["accountEnabled"] = True
            entra.core.directory.save(bot)
    own.wait(lambda: own.psql("SELECT 1").returncode == 0)


def test_a_client_that_vanishes_leaves_nothing_behind(own: Any) -> None:
    def backends() -> int:
        return int(own.cloud.postgres.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'e2e_owner' AND application_name = 'vanish'"
        ))  # fmt: skip

    db = psycopg.connect(own.dsn(application_name="vanish"), autocommit=True)
    session = session_of(own)
    assert backends() == 1
    socket.socket(fileno=os.dup(db.fileno())).shutdown(socket.SHUT_RDWR)  # no Terminate, as a crash
    assert ended(own, session)
    own.wait(lambda: backends() == 0)


def test_a_statement_sent_with_the_good_bye_is_run(own: Any) -> None:
    result = own.psql("INSERT INTO uploads VALUES (31337, 'x')")
    assert result.returncode == 0
    assert own.psql("SELECT count(*) FROM uploads WHERE id = 31337").stdout.strip() == "1"


def test_sessions_are_told_when_the_gateway_stops(own: Any) -> None:
    with psycopg.connect(own.dsn(), autocommit=True) as db:
        session = session_of(own)
        begun = time.monotonic()
        assert own.stop("gateway") == 0
        assert time.monotonic() - begun < 10
        with pytest.raises(psycopg.OperationalError, match="the gateway stops"):
            db.execute("SELECT 1")
    assert ended(own, session).reason == "the gateway stops"
    assert own.recorded(session)
    assert not (own.state / "ports.json").exists()
    own.start_gateway()
    own.wait_for_agent()


def test_logs_hold_no_secret(own: Any) -> None:
    password = (own.cloud.credential / "password").read_text()
    token = own.cloud.bot_token()
    for name in ("gateway", "agent"):
        log = (own.folder / f"{name}.log").read_text()
        assert password not in log
        assert token[-40:] not in log
        assert "Traceback" not in log, log[-3000:]
