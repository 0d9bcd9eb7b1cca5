"""Each kind of event, checked against OCSF's own schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from wicketgate_gateway.audit.events import (
    AuditEvent,
    Operation,
    OperationFinished,
    SessionEnded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.audit.ocsf import VERSION, to_ocsf

STARTED = SessionStarted(
    time=1_700_000_000_123_456_789,
    session="01k",
    bot="code-review",
    bot_id="id",
    token_id="uti",
    target="orders-db",
    protocol="postgres",
    peer="127.0.0.1:5",
    agent="eu",
    client="psql",
)


@cache
def validator(uid: int, profiles: tuple[str, ...]) -> jsonschema.Draft202012Validator:
    made = OcsfJsonSchemaEmbedded(get_ocsf_schema(VERSION))
    return jsonschema.Draft202012Validator(made.get_class_schema(made.lookup_class_name_from_uid(uid), list(profiles)))


def check(document: dict[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(document))
    validator(plain["class_uid"], tuple(plain["metadata"].get("profiles", ()))).validate(plain)
    assert plain["type_uid"] == plain["class_uid"] * 100 + plain["activity_id"]
    assert plain["category_uid"] == plain["class_uid"] // 1000
    return plain


def filled(kind: type[AuditEvent]) -> AuditEvent:
    values = {"str": "x", "int": 7, "bool": True, "bytes": b"\x01"}
    found: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        name = str(each.type).removeprefix("<class '").removesuffix("'>")
        found[each.name] = values.get(name, each.default if each.default is not msgspec.NODEFAULT else [])
        if name.startswith("list[str]"):
            found[each.name] = ["a"]
    return kind(**{key: value for key, value in found.items() if value is not msgspec.NODEFAULT})


@pytest.mark.parametrize("kind", get_args(AuditEvent), ids=lambda kind: kind.__struct_config__.tag)
@pytest.mark.parametrize("started", [None, STARTED])
def test_each_kind_is_valid(kind: type[AuditEvent], started: SessionStarted | None) -> None:
    found = check(to_ocsf(filled(kind), started, "1-2-3"))
    assert found["metadata"]["uid"] == "1-2-3"
    assert found["metadata"]["event_code"] == kind.__struct_config__.tag  # type: ignore[attr-defined]


def operation(**fields: Any) -> Operation:
    return Operation(
        **{"time": 5_000_000, "session": "01k", "seq": 1, "statement": "SELECT 1", "effect": "allow", "rule": "p#1"}
        | fields
    )


@pytest.mark.parametrize(("effect", "action", "severity"), [("allow", 1, 1), ("deny", 2, 3), ("hold", 99, 3)])
def test_verdicts(effect: str, action: int, severity: int) -> None:
    found = check(to_ocsf(operation(effect=effect, target="t", code="c", reason="r"), STARTED, "u"))
    assert (found["class_uid"], found["action_id"], found["disposition_id"]) == (6005, action, action)
    assert found["severity_id"] == severity
    assert found["time"] == 5
    assert found["query_info"]["query_string"] == "SELECT 1"
    assert found["database"]["name"] == "t"
    assert found["actor"]["user"] == {"type_id": 3, "type": "System", "name": "code-review", "uid": "id"}
    assert found["src_endpoint"] == {"ip": "127.0.0.1", "port": 5}


@pytest.mark.parametrize(
    ("kinds", "activity"),
    [(["select"], 1), (["update"], 2), (["delete"], 7), (["insert"], 5), ([], 4), (["a", "b"], 4)],
)
def test_activities(kinds: list[str], activity: int) -> None:
    assert check(to_ocsf(operation(kinds=kinds), None, "u"))["activity_id"] == activity


def test_one_relation_is_the_table_and_parameters_are_not_lost() -> None:
    found = check(to_ocsf(operation(relations=["public.orders"], parameters=[b"\xff", None]), STARTED, "u"))
    assert found["table"] == {"name": "public.orders"}
    assert found["unmapped"]["parameters"] == ["/w==", None]


def test_sessions_and_refusals() -> None:
    assert check(to_ocsf(STARTED, None, "u"))["activity_id"] == 1
    ended = check(to_ocsf(SessionEnded(time=1, session="01k", reason="left"), STARTED, "u"))
    assert (ended["activity_id"], ended["user"]["name"], ended["status_detail"]) == (2, "code-review", "left")
    refused = check(to_ocsf(SessionRefused(time=1, code="token-expired", reason="r", peer="[::1]:7"), None, "u"))
    assert (refused["status_id"], refused["status_code"]) == (2, "token-expired")
    assert refused["src_endpoint"] == {"ip": "::1", "port": 7}
    done = OperationFinished(time=1, session="01k", seq=1, outcome="error", sqlstate="42501", duration_us=5000)
    assert check(to_ocsf(done, STARTED, "u"))["duration"] == 5


@example("", "", "0:")
@example("", "", "1.2.3.4:99999")
@given(st.text(), st.text(), st.text())
def test_whatever_a_client_sends_is_valid(statement: str, target: str, peer: str) -> None:
    check(
        to_ocsf(operation(statement=statement, target=target), msgspec.structs.replace(STARTED, client=statement), "u")
    )
    check(to_ocsf(SessionRefused(time=1, code=statement, reason=target, peer=peer, bot=target), None, "u"))
