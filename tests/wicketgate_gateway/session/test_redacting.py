"""Masks by detectors on a channel's streams."""

from __future__ import annotations

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.session.redacting import Redacting
from wicketgate_gateway.wire.ssh.channel import Kind

KEY = b"AKIA" + b"IOSFODNN7EXAMPLE"


def redacting() -> Redacting:
    return Redacting(Detecting.all(Detectors(["api-key"]), MaskMethod.REDACT, b"k" * 32))


def test_a_key_is_found_wherever_it_is_cut() -> None:
    text = b"before " + KEY + b" after\n"
    for cut in range(len(text)):
        masks = redacting()
        shown = masks.feed(Kind.STDOUT, text[:cut]) + masks.feed(Kind.STDOUT, text[cut:])
        shown += b"".join(rest for _, rest in masks.flush())
        assert KEY not in shown
        assert shown.startswith(b"before ")
        assert shown.endswith(b" after\n")


def test_streams_are_apart() -> None:
    masks = redacting()
    half = len(KEY) // 2
    shown = masks.feed(Kind.STDOUT, KEY[:half]) + masks.feed(Kind.STDERR, KEY[half:])
    assert dict(masks.flush()).keys() <= {Kind.STDOUT, Kind.STDERR}
    assert KEY not in shown


def test_a_prompt_is_let_go_and_a_key_that_began_is_not() -> None:
    masks = redacting()
    assert masks.feed(Kind.STDOUT, b"login:") == b""
    assert masks.waits
    assert list(masks.idle()) == [(Kind.STDOUT, b"login:")]
    masks.feed(Kind.STDOUT, b" " + KEY[:10])
    assert KEY[:10] not in b"".join(some for _, some in masks.idle())
