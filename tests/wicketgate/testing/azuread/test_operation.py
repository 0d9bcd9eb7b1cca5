"""What a resource's functions see of values, and what remains of them."""

from typing import Any

import httpx2
import pytest

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.errors import GraphError, OperationError
from wicketgate.testing.azuread.graph import Graph
from wicketgate.testing.azuread.operation import Operation, Session
from wicketgate.testing.azuread.plan import plan
from wicketgate.testing.azuread.schema import COMPUTED, OPTIONAL, Block, flag, one, text, texts
from wicketgate.testing.azuread.waits import Waits

BLOCK: Block = {
    "name": text(OPTIONAL),
    "on": flag(OPTIONAL),
    "made": text(COMPUTED),
    "tags": texts(OPTIONAL),
    "more": texts(OPTIONAL | COMPUTED),
    "block": one(OPTIONAL, {"a": text(OPTIONAL)}),
}


def session(*answers: httpx2.Response) -> Session:
    queue = list(answers)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _request: queue.pop(0)))
    return Session(Graph("https://graph.test", lambda: "t", http), "tenant", "client", "me", waits=Waits(cap=0))


def operation(*answers: httpx2.Response, inputs: dict[str, Any] | None = None, **prior: Any) -> Operation:
    planned = None if inputs is None else plan(BLOCK, prior or None, inputs)
    return Operation(session(*answers), BLOCK, 1e12, prior, planned=planned)


def test_values_are_what_was_put_planned_or_there() -> None:
    op = operation(inputs={"name": "new"}, name="old", made="m")
    assert op.get("name") == "new"
    assert op.changed("name")
    assert op.get("made") == "m"
    op.put("made", "now")
    assert op.get("made") == "now"
    assert operation(name="old").get("name") == "old"


def test_absent_and_unknown_are_zero() -> None:
    op = operation(inputs={})
    assert (op.get("name"), op.get("tags"), op.get("made"), op.get("block")) == ("", [], "", None)
    assert not op.given("on")
    assert not op.exists("on")
    assert operation(inputs={"on": False}).exists("on")
    assert operation(inputs={"on": True}).exists("on")
    assert not op.exists("made")


def test_what_remains() -> None:
    op = operation(inputs={"name": "n"})
    for name, value in (("tags", []), ("more", []), ("made", None), ("block", None)):
        op.put(name, value)
    # Empty and planned as absent: absent. Empty and computed: empty.
    assert op.state() == {"name": "n", "on": None, "made": "", "tags": None, "more": [], "block": None}
    read = operation(tags=None)
    read.put("tags", ["b", "a", "b"])
    assert read.state()["tags"] == ["a", "b"]
    read.put("tags", [])
    assert read.state()["tags"] == []


def test_nothing_unknown_remains() -> None:
    assert UNKNOWN not in operation(inputs={}).state().values()


def test_not_found_is_none_and_other_failures_are_errors() -> None:
    missing = httpx2.Response(404, json={"error": {"code": "c", "message": "m"}})
    denied = httpx2.Response(403, json={"error": {"code": "c", "message": "m"}})
    op = operation(missing, denied, denied)
    assert op.graph_find("/x") is None
    with pytest.raises(GraphError):
        op.graph_find("/x")
    with pytest.raises(OperationError, match="Reading: unexpected status 403"), op.attempting("Reading"):
        op.graph_get("/x")


def test_an_object_must_be_one() -> None:
    with pytest.raises(OperationError, match="model was nil"):
        operation(httpx2.Response(200, json=[])).graph_get("/x")


def test_a_wait_says_what_it_waited_for() -> None:
    denied = httpx2.Response(403, json={"error": {"code": "c", "message": "m"}})
    with pytest.raises(OperationError, match="Waiting: retrieving resource: unexpected status 403"):
        operation(denied).wait_gone("/x", "Waiting")
    op = operation()
    op.deadline = 0.0
    with pytest.raises(OperationError, match="Waiting: timeout while waiting for state to become 'Done'"):
        op.wait_until(lambda: False, "Waiting")
