"""The commands and lines of `scp -O`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.wire.ssh import scp
from wicketgate_gateway.wire.ssh.scp import Copying, End, Entry, Said, ScpError, Times


@pytest.mark.parametrize(
    ("text", "sink", "paths", "flags"),
    [
        ("scp -t /srv/app", True, ("/srv/app",), ""),
        ("scp -r -p -d -t -- -odd", True, ("-odd",), "rpd"),
        ("scp -v -rf '/a b' c", False, ("/a b", "c"), "r"),
        ("scp -t ~/x", True, ("./x",), ""),
        ("scp -f ~", False, (".",), ""),
        ("scp -f '~/x'", None, (), ""),
    ],
)
def test_what_is_to_be_copied(text: str, sink: bool | None, paths: tuple[str, ...], flags: str) -> None:
    found = scp.copying(text)
    if sink is None:
        assert found is not None
        assert found.paths == ("~/x",)
        return
    assert found == Copying(found.words if found else (), sink, paths, "r" in flags, "p" in flags, "d" in flags)


@pytest.mark.parametrize(
    "text",
    [
        "scp a b", "scp -t", "scp -f", "scp -t a b", "scp -tf a", "scp -S /x -f a", "scp -o X=y -t a", "scp - -t a",
        "scp -t ''", "scp -f *.txt", "scp -t $HOME", "scp -t a; id", "scp -t a\nid", "/usr/bin/scp -t a", "tar -tf x",
        "uname", "", "scp -t ~root/x", "scp --t a", "scp -t a > b",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert scp.copying(text) is None


def test_lines() -> None:
    assert scp.read_line(b"C0644 12 a b.txt") == Entry(False, 0o644, 12, "a b.txt")
    assert scp.read_line(b"D0755 0 dir") == Entry(True, 0o755, 0, "dir")
    assert scp.read_line(b"T1700000000 0 1600000000 5") == Times(1700000000, 1600000000)
    assert scp.read_line(b"E") == End()
    assert scp.read_line(b"\x01no such file") == Said("no such file", False)
    assert scp.read_line(b"\x02gone") == Said("gone", True)


@pytest.mark.parametrize(
    "line",
    [
        b"C0644 1 ..", b"C0644 1 .", b"C0644 1 a/b", b"C0644 1 /etc/x", b"C0644 1 ../x", b"D0755 0 ..", b"C0644 1 ",
        b"C0644 -1 a", b"C644 1 a", b"C0844 1 a", b"C0644 99999999999999999999 a", b"C0644 1 a\0b", b"C0644 1 \xff",
        b"C0644 1 " + b"x" * 256, b"T1 2 3", b"EE", b"", b"X", b"C0644  1 a", b"T-1 0 0 0",
    ],
)  # fmt: skip
def test_attack_lines_that_lead_elsewhere_or_are_none(line: bytes) -> None:
    with pytest.raises(ScpError):
        scp.read_line(line)


@given(st.binary(max_size=300))
def test_any_line_is_understood_or_refused(line: bytes) -> None:
    try:
        found = scp.read_line(line)
    except ScpError:
        return
    if isinstance(found, Entry):
        assert "/" not in found.name
        assert found.name not in ("", ".", "..")


def test_what_is_written_is_what_is_read() -> None:
    assert scp.read_line(scp.entry_line("a", 0o100640, 7, folder=False)[:-1]) == Entry(False, 0o640, 7, "a")
    assert scp.read_line(scp.entry_line("a", 0o755, 7, folder=True)[:-1]) == Entry(True, 0o755, 0, "a")
    assert scp.read_line(scp.times_line(1, 2)[:-1]) == Times(1, 2)
    assert scp.read_line(scp.error_line("x\n\x1b[2Jy")[:-1]) == Said("scp: x??[2Jy", False)
