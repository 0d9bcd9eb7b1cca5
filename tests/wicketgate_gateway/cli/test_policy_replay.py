"""Recorded operations under another bundle: what changes is listed, by bot, and nothing else."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from wicketgate_gateway.audit.events import AuditEvent, Operation, SessionStarted
from wicketgate_gateway.cli.policy_replay import replay
from wicketgate_gateway.cli.state import Place
from wicketgate_gateway.contract.policy import Bundle, BundledPolicy
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal

TENANT, GROUP, REVIEW, SUPPORT = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3, 4))
READ = [{"allow": {"sql": {"statements": ["read"], "relations": ["public.*"]}}}]


def bundle(path: Path, rules: list[object]) -> Path:
    policy = BundledPolicy.model_validate(
        {"policy": "p", "targets": ["orders-db"], "rules": rules, "groups": {GROUP: "reviewers"}}
    )
    path.write_text(
        Bundle(tenant=TENANT, policies=[policy], approvers={"dba": "00000000-0000-0000-0000-0000000000aa"}).render()
    )
    return path


def session(bot: str, oid: str, operations: list[tuple[str, str]]) -> list[AuditEvent]:
    name = new_session_id()
    started = SessionStarted(
        time=time.time_ns(), session=name, bot=bot, bot_id=oid, token_id="", target="orders-db", protocol="postgres",
        peer="", agent="eu", groups=[GROUP],
    )  # fmt: skip
    return [
        started,
        *(
            Operation(
                time=time.time_ns(), session=name, seq=i, statement=text, effect=effect, rule="p#1", bot=bot,
                target="orders-db",
            )
            for i, (text, effect) in enumerate(operations, 1)
        ),
    ]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "state"

    async def fill() -> None:
        journal = Journal(folder / "journal")
        select = [("SELECT * FROM orders", "allow"), ("SELECT * FROM orders", "allow"), ("DELETE FROM orders", "deny")]
        journal.submit(session("code-review", REVIEW, [*select, ("PREPARE q AS SELECT * FROM customers", "allow")]))
        journal.submit(
            session(
                "support",
                SUPPORT,
                [
                    ("SELECT * FROM customers", "allow"),
                    ("PREPARE q AS TABLE customers", "allow"),
                    ("EXECUTE q", "allow"),
                ],
            )
        )
        await journal.drain()
        journal.close()

    asyncio.run(fill())
    return Place(state=folder)


def test_the_same_rules_change_nothing(tmp_path: Path, place: Place, capsys: pytest.CaptureFixture[str]):
    assert replay(bundle=bundle(tmp_path / "b.json", READ), place=place) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "7 operations decided again, 0 verdicts changed" in said.err


def test_every_verdict_that_changes_is_listed_by_bot(tmp_path: Path, place: Place, capsys: pytest.CaptureFixture[str]):
    rules = [
        *READ,
        {"hold": {"sql": {"statements": ["write"], "relations": ["public.*"]}, "approvers": {"groups": ["dba"]}}},
        {"deny": {"sql": {"relations": ["public.customers"]}, "because": "personal data"}},
    ]
    proposed = bundle(tmp_path / "b.json", rules)
    assert replay(bundle=proposed, place=place, json=True) == 1
    *changes, sums = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(c["bot"], c["statement"], c["before"], c["after"], c["rule"]) for c in changes] == [
        ("code-review", "DELETE FROM orders", "deny", "hold", "p#2"),
        ("code-review", "PREPARE q AS SELECT * FROM customers", "allow", "deny", "p#3"),
        ("support", "SELECT * FROM customers", "allow", "deny", "p#3"),
        ("support", "PREPARE q AS TABLE customers", "allow", "deny", "p#3"),
        ("support", "EXECUTE q", "allow", "deny", "p#3"),
    ]
    assert (sums["operations"], sums["changed"], sums["skipped"]) == (7, 5, 0)
    assert replay(bundle=proposed, place=place) == 1
    out = capsys.readouterr().out
    assert "support: 3 verdicts would change" in out
    assert "deny -> hold  orders-db  DELETE FROM orders" in out
    assert replay(bundle=proposed, place=place, bot="support", json=True) == 1
    assert '"operations":3' in capsys.readouterr().out


def test_against_the_current_bundle_only_differences_of_the_bundles_count(
    tmp_path: Path, place: Place, capsys: pytest.CaptureFixture[str]
):
    mask = [{"allow": {"sql": {"statements": ["read", "write"], "relations": ["public.*"]}}}]
    current, proposed = bundle(tmp_path / "a.json", mask), bundle(tmp_path / "b.json", READ)
    assert replay(bundle=proposed, current=current, place=place, json=True) == 1
    change, sums = map(json.loads, capsys.readouterr().out.splitlines())
    assert (change["statement"], change["before"], change["after"]) == ("DELETE FROM orders", "allow", "deny")
    assert sums["changed"] == 1


def test_a_bundle_that_no_longer_applies_denies(tmp_path: Path, place: Place, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "b.json"
    path.write_text(Bundle(tenant=TENANT, policies=[]).render())
    assert replay(bundle=path, place=place) == 1
    assert "no policy applies to `support` at `orders-db`" in capsys.readouterr().out


def test_http_requests_are_decided_by_what_is_on_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Headers and bodies that rules looked at are known; what nobody looked at then is skipped, not guessed."""
    folder = tmp_path / "state"
    name = new_session_id()
    kind, json_ = {"header x-kind": ["a"]}, {"header x-kind": [], "body": ['{"sum":5}']}
    events: list[AuditEvent] = [
        SessionStarted(
            time=time.time_ns(), session=name, bot="code-review", bot_id=REVIEW, token_id="", target="api",
            protocol="http", peer="", agent="eu", groups=[GROUP],
        ),
        *(
            Operation(
                time=time.time_ns(), session=name, seq=i, statement=text, effect=effect, rule=rule, bot="code-review",
                target="api", facts=facts,
            )
            for i, (text, effect, rule, facts) in enumerate(
                [
                    ("GET /a", "allow", "p#1", kind),
                    ("POST /pay", "allow", "p#2", json_),
                    ("POST /old", "allow", "p#2", {}),
                    ("GET /a?%zz", "deny", "builtin:http", {}),
                ],
                1,
            )
        ),
    ]  # fmt: skip

    async def fill() -> None:
        journal = Journal(folder / "journal")
        journal.submit(events)
        await journal.drain()
        journal.close()

    asyncio.run(fill())

    def bundled(path: str, *rules: object) -> Path:
        policy = BundledPolicy.model_validate(
            {"policy": "p", "targets": ["api"], "rules": list(rules), "groups": {GROUP: "reviewers"}}
        )
        (tmp_path / path).write_text(Bundle(tenant=TENANT, policies=[policy]).render())
        return tmp_path / path

    place = Place(state=folder)
    pay: dict[str, object] = {
        "allow": {"http": {"methods": "POST", "routes": ["/pay", "/old"]}, "when": "op.body.sum < 9"}
    }
    same = bundled("a.json", {"allow": {"http": {"routes": "/**", "headers": {"X-Kind": "a"}}}}, pay)
    assert replay(bundle=same, place=place, json=True) == 0
    sums = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (sums["operations"], sums["changed"], sums["skipped"]) == (3, 0, 1)
    other = bundled("b.json", {"allow": {"http": {"routes": "/**", "headers": {"X-Kind": "b"}}}}, pay)
    assert replay(bundle=other, place=place, json=True) == 1
    change, sums = map(json.loads, capsys.readouterr().out.splitlines())
    assert (change["statement"], change["before"], change["after"]) == ("GET /a", "allow", "deny")
    new = bundled("c.json", {"allow": {"http": {"routes": "/**", "headers": {"X-New": "b"}}}}, pay)
    assert replay(bundle=new, place=place, json=True) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["skipped"] == 2
