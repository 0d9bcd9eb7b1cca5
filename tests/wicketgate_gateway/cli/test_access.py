"""`wicketgate access diff`: from bundles, from a preview, with recorded operations; for people and pull requests."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.events import Operation, SessionStarted
from wicketgate_gateway.cli.main import run
from wicketgate_gateway.contract.access import Access
from wicketgate_gateway.contract.policy import Bundle, BundledPolicy
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal

TENANT, GROUP, REVIEW = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))
READ = {"allow": {"sql": {"statements": ["read"], "relations": ["public.*"]}}}
BILLING = {"allow": {"sql": {"statements": ["read"], "relations": ["billing.*"]}}}


def bundle(path: Path, *rules: object) -> str:
    policy = BundledPolicy.model_validate(
        {"policy": "p", "targets": ["orders-db"], "rules": list(rules), "groups": {GROUP: "reviewers"}}
    )
    path.write_text(Bundle(tenant=TENANT, policies=[policy]).render())
    return str(path)


def access(*rules: object, bots: tuple[str, ...] = ("review",)) -> str:
    document = {
        "policies": [{"policy": "p", "targets": ["orders-db"], "rules": list(rules), "groups": ["reviewers"]}],
        "targets": {"orders-db": {"kind": "postgres"}},
        "bots": {name: {"groups": ["reviewers"]} for name in bots},
    }
    return Access.model_validate(document).render()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_two_bundles_are_compared_group_by_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = bundle(tmp_path / "old.json", READ), bundle(tmp_path / "new.json", READ, BILLING)
    assert run(["access", "diff", old, new]) == 1
    out = capsys.readouterr().out
    assert "member-of-reviewers at orders-db: gained" in out
    assert 'TABLE "billing".' in out
    assert run(["access", "diff", old, old]) == 0
    assert "nothing changes" in capsys.readouterr().err


def test_a_preview_holds_both_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urn = "urn:pulumi:dev::wicketgate::wicketgate:index:PolicyBundle::policies"

    def preview(op: str, before: str | None, after: str | None) -> str:
        states = {"oldState": before, "newState": after}
        step = {"op": op, "urn": urn, **{k: {"inputs": {"access": v}} for k, v in states.items() if v is not None}}
        path = tmp_path / "preview.json"
        path.write_text(json.dumps({"steps": [{"op": "same", "urn": "urn:x::y::z"}, step]}))
        return str(path)

    both = access(READ, bots=("review", "second"))
    assert run(["access", "diff", preview("update", access(READ), both), "--json"]) == 1
    *changes, sums = lines(capsys)
    assert {c["bot"] for c in changes} == {"second"}
    assert sums["gained"] == len(changes)
    assert run(["access", "diff", preview("create", None, both), "--json"]) == 1
    assert {c["bot"] for c in lines(capsys)[:-1]} == {"review", "second"}
    assert run(["access", "diff", preview("same", both, None), "--json"]) == 0
    capsys.readouterr()
    assert run(["access", "diff", preview("update", "{}", both)]) == 1
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "other.json").write_text(json.dumps({"steps": [{"op": "create", "urn": "urn:x::y::z"}]}))
    assert run(["access", "diff", str(tmp_path / "other.json")]) == 1
    assert "without the stack's policies" in capsys.readouterr().err


def test_what_a_pull_request_says_is_no_markup_in_the_comment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = {"allow": {"sql": {"statements": ["read"], "relations": ["public.<img>|[x](y)`@team`"]}}}
    old, new = bundle(tmp_path / "old.json", READ), bundle(tmp_path / "new.json", hostile)
    assert run(["access", "diff", old, new, "--comment"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("### Who gains what")
    assert "<img>" not in out
    assert "[x](y)" not in out
    assert "@team" not in out


def test_recorded_operations_are_asked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill() -> None:
        journal = Journal(tmp_path / "state" / "journal")
        name, now = new_session_id(), time.time_ns()
        started = SessionStarted(
            time=now, session=name, bot="review", bot_id=REVIEW, token_id="", target="orders-db", protocol="postgres",
            peer="", agent="eu", groups=[GROUP],
        )  # fmt: skip
        done = Operation(
            time=now, session=name, seq=1, statement="SELECT 7 FROM public.invoices", effect="allow", rule="p#1",
            bot="review", target="orders-db",
        )  # fmt: skip
        journal.submit([started, done])
        await asyncio.to_thread(journal.close)

    asyncio.run(fill())
    (tmp_path / "old.json").write_text(access(READ))
    (tmp_path / "new.json").write_text(access(BILLING))
    arguments = [str(tmp_path / "old.json"), str(tmp_path / "new.json"), "--state", str(tmp_path / "state"), "--json"]
    assert run(["access", "diff", *arguments]) == 1
    *changes, sums = lines(capsys)
    recorded = [c for c in changes if c["operation"].startswith("recorded: ")]
    assert [(c["operation"], c["before"], c["after"]) for c in recorded] == [
        ("recorded: SELECT 7 FROM public.invoices", "allow", "deny")
    ]
    assert sums["recorded"] == 1


def test_what_is_no_state_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert run(["access", "diff", str(tmp_path / "x.json"), str(tmp_path / "x.json")]) == 1
    assert "is no state of a stack" in capsys.readouterr().err
