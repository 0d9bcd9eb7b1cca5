"""The preface, split at every byte, and what is none."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.ssh import preface
from wicketgate_gateway.wire.ssh.preface import PrefaceError, PrefaceReader, Wanted


def test_it_comes_back_however_it_is_split() -> None:
    whole = preface.request("web-1", "ey.x.y") + b"SSH-2.0-x\r\n"
    for cut in range(len(whole)):
        reader = PrefaceReader()
        found = reader.feed(whole[:cut])
        rest = reader.rest if found is not None else b""
        if found is None:
            found = reader.feed(whole[cut:])
            rest = reader.rest
            assert rest == b"SSH-2.0-x\r\n"
        else:
            assert whole[:cut].endswith(rest)
        assert found == Wanted("web-1", "ey.x.y")
    assert PrefaceReader().feed(preface.request("", "")) == Wanted("", "")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"WICKETGATE-SSH/2\n",
        b"WICKETGATE-SSH/1\nconnect web\n\n",
        b"WICKETGATE-SSH/1\nconnect \ntoken\n",
        b"WICKETGATE-SSH/1\nkeys\ntoken\n",
        b"WICKETGATE-SSH/1\nkeys x\n\n",
        b"WICKETGATE-SSH/1\nopen web\ntoken\n",
        b"WICKETGATE-SSH/1\nconnect w\x00eb\ntoken\n",
        b"WICKETGATE-SSH/1\nconnect web\nto\xffken\n",
        b"WICKETGATE-SSH/1\n" + b"x" * (preface.MAX_PREFACE + 1),
    ],
)
def test_what_is_no_preface_is_refused(raw: bytes) -> None:
    with pytest.raises(PrefaceError):
        PrefaceReader().feed(raw)


def test_an_answer_is_one_line_of_plain_text() -> None:
    assert preface.refused("no-policy", "a\nb\x1b[31m é") == b"no no-policy a?b?[31m ?\n"
    assert preface.accepted("x\n") == b"ok\nx\n"
