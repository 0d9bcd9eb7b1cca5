from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.audit.seals import (
    FIRST,
    KEY,
    Breach,
    Head,
    SealError,
    SealLog,
    key_text,
    public_key,
    read_line,
    read_seals,
    sign,
    signing_key,
)

KEY_A = Ed25519PrivateKey.generate()


def head(number: int = 1) -> Head:
    return Head(file=1, offset=number, digest="00")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = key_text(signing_key(tmp_path).public_key())
    assert key_text(signing_key(tmp_path).public_key()) == first
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    assert key_text(public_key(first)) == first
    assert [path.name for path in tmp_path.iterdir()] == [KEY]


def test_many_who_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    # In processes: the name of the new file is the process's.
    read, write = os.pipe()
    children: list[int] = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os.write(write, (key_text(signing_key(tmp_path).public_key()) + "\n").encode())
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        lines = pipe.read().split()
    assert len(lines) == 8
    assert len(set(lines)) == 1


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    signing_key(tmp_path)
    (tmp_path / KEY).chmod(0o640)
    with pytest.raises(SealError, match="can be read by others"):
        signing_key(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_no_reason_to_make_another(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY).write_bytes(content)
    (tmp_path / KEY).chmod(0o600)
    with pytest.raises(SealError, match="not an Ed25519 key"):
        signing_key(tmp_path)
    assert (tmp_path / KEY).read_bytes() == content


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "rsa:" + "A" * 44, "ed25519:" + "!" * 44])
def test_public_keys_that_are_none(text: str) -> None:
    with pytest.raises(SealError):
        public_key(text)


def test_a_lost_key_is_not_replaced_while_there_are_seals_by_it(tmp_path: Path) -> None:
    SealLog(tmp_path).append(head())
    (tmp_path / KEY).unlink()
    with pytest.raises(SealError, match="is gone"):
        SealLog(tmp_path).append(head())
    (tmp_path / "seals.ndjson").rename(tmp_path / "old")
    assert SealLog(tmp_path).append(head()).seal.number == 1


def test_a_line_holds_what_was_signed() -> None:
    line = sign(KEY_A, head())
    signed = read_line(line)
    assert signed.seal == head()
    assert signed.key == key_text(KEY_A.public_key())


@given(st.data())
def test_any_change_to_a_line_is_refused(data: st.DataObject) -> None:
    line = sign(KEY_A, head())
    at = data.draw(st.integers(0, len(line) - 1))
    changed = bytearray(line)
    changed[at] = data.draw(st.integers(0, 255).filter(lambda value: value != line[at]))
    try:
        signed = read_line(bytes(changed))
    except ValueError:
        return
    # Base64 ignores the unused bits of its last letter; the seal itself is as it was.
    assert signed.seal == head()
    assert signed.key == key_text(KEY_A.public_key())


def test_an_unknown_kind_or_field_is_refused() -> None:
    line = sign(KEY_A, head())
    for old, new in ((b'"head"', b'"tail"'), (b'"file":1', b'"file":1,"more":2'), (b'{"seal"', b'{"x":1,"seal"')):
        assert old in line
        with pytest.raises(ValueError, match=r"signature|read"):
            read_line(line.replace(old, new))


def test_seals_are_numbered_and_chained(tmp_path: Path) -> None:
    log = SealLog(tmp_path)
    first = log.append(head())
    second = log.append(Breach(file=1, offset=2, reason="r"))
    assert (first.seal.number, first.seal.previous) == (1, FIRST)
    assert (second.seal.number, second.seal.previous) == (2, first.digest)
    assert second.seal.time >= first.seal.time > 0
    found = log.read()
    assert found.signed == [first, second]
    assert found.problems == []
    [(last, end)] = log.lines(1)
    assert last == second
    assert end == log.path.stat().st_size
    assert list(log.lines(1, offset=end)) == []
    assert [signed for signed, _ in log.lines(0)] == [first, second]


def test_writers_take_turns(tmp_path: Path) -> None:
    signing_key(tmp_path)

    def write() -> None:
        for number in range(10):
            SealLog(tmp_path).append(head(number))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = SealLog(tmp_path).read()
    assert len(found.signed) == 40
    assert found.problems == []


def test_half_a_line_is_cut_by_the_next_seal(tmp_path: Path) -> None:
    log = SealLog(tmp_path)
    log.append(head())
    with log.path.open("ab") as file:
        file.write(b'{"seal":{"ki')
    assert [problem.kind for problem in log.read().problems] == ["torn"]
    log.append(head(2))
    assert [signed.seal.number for signed in log.read().signed] == [1, 2]
    assert log.read().problems == []


def test_nothing_is_added_to_a_log_whose_last_line_was_changed(tmp_path: Path) -> None:
    log = SealLog(tmp_path)
    log.append(head())
    log.path.write_bytes(log.path.read_bytes().replace(b'"offset":1', b'"offset":2'))
    before = log.path.read_bytes()
    with pytest.raises(SealError, match="damaged"):
        log.append(head())
    assert log.path.read_bytes() == before


def test_by_key(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    data = sign(KEY_A, Head(number=4, file=1, offset=1, digest="00")) + b"\n" + sign(other, head()) + b"\n"
    found = read_seals(data + data, key_text(KEY_A.public_key()), whole=False)
    assert [signed.seal.number for signed in found.signed] == [4]
    assert found.others == {key_text(other.public_key()): 2}
    assert found.problems == []
