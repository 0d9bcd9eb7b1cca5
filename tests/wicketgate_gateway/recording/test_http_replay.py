"""A recorded HTTP session as steps."""

from __future__ import annotations

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, SERVER, Record
from wicketgate_gateway.recording.http_replay import HttpConversation
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output

REQUESTS = b"POST /a%20b?x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET /ws HTTP/1.1\r\n\r\n"
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
)
OPERATIONS = [
    Operation(time=1, seq=1, statement="POST /a b?x", effect="allow", rule="p#1"),
    Operation(time=2, seq=2, statement="GET /gone", effect="allow", rule="p#1"),
    Operation(time=3, seq=3, statement="GET /ws", effect="allow", rule="p#2"),
]


def test_requests_answers_and_frames() -> None:
    """With their verdicts; what the recording lacks is told."""
    given = [OPERATIONS]
    conversation = HttpConversation(lambda: given.pop() if given else [])
    steps = [step for i, byte in enumerate(REQUESTS) for step in conversation.feed(Record(i, CLIENT, bytes([byte])))]
    for i, byte in enumerate(ANSWERS):
        steps += conversation.feed(Record(100 + i, SERVER, bytes([byte])))
    steps += conversation.feed(Record(300, CLIENT, b"\x81\x00"))
    asked = [step for step in steps if isinstance(step, Asked)]
    assert [(a.text, a.operation.rule if a.operation else "") for a in asked] == [
        ("POST /a b?x", "p#1"),
        ("GET /ws", "p#2"),
    ]
    answered = [step for step in steps if isinstance(step, Answered)]
    assert [(a.number, a.tag) for a in answered] == [
        (1, "200 OK, text/plain, 2 bytes"), (2, "101 Switching Protocols"),
    ]  # fmt: skip
    assert b"".join(s.data for s in steps if isinstance(s, Output) and s.stream == "stdin") == b"{}\x81\x00"
    assert b"".join(s.data for s in steps if isinstance(s, Output) and s.stream == "stdout") == b"hi"
    assert any(isinstance(step, Note) for step in steps)
    assert [operation.statement for operation in conversation.missing()] == ["GET /gone"]


def test_an_answer_that_never_came_and_bytes_that_are_none() -> None:
    """Are told as such."""
    conversation = HttpConversation()
    assert len(list(conversation.feed(Record(1, CLIENT, b"GET / HTTP/1.1\r\n\r\n")))) == 1
    (left,) = conversation.finish()
    assert isinstance(left, Answered)
    assert not left.complete
    (note,) = HttpConversation().feed(Record(1, SERVER, b"nonsense\r\n\r\n"))
    assert isinstance(note, Note)
