"""Seals: what a gateway signs about its journal, one after the other, so that nobody can take anything back.

How this works: `<state>/seals.ndjson` holds one line a seal:

    {"seal": {...}, "key": "ed25519:BASE64", "signature": "BASE64"}

The signature (Ed25519, RFC 8032) is over a fixed prefix and the exact bytes of the seal's JSON. Each seal holds its
number and the SHA-256 of the line before it, so that removing, reordering or rewriting lines shows, whoever holds the
key. Kinds: a `head` says how far the journal reached and with which digest; a `breach` says that the journal no longer
went on from the head before; `journal-purged` and `recording-purged` are what retention leaves of what it deleted;
`legal-hold` and `legal-hold-lifted` stop and resume deleting.

Who can write the state folder can sign whatever he likes from then on. What he cannot do is to change what a place
outside (`anchors.py`) already holds: there the old seals stay, and disagree with his.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.files import FILE_MODE, make_folder

SEALS = "seals.ndjson"
KEY = "seal.key"
FIRST = "0" * 64
"""What the first seal has as the digest of the line before it."""
_PREFIX = b"wicketgate seal 1\n"
_KIND = "ed25519:"
_MAX_LINE = 64 * 1024


class _Seal(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    number: int = 0
    """From 1; filled in by `SealLog.append`, as are `previous` and `time`."""
    previous: str = ""
    time: int = 0
    """Nanoseconds since 1970."""


class Head(_Seal, frozen=True, kw_only=True, tag="head"):
    """The journal reached byte `offset` of file `file`, where its chain had this digest."""

    file: int
    offset: int
    digest: str


class Breach(_Seal, frozen=True, kw_only=True, tag="breach"):
    """The journal, when looked at, did not go on from what was sealed before."""

    file: int
    offset: int
    reason: str


class JournalPurged(_Seal, frozen=True, kw_only=True, tag="journal-purged"):
    """Files `first` to `last` of the journal were deleted, being older than the retention: the chain went from
    `before` (the digest that the first one went on from) to `after` (the digest at the end of the last one).
    """

    first: int
    last: int
    before: str
    after: str
    events: int
    size: int
    oldest: int
    newest: int
    """Times of the first and the last event, nanoseconds since 1970."""
    reason: str


class RecordingPurged(_Seal, frozen=True, kw_only=True, tag="recording-purged"):
    """A session's recording was deleted; `digest` is that of its last frame."""

    session: str
    digest: str
    files: int
    size: int
    started: int
    reason: str


class LegalHold(_Seal, frozen=True, kw_only=True, tag="legal-hold"):
    """Nothing that matches may be deleted; empty fields match everything."""

    hold: str
    reason: str
    by: str
    session: str = ""
    bot: str = ""
    target: str = ""
    since: int = 0
    until: int = 0


class LegalHoldLifted(_Seal, frozen=True, kw_only=True, tag="legal-hold-lifted"):
    """The hold of that name no longer stands."""

    hold: str
    reason: str
    by: str


Seal: TypeAlias = Head | Breach | JournalPurged | RecordingPurged | LegalHold | LegalHoldLifted


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seal: msgspec.Raw
    key: str
    signature: str


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_seal = msgspec.json.Decoder(Seal).decode


class SealError(WicketgateError):
    """The seals cannot be read or written."""

    code = "seals-unusable"


@dataclass(frozen=True, slots=True)
class Signed:
    """A line whose signature holds; `line` is without its line end."""

    seal: Seal
    key: str
    line: bytes

    @property
    def digest(self) -> str:
        """What the next seal has as `previous`."""
        return hashlib.sha256(self.line).hexdigest()


@dataclass(slots=True)
class SealProblem:
    """What is wrong with a line: `kind` is `forged`, `removed`, `damaged` or `torn`."""

    kind: str
    line: int
    message: str


@dataclass(slots=True)
class Seals:
    """What a file of seals holds."""

    signed: list[Signed] = field(default_factory=list[Signed])
    problems: list[SealProblem] = field(default_factory=list[SealProblem])
    others: dict[str, int] = field(default_factory=dict[str, int])
    """Lines by other keys than the one asked for, by key: several gateways may share an anchor."""


def key_text(key: Ed25519PublicKey) -> str:
    """A public key as text: `ed25519:` and the 32 bytes in base64."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _KIND + base64.b64encode(raw).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """The key of `key_text`. Raises SealError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix(_KIND), validate=True))
    except (binascii.Error, ValueError):
        raise SealError(
            f"`{text[:80]}` is not a public key", code="key-invalid", remedy="`wicketgate audit key` prints it"
        ) from None


def signing_key(state: Path) -> Ed25519PrivateKey:
    """The key in `<state>/seal.key` (PEM, mode 0600), made if there is none. Raises SealError."""
    path = state / KEY
    try:
        if not path.exists():
            _make_key(state, path)
        if path.stat().st_mode & 0o077:
            raise SealError(
                f"`{path}` can be read by others", remedy="find out who has it; then delete it, and a new one is made"
            )
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        reason = (error.strerror or "cannot be used").lower()
        raise SealError(f"`{path}`: {reason}", remedy="give the gateway's user the state folder") from None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SealError(f"`{path}` is not an Ed25519 key", remedy="restore it, or move it away: a new one is made")
    return key


def _make_key(state: Path, path: Path) -> None:
    make_folder(state)
    if (state / SEALS).exists() and not path.exists():
        raise SealError(
            f"`{path}` is gone, and there are seals by it",
            remedy=f"restore it; if it is lost, move `{SEALS}` away too, and keep it: a new key is made",
        )
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Linked into place whole: two processes may start at once, and a crash must not leave half a key.
    new = state / f".{KEY}.{secrets.token_hex(4)}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()


def sign(key: Ed25519PrivateKey, seal: Seal) -> bytes:
    """The line of a seal, without its line end."""
    body = _encode(seal)
    signature = base64.b64encode(key.sign(_PREFIX + body)).decode()
    return _encode(_Line(msgspec.Raw(body), key_text(key.public_key()), signature))


def read_line(line: bytes) -> Signed:
    """Read one line and check its signature with the key that it names. Raises ValueError."""
    try:
        outer = _decode_line(line)
        signature = base64.b64decode(outer.signature, validate=True)
        body = bytes(outer.seal)
        public_key(outer.key).verify(signature, _PREFIX + body)
        return Signed(_decode_seal(body), outer.key, line)
    except InvalidSignature:
        raise ValueError("its signature does not hold") from None
    except (msgspec.DecodeError, binascii.Error, SealError) as error:
        raise ValueError(f"it cannot be read: {error}") from None


def _number(line: bytes) -> int:
    try:
        return int(msgspec.json.decode(_decode_line(line).seal)["number"])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from None


def read_seals(data: bytes, key: str | None = None, *, whole: bool = True) -> Seals:
    """Read the lines of a file, checking each signature and how they follow one another.

    Lines by another `key` are counted, not read. Unless it is the `whole` log, it may begin with any number, and lines
    may stand twice (an anchor that was asked again).
    """
    found = Seals()
    previous: Signed | None = None
    known: set[bytes] = set()
    lines = data.split(b"\n")
    if lines[-1]:
        found.problems.append(SealProblem("torn", len(lines), "the last line is incomplete"))
    for at, line in enumerate(lines[:-1], 1):
        if not whole and line in known:
            continue
        try:
            signed = read_line(line)
        except ValueError as error:
            found.problems.append(SealProblem("forged" if "signature" in str(error) else "damaged", at, str(error)))
            continue
        if key is not None and signed.key != key:
            found.others[signed.key] = found.others.get(signed.key, 0) + 1
            continue
        known.add(line)
        if previous is not None or whole:
            _check_order(found, at, previous, signed)
        found.signed.append(signed)
        previous = signed
    return found


def _check_order(found: Seals, at: int, previous: Signed | None, signed: Signed) -> None:
    number, digest = (previous.seal.number, previous.digest) if previous else (0, FIRST)
    if signed.seal.number != number + 1:
        message = f"seal {signed.seal.number} stands where seal {number + 1} belongs"
        found.problems.append(SealProblem("removed", at, message))
    elif signed.seal.previous != digest:
        found.problems.append(
            SealProblem("removed", at, f"seal {signed.seal.number} does not go on from the one before")
        )


class SealLog:
    """The seals of one state folder. Several processes may append: each takes the file's lock."""

    def __init__(self, state: Path) -> None:
        self.path = state / SEALS
        self._state = state

    def read(self, key: str | None = None) -> Seals:
        """All seals. Raises SealError if the file cannot be read; an absent file has none."""
        return read_seals(self._data(), key)

    def _data(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise SealError(f"`{self.path}`: {(error.strerror or 'cannot be read').lower()}") from None

    def lines(self, after: int, *, offset: int = 0) -> Iterator[tuple[Signed, int]]:
        """The seals numbered over `after`, each with the offset after it, from byte `offset` on. Raises SealError."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    offset += len(line)
                    with contextlib.suppress(ValueError):
                        # A log of years has hundreds of thousands: signatures are checked where they are asked for.
                        if _number(line) > after:
                            yield read_line(line[:-1]), offset
        except FileNotFoundError:
            return
        except OSError as error:
            raise SealError(f"`{self.path}`: {(error.strerror or 'cannot be read').lower()}") from None

    def append(self, seal: Seal, *, key: Ed25519PrivateKey | None = None) -> Signed:
        """Sign and add one seal; it is on the disk when this returns. Raises SealError."""
        return self.change(lambda _: [seal], key=key)[0]

    def change(
        self,
        make: Callable[[Seals | None], Sequence[Seal]],
        *,
        key: Ed25519PrivateKey | None = None,
        look: bool = False,
    ) -> list[Signed]:
        """Add the seals that `make` makes, given (with `look`) all that there are, which nobody changes meanwhile."""
        key = key or signing_key(self._state)
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        except OSError as error:
            raise _failure(self.path, error) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            end, last = self._last(fd)
            written: list[Signed] = []
            data = b""
            for seal in make(self.read() if look else None):
                number, previous = (last.seal.number + 1, last.digest) if last else (1, FIRST)
                seal = msgspec.structs.replace(seal, number=number, previous=previous, time=time.time_ns())
                line = sign(key, seal)
                last = Signed(seal, key_text(key.public_key()), line)
                written.append(last)
                data += line + b"\n"
            if data:
                _write(fd, data, end)
            return written
        except OSError as error:
            raise _failure(self.path, error) from None
        finally:
            os.close(fd)

    def _last(self, fd: int) -> tuple[int, Signed | None]:
        """Where the last whole line ends, and what it says; half a line (a crash in mid-write) is cut off."""
        size = os.fstat(fd).st_size
        start = max(0, size - 2 * _MAX_LINE)
        tail = os.pread(fd, size - start, start)
        end = start + tail.rfind(b"\n") + 1
        if end < size:
            os.ftruncate(fd, end)
        if end == 0:
            return 0, None
        line = tail[: end - start - 1].rpartition(b"\n")[2]
        try:
            return end, read_line(line)
        except ValueError as error:
            raise SealError(
                f"the last seal in `{self.path}` is damaged: {error}",
                remedy="keep the state folder as it is for whoever investigates; `wicketgate audit verify` says more",
            ) from None


def _write(fd: int, data: bytes, end: int) -> None:
    try:
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], end + done)
        os.fdatasync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, end)
        raise


def _failure(path: Path, error: OSError) -> SealError:
    return SealError(f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}", remedy="free space on it")
