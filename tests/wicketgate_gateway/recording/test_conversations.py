"""Each protocol has its reader, and a recording without answers is read as one."""

from __future__ import annotations

import struct

import pytest

from wicketgate_gateway.audit.events import SessionStarted
from wicketgate_gateway.recording.blocks import CLIENT, Record
from wicketgate_gateway.recording.conversations import reader_of
from wicketgate_gateway.recording.http_replay import HttpConversation
from wicketgate_gateway.recording.kubernetes_replay import KubernetesConversation
from wicketgate_gateway.recording.replay import Asked, Conversation, Note
from wicketgate_gateway.recording.ssh_replay import SshConversation


def started(protocol: str, record: str = "full") -> SessionStarted:
    return SessionStarted(
        time=1, session="s", bot="b", bot_id="i", token_id="u", target="t", protocol=protocol, peer="p", agent="a",
        record=record,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "reader"),
    [
        ("postgres", Conversation),
        ("ssh", SshConversation),
        ("http", HttpConversation),
        ("kubernetes", KubernetesConversation),
    ],
)
def test_each_protocol_has_its_reader(protocol: str, reader: type) -> None:
    assert type(reader_of(started(protocol), tuple)) is reader


def test_a_recording_without_answers_says_so() -> None:
    text = b"SELECT 1\0"
    query = b"Q" + struct.pack(">i", len(text) + 4) + text
    for record, last in (("requests", "answers are not recorded"), ("full", None)):
        reader = reader_of(started("postgres", record), tuple)
        steps = [*reader.feed(Record(5, CLIENT, query)), *reader.feed(Record(6, CLIENT, query)), *reader.finish()]
        assert [step.text for step in steps if isinstance(step, Asked)] == ["SELECT 1", "SELECT 1"]
        notes = [step.text for step in steps if isinstance(step, Note)]
        assert (len(steps), bool(notes)) == ((3, True) if last else (4, False))
        assert not last or last in notes[0]
