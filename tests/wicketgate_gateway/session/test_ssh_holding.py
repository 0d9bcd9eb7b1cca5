"""What a held request of an SSH session is bound to, and what is said when nobody can be asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from wicketgate_gateway.approvals.model import Claim
from wicketgate_gateway.contract.verdict import Effect, HoldTerms, Verdict
from wicketgate_gateway.session.ssh_holding import Approved, ask, held

TERMS = HoldTerms("p#1", ("g",), ("dba",))
VERDICT = Verdict(Effect.HOLD, "p#1", "held", hold=TERMS)


def session(**more: Any) -> Any:
    values = {
        "principal": SimpleNamespace(object_id="bot-1"),
        "bot": "bot",
        "id": "s",
        "policy": SimpleNamespace(digest="d1"),
        "opening": SimpleNamespace(target_name="web-1", protocol="ssh"),
        "gate": SimpleNamespace(policies=lambda: SimpleNamespace(bots={}), holds=None),
    }
    return SimpleNamespace(**{**values, **more})


def approved(text: str, facts: dict[str, str], given: bytes) -> Approved:
    now = held(session(), text, facts, given, "")
    request: Any = SimpleNamespace(
        statement=now.statement, parameters=now.parameters, facts=now.facts, policy=now.policy, bot_id=now.bot_id,
        rule="p#1", handle="hold-1",
    )  # fmt: skip
    claim: Any = SimpleNamespace(request=request)
    assert Claim
    return Approved(SimpleNamespace(), claim)  # type: ignore[arg-type]


def test_it_is_bound_to_text_facts_input_policy_and_rule() -> None:
    facts = {"kind": "exec", "env": "{}"}
    made = approved("tee /x", facts, b"in")
    assert made.still(VERDICT, session(), "tee /x", facts, b"in")
    assert not made.still(VERDICT, session(), "tee  /x", facts, b"in")
    assert not made.still(VERDICT, session(), "tee /x", {**facts, "env": '{"A": "1"}'}, b"in")
    assert not made.still(VERDICT, session(), "tee /x", facts, b"other")
    assert not made.still(VERDICT, session(policy=SimpleNamespace(digest="d2")), "tee /x", facts, b"in")
    assert not made.still(replace(VERDICT, hold=replace(TERMS, rule="p#2")), session(), "tee /x", facts, b"in")
    assert not made.still(Verdict(Effect.ALLOW, "p#1"), session(), "tee /x", facts, b"in")
    assert made.verdict(VERDICT).code == "hold-approved"


def test_without_anyone_to_ask_it_does_not_run() -> None:
    found = asyncio.run(ask(session(), "x", {}, b"", "", VERDICT, tell=print, begun=lambda _: None))
    assert isinstance(found, Verdict)
    assert (found.effect, found.code) == (Effect.HOLD, "approvals-unavailable")
