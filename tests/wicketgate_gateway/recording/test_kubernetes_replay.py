"""A recording as steps."""

from __future__ import annotations

import json

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, SERVER, Record
from wicketgate_gateway.recording.kubernetes_replay import KubernetesConversation
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output
from wicketgate_gateway.wire.kubernetes.record import Kind, pack


def operation(seq: int, effect: str = "allow") -> Operation:
    return Operation(
        time=seq, session="s", seq=seq, statement=f"op {seq}", effect=effect, rule="p#1", kinds=[], relations=[]
    )


def request(seq: int, text: str) -> bytes:
    return pack(Kind.REQUEST, json.dumps({"seq": seq, "text": text}).encode())


def status(seq: int, code: int) -> bytes:
    return pack(Kind.STATUS, json.dumps({"seq": seq, "code": code}).encode())


def test_requests_and_commands() -> None:
    """Each with its verdict, what passed, and how it ended; what is not there is told."""
    batches = [[operation(1), operation(2), operation(3), operation(4, "deny")], []]
    conversation = KubernetesConversation(lambda: batches.pop(0) if batches else [])
    failed = {"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}}
    records = [
        Record(1, CLIENT, request(1, "get pods x") + pack(Kind.BODY, b"{}")),
        Record(2, SERVER, pack(Kind.CONTENT, b"[]") + status(1, 200)),
        Record(3, CLIENT, request(2, "create pods/exec x: sh")),
        Record(4, SERVER, status(2, 101)),
        Record(5, CLIENT, pack(Kind.RESIZE, b'{"Width":80,"Height":24}') + pack(Kind.STDIN, b"in")),
        Record(6, SERVER, pack(Kind.STDOUT, b"out") + pack(Kind.ERROR, json.dumps(failed).encode())),
    ]
    steps = [step for record in records for step in conversation.feed(record)] + list(conversation.finish())
    asked = [step for step in steps if isinstance(step, Asked)]
    assert [(a.number, a.text, a.operation.statement if a.operation else "") for a in asked] == [
        (1, "get pods x", "op 1"), (2, "create pods/exec x: sh", "op 2"),
    ]  # fmt: skip
    assert [step.tag for step in steps if isinstance(step, Answered)] == ["200", "exit 7"]
    assert [(s.stream, s.data) for s in steps if isinstance(s, Output)] == [
        ("body", b"{}"), ("answer", b"[]"), ("stdin", b"in"), ("stdout", b"out"),
    ]  # fmt: skip
    assert [step.text for step in steps if isinstance(step, Note)] == ["the terminal is 80 by 24"]
    assert [o.seq for o in conversation.missing()] == [3]


def test_an_answer_that_never_came() -> None:
    """Is said to be incomplete."""
    conversation = KubernetesConversation()
    list(conversation.feed(Record(1, CLIENT, request(1, "get pods x"))))
    (step,) = conversation.finish()
    assert isinstance(step, Answered)
    assert not step.complete
