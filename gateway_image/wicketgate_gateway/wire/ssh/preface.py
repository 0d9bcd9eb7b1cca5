"""What `wicketgate ssh-proxy` says to the gateway before SSH begins, within TLS.

How this works: three lines of ASCII: `WICKETGATE-SSH/1`, what is wanted (`connect TARGET` or `keys`), the bot's token
(empty for `keys`). The gateway answers one line: `ok` (then the SSH protocol follows, or the lines of a known_hosts
entry) or `no CODE REASON`. The token travels over TLS that the client has verified, so the client is authenticated
before SSH begins, and nothing that could be used again is left behind.
"""

from __future__ import annotations

from dataclasses import dataclass

MAGIC = b"WICKETGATE-SSH/1"
MAX_PREFACE = 20 * 1024
MAX_ANSWER = 8 * 1024
_TEXT = frozenset(range(0x20, 0x7F))


class PrefaceError(Exception):
    """The peer does not speak this."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`target` is empty if the client asks for the host keys."""

    target: str
    token: str


class PrefaceReader:
    """Bytes in; what is wanted, once it is complete. `rest` is what came behind it."""

    def __init__(self) -> None:
        self._data = b""
        self.rest = b""

    def feed(self, data: bytes) -> Wanted | None:
        """None while more is needed. Raises PrefaceError."""
        self._data += data
        start = self._data[: len(MAGIC) + 1]
        if start != (MAGIC + b"\n")[: len(start)]:
            raise PrefaceError("no preface")
        lines = self._data.split(b"\n", 3)
        if len(lines) < 4:
            if len(self._data) > MAX_PREFACE:
                raise PrefaceError("the preface is too long")
            return None
        _, what, token, self.rest = lines
        if len(what) + len(token) > MAX_PREFACE or not all(c in _TEXT for c in what + token):
            raise PrefaceError("the preface is no text")
        verb, _, target = what.decode().partition(" ")
        if verb == "keys" and not target and not token:
            return Wanted("", "")
        if verb == "connect" and target and token:
            return Wanted(target, token.decode())
        raise PrefaceError("the preface wants nothing that is known")


def request(target: str, token: str) -> bytes:
    """The preface for a target; without one, for the keys."""
    what = f"connect {target}" if target else "keys"
    return b"\n".join((MAGIC, what.encode("ascii"), token.encode("ascii"), b""))


def accepted(lines: str = "") -> bytes:
    """The answer to a client that is let in."""
    return b"ok\n" + lines.encode()


def refused(code: str, reason: str) -> bytes:
    """The answer to a client that is not."""
    text = "".join(c if " " <= c <= "~" else "?" for c in reason)
    return f"no {code} {text}"[: MAX_ANSWER - 1].encode() + b"\n"
