"""People at their command line, in one piece: sign in, see what is held, approve it, end sessions; a real bot waits.

The gateway stands in the tenant of `whole_cloud`, whose people sign in by device code at the emulated Entra.
"""

from __future__ import annotations

import json
import os
import re
import select
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.running import DATABASE, ROLE, Running
from wicketgate_gateway.audit.events import HoldUsed, SessionKilled
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy
from wicketgate_gateway.identity import exchange

pytestmark = pytest.mark.slow
POLICY: dict[str, Any] = {
    "policy": "people",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.people_held", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["read"], "functions": ["pg_sleep"]}}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.people_held"]},
                "approvers": {"groups": ["dba"]},
                "wait": "60s",
            }
        },
    ],
}


@dataclass
class Tenant:
    """The people's tenant, as `Running` wants it."""

    whole: Any
    ca: Any
    postgres: Any
    credential: Path

    @property
    def entra(self) -> Any:
        return self.whole.entra

    @property
    def audience(self) -> str:
        return self.whole.audience

    def client(self, name: str) -> str:
        return self.whole.clients[name]

    def principal(self, name: str) -> str:
        return self.whole.ids[name]

    def token_file(self, name: str) -> str:
        return str(self.whole.folder / f"{name}.token")

    def bot_token(self) -> str:
        assertion = Path(self.token_file("bot")).read_text()
        request = exchange.request(
            self.entra.authority, self.entra.tenant, self.client("bot"), f"{self.audience}/.default", assertion
        )
        context = ssl.create_default_context(cafile=str(self.entra.ca_file))
        call = urllib.request.Request(request.url, request.body, request.headers)
        with urllib.request.urlopen(call, context=context, timeout=20) as answer:
            return exchange.answer(answer.status, answer.read()).token


class Gated(Running):
    """A gateway with an API for people."""

    def write_policies(self, *policies: dict[str, Any]) -> None:
        ids = self.cloud.whole.ids  # pyright: ignore[reportAttributeAccessIssue] - a Tenant
        groups = {ids["reviewers"]: "reviewers"}
        bundled = [BundledPolicy.model_validate({**p, "groups": groups}, strict=False) for p in policies]
        owner = BundledBot(name="code-review", owner="group:platform-team", owner_id=ids["others"])
        bundle = Bundle(
            tenant=self.cloud.entra.tenant, policies=bundled, bots={ids["bot"]: owner}, approvers={"dba": ids["dba"]}
        )
        (self.folder / "policies.json").write_text(bundle.render())

    def write_gateway(self, **limits: Any) -> None:
        super().write_gateway(**limits)
        file = self.folder / "gateway.yaml"
        config = json.loads(file.read_text())
        config["listen"]["api"] = {"port": 0}
        config["people"] = {"url": "https://localhost", "client": self.cloud.client("cli")}
        file.write_text(json.dumps(config))


class Person:
    """One person's command line, with a home of its own."""

    def __init__(self, name: str, running: Gated, home: Path, whole: Any) -> None:
        self.name = name
        self._running = running
        self._whole = whole
        home.mkdir()
        port = json.loads((running.state / "api.json").read_text())["api"]
        file = home / "people.yaml"
        settings = {
            "entra": whole.document(),
            "audience": whole.audience,
            "client": whole.clients["cli"],
            "url": f"https://localhost:{port}",
            "caFile": str(running.ca_file),
        }
        file.write_text(json.dumps(settings))
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "WICKETGATE_CONFIG": str(file),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "wicketgate_gateway.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """What it prints, on both; it must end with that status."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, (arguments, out, err)
        return out + err

    def sign_in(self) -> str:
        process = self.start("login", "--device")
        assert process.stderr is not None
        line = process.stderr.readline()
        code = re.search(r"enter the code (\S+)", line)
        assert code, line
        self._whole.entra.approve_device(code[1], self._whole.ids[self.name])
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out


@pytest.fixture(scope="module")
def gated(running_cloud: Any, whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A gateway with an API, in the people's tenant."""
    running_cloud.postgres.sql(
        f"SET ROLE {ROLE}; CREATE TABLE people_held(id int PRIMARY KEY, n int NOT NULL DEFAULT 0);"
        "INSERT INTO people_held(id) SELECT generate_series(1, 20)",
        DATABASE,
    )
    tenant: Any = Tenant(whole_cloud, running_cloud.ca, running_cloud.postgres, running_cloud.credential)
    running = Gated(tmp_path_factory.mktemp("gated"), tenant, running_cloud.ca.cert_file)
    running.write_policies(POLICY)
    running.write_gateway()
    running.start_gateway()
    running.start_agent()
    running.wait_for_agent()
    running.wait(lambda: (running.state / "api.json").exists(), 30)
    yield running
    for name in list(running.processes):
        running.stop(name)


@pytest.fixture(scope="module")
def person(gated: Gated, whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Person]:
    """`person("Dana")`: signed in, once."""
    known: dict[str, Person] = {}
    homes = tmp_path_factory.mktemp("homes")

    def get(name: str) -> Person:
        if name not in known:
            known[name] = Person(name, gated, homes / name, whole_cloud)
            assert f"signed in as {name}" in known[name].sign_in()
        return known[name]

    return get


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def line(process: subprocess.Popen[str], seconds: float = 30) -> dict[str, Any]:
    """The next line of a `--watch --json`."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, "nothing came"
    return json.loads(process.stdout.readline())


def value(gated: Gated, number: int) -> int:
    return int(gated.cloud.postgres.sql(f"SELECT n FROM people_held WHERE id = {number}", DATABASE).strip())


def test_signed_in_seen_approved_and_psql_goes_on(gated: Gated, person: Any, pool: Any) -> None:
    dana, erik = person("Dana"), person("Erik")
    watching = dana.start("approvals", "list", "--watch", "--json")
    try:
        text = "UPDATE people_held SET n = n + 1 WHERE id = 1"
        waits = pool.submit(gated.psql, "SET wicketgate.reason = 'ticket 4711'", text)
        seen = line(watching)
        handle = seen["handle"]
        assert (seen["statement"], seen["state"]) == (text, "pending")
        assert handle in dana.run("approvals", "list")
        shown = dana.run("approvals", "show", handle)
        for part in (text, "ticket 4711", "code-review", "orders-db", "dba"):
            assert part in shown
        seal = json.loads(dana.run("approvals", "show", handle, "--json"))["seal"]
        # Erik may decide, but is not in the rule's group; and nobody approves what they did not look at.
        assert "not in a group" in erik.run("approvals", "approve", handle, "--seal", seal, status=1)
        other = ("0" if seal[0] != "0" else "1") + seal[1:]
        dana.run("approvals", "approve", handle, "--seal", other, status=1)
        assert value(gated, 1) == 0
        dana.run("approvals", "approve", handle, "--seal", seal, "--comment", "as agreed")
        done = waits.result(60)
        assert done.returncode == 0, done.stderr
        assert handle in done.stderr
        assert value(gated, 1) == 1
        states = [line(watching)["state"]]
        while states[-1] not in ("used", "approved"):
            states.append(line(watching)["state"])
    finally:
        watching.terminate()
        watching.communicate()
    # Denied: the comment is what psql says.
    waits = pool.submit(gated.psql, "UPDATE people_held SET n = 9 WHERE id = 2")
    gated.wait(lambda: "id = 2" in dana.run("approvals", "list"), 30)
    handle = next(r["handle"] for r in rows(dana.run("approvals", "list", "--json")) if "id = 2" in r["statement"])
    dana.run("approvals", "deny", handle, "--comment", "not today")
    said = waits.result(60).stderr
    assert "ERROR:  WG002" in said
    assert "not today" in said
    assert value(gated, 2) == 0


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in text.splitlines() if one.startswith("{")]


def test_the_recording_shows_the_hold_who_approved_and_the_result(gated: Gated, person: Any, pool: Any) -> None:
    dana = person("Dana")
    text = "UPDATE people_held SET n = 7 WHERE id = 3 RETURNING n + 100 AS answer"
    waits = pool.submit(gated.psql, text)
    gated.wait(lambda: "id = 3" in dana.run("approvals", "list"), 30)
    request = next(r for r in rows(dana.run("approvals", "list", "--json")) if "id = 3" in r["statement"])
    dana.run("approvals", "approve", request["handle"], "--seal", request["seal"])
    assert waits.result(60).stdout.strip() == "107"
    used = [e for e in gated.events() if isinstance(e, HoldUsed) and e.handle == request["handle"]]
    (session,) = {e.session for e in used}
    gated.recorded(session)  # until it is closed
    shown = subprocess.run(
        [sys.executable, "-m", "wicketgate_gateway.cli", "replay", session, "--state", str(gated.state)],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    for part in (text, request["handle"], "Dana", "107"):
        assert part in shown, shown
    # In the order in which it happened.
    assert shown.index(request["handle"]) < shown.index("Dana") < shown.index("107")


ACTIVE = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{}%'"
)


def sleeping(gated: Gated, mark: str) -> psycopg.Error:
    with psycopg.connect(gated.dsn(), autocommit=True) as connection, pytest.raises(psycopg.Error) as error:
        connection.execute(f"SELECT pg_sleep(90) /* {mark} */".encode())
    return error.value


@pytest.mark.parametrize("scope", ["session", "bot", "group", "target", "all"])
def test_a_kill_cancels_the_statement_in_the_server(gated: Gated, person: Any, pool: Any, scope: str) -> None:
    root = person("Root")
    mark = f"people-kill-{scope}"
    waits = pool.submit(sleeping, gated, mark)

    def active() -> str:
        return gated.cloud.postgres.sql(ACTIVE.format(mark), DATABASE).strip()

    gated.wait(lambda: active() == "1", 30)
    listed = rows(root.run("sessions", "list", "--json", "--state", str(gated.state)))
    (live,) = [one for one in listed if one["state"] == "live"]
    assert (live["bot"], live["target"]) == ("code-review", "orders-db")
    what = {"bot": ["--bot", "code-review"], "group": ["--group", "reviewers"], "target": ["--target", "orders-db"]}
    begin = time.monotonic()
    if scope == "session":
        root.run("sessions", "kill", live["session"], "--reason", "it loops")
    else:
        root.run("kill", *what.get(scope, ["--all"]), "--reason", "it loops")
    try:
        gated.wait(lambda: active() == "0", 15)
        assert time.monotonic() - begin < 15
        error = waits.result(15)
        assert error.sqlstate == "57P01"
        assert "it loops" in str(error)
        gated.wait(
            lambda: any(
                isinstance(e, SessionKilled) and e.session == live["session"] and e.cancelled for e in gated.events()
            )
        )
        if scope != "session":
            assert "it loops" in root.run("kill")
            assert "cut off by Root: it loops" in gated.psql("SELECT 1").stderr
    finally:
        if scope != "session":
            root.run("kill", *what.get(scope, ["--all"]), "--lift")
    gated.wait(lambda: gated.psql("SELECT 1").returncode == 0, 15)


def test_who_may_not(gated: Gated, person: Any) -> None:
    # Dana decides on requests, and kills nothing; who has no role at all is not signed in by Entra.
    assert "role" in person("Dana").run("kill", "--all", "--reason", "x", status=1)
    assert gated.psql("SELECT 1").returncode == 0
