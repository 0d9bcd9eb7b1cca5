"""The protocol of `scp -O`: the command that starts it at the other side, and its lines.

How this works: `scp -t PATH` (sink) and `scp -f PATH…` (source) speak over standard input and output. The source sends
a line for each thing (`C0644 SIZE NAME`, `D0755 0 NAME`, `E` at a folder's end, `T MTIME 0 ATIME 0` before what these
times are for), the sink answers each by a byte 0, or by 1 or 2, text and newline for an error. Behind `C` come SIZE
bytes and a 0. Names are one part of a path: what holds `/`, or is `.` or `..`, is refused from either side (as after
CVE-2019-6111). There is no other specification than OpenSSH's `scp.c`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from wicketgate_gateway.wire.ssh import words

MAX_LINE = 8192
MAX_NAME = 255
MAX_PATHS = 64
_FLAGS = frozenset("rpdvqtf")
_ENTRY = re.compile(rb"([CD])([0-7]{4}) ([0-9]{1,19}) ([^\n]+)")
_TIMES = re.compile(rb"T([0-9]{1,11}) [0-9]{1,6} ([0-9]{1,11}) [0-9]{1,6}")
_HOME = re.compile(r"(?<= )~(?=/| |\Z)")


class ScpError(Exception):
    """The peer broke the protocol; the text says how."""


@dataclass(frozen=True, slots=True)
class Copying:
    """What one `scp -t` or `scp -f` is to do. `words` are the command's, as the shell would read them."""

    words: tuple[str, ...]
    sink: bool
    paths: tuple[str, ...]
    recursive: bool = False
    times: bool = False
    folder: bool = False
    """The path must be a folder (`-d`)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that follows, or a folder that begins."""

    folder: bool
    mode: int
    size: int
    name: str


@dataclass(frozen=True, slots=True)
class Times:
    """For the next entry, in seconds."""

    modified: int
    accessed: int


@dataclass(frozen=True, slots=True)
class End:
    """The folder ends."""


@dataclass(frozen=True, slots=True)
class Said:
    """The other side has an error to tell; after a fatal one it goes."""

    text: str
    fatal: bool


Line: TypeAlias = Entry | Times | End | Said


def copying(text: str) -> Copying | None:
    """What a command is to copy; None for whatever is not certainly `scp` in one of its two roles. Never raises."""
    if not any(quote in text for quote in "'\"\\"):
        text = _HOME.sub(".", text)  # paths that are not absolute begin at home anyway
    found = words.read(text.encode("utf-8", "surrogatepass"))
    if not isinstance(found, words.Command) or found.words[0] != "scp":
        return None
    letters = ""
    rest = list(found.words[1:])
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        letters += word[1:]
        if len(word) < 2 or not _FLAGS.issuperset(word[1:]):
            return None
    sink = "t" in letters
    if sink == ("f" in letters) or not rest or not all(rest) or len(rest) > (1 if sink else MAX_PATHS):
        return None
    return Copying(found.words, sink, tuple(rest), "r" in letters, "p" in letters, "d" in letters)


def read_line(line: bytes) -> Line:
    """A line without its newline. Raises ScpError."""
    if line[:1] in (b"\x01", b"\x02"):
        return Said(line[1:].decode("utf-8", "replace"), line[:1] == b"\x02")
    if line == b"E":
        return End()
    if match := _TIMES.fullmatch(line):
        return Times(int(match[1]), int(match[2]))
    match = _ENTRY.fullmatch(line)
    if match is None:
        raise ScpError("a line that is none of the protocol's")
    return Entry(match[1] == b"D", int(match[2], 8), int(match[3]), name(match[4]))


def name(raw: bytes) -> str:
    """One part of a path. Raises ScpError for what would lead elsewhere."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ScpError("a name that is not UTF-8") from None
    if text in ("", ".", "..") or "/" in text or "\0" in text or "\n" in text or len(raw) > MAX_NAME:
        raise ScpError("a name that is not one part of a path")
    return text


def entry_line(name_: str, mode: int, size: int, *, folder: bool) -> bytes:
    """The line for a file or folder."""
    return f"{'D' if folder else 'C'}{mode & 0o7777:04o} {0 if folder else size} {name_}\n".encode()


def times_line(modified: int, accessed: int) -> bytes:
    """The line for times."""
    return f"T{modified} 0 {accessed} 0\n".encode()


def error_line(text: str) -> bytes:
    """An error after which it goes on."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return b"\x01scp: " + plain.encode("utf-8", "replace")[:MAX_LINE] + b"\n"
