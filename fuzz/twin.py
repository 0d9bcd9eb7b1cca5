"""The native core and its twin in Python: whatever bytes come, both say the same.

How this works: the first byte says which function is asked, the second how it is set up, the rest is what it reads.
Coverage is counted in the twin, so new branches of the reference are what the fuzzer looks for. Parsing itself has no
twin of our own (both sides are PostgreSQL's parser), and what flies is held against the general way in
`tests/wicketgate_gateway/session/test_express.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS, Confirm, Detector, Mask, MaskMethod
from wicketgate_gateway.masking.detected import DetectingMasker
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.masking.rows import RowMasker
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError
from wicketgate_gateway.wire.postgres.rows import rows_end, rows_end_twin, whole_rows_end, whole_rows_end_twin
from wicketgate_gateway.wire.postgres.sql.literals import strip_literals, strip_literals_twin
from wicketgate_gateway.wire.postgres.sql.parser import native

if native() is None:
    raise SystemExit("the native core is not built here, so there is nothing to compare")

MAX_BYTES = 2048
_KEY = b"k" * 32
_OWN = {"order": Detector(pattern="ORD-[0-9]{8}"), "member": Detector(pattern="M[0-9]{6}", confirm=Confirm.LUHN)}
_NAMES = (*BUILT_IN_DETECTORS, *_OWN)
_SCANNERS = [Detectors(_NAMES, _OWN), Detectors(_NAMES, _OWN, twin=True)]
_METHODS = [None, *MaskMethod]
_TYPES = [(25, 0), (25, 1), (1043, 0), (23, 0), (23, 1), (20, 1), (1700, 1), (17, 0), (17, 1), (114, 0), (3802, 1)]
_TYPES += [(1009, 0), (1009, 1), (1082, 0), (1184, 1), (2950, 1), (16, 1)]

_SAMPLES = [
    *(b"AKIAIOSFODNN7EXAMPLE", b"4111 1111 1111 1111", b"3782 822463 10005", b"DE89 3704 0044 0532 0130 00"),
    *(b"ann@example.com", b"+49 151 23456789", b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", b"ORD-12345678"),
    *(b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----", b"aws_secret_access_key", b"M123455"),
    *(b"ghp_", b"xoxb-", b"sk_live_", b"AIza", b"SG.", b"glpat-", b"npm_", b"8Q~", b"sig=", b"AccountKey="),
    *(b"\\u0041", b"\x1b[0m", b"\x1b]8;;", b"%40", b"\\/", b"\\x414b4941", "\u200b".encode(), b"//user:pw@host/"),
]
WORDS = [
    *_SAMPLES,
    *(b"'", b"''", b'"', b"$1", b"$$", b"E'", b"U&'", b"--", b"/*", b"1e5", b"::", b"interval"),
    *(b"D\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x05"),
]


def run(data: bytes) -> None:
    """Feeds both; raises AssertionError where they differ."""
    if len(data) >= 2:
        PARTS[data[0] % len(PARTS)](data[2:], data[1])


def _literals(data: bytes, _: int) -> None:
    assert strip_literals(data) == strip_literals_twin(data)


def _walk(data: bytes, start: int) -> None:
    assert rows_end(data, start) == rows_end_twin(data, start)
    assert whole_rows_end(data, start) == whole_rows_end_twin(data, start)


def _scan(data: bytes, _: int) -> None:
    native_hits, twin_hits = (each.scan(data) for each in _SCANNERS)
    assert native_hits == twin_hits


def _fields(data: bytes, how: int) -> tuple[bytes, list[FieldDescription], random.Random]:
    """The columns of an answer, drawn from `how`, and rows of them cut from the data; sometimes malformed."""
    chance = random.Random(how)  # noqa: S311 - one byte gives the same columns again
    columns = [chance.choice(_TYPES) for _ in range(chance.randint(1, 4))]
    fields = [FieldDescription("c", 0, 0, oid, format=code) for oid, code in columns]
    if how % 8 == 0:
        return data, fields, chance
    pieces = data.split(b"|")
    rows: list[bytes] = []
    for at in range(0, len(pieces), len(columns)):
        row = pieces[at : at + len(columns)]
        values = [None if piece == b"~" else piece for piece in [*row, *[b""] * (len(columns) - len(row))]]
        rows.append(messages.data_row(values))
    return b"".join(rows), fields, chance


def _said(masker: Callable[[bytes, int, int], bytes], data: bytes) -> bytes | str:
    try:
        return masker(data, 0, len(data))
    except ProtocolError as error:
        return error.message


def _rows(data: bytes, how: int) -> None:
    rows, fields, chance = _fields(data, how)
    masker = RowMasker([chance.choice(_METHODS) for _ in fields], fields, _KEY)
    assert _said(masker, rows) == _said(masker.twin, rows)


def _looking(method: MaskMethod, *, twin: bool) -> Detecting:
    return Detecting([([Mask(detect=list(_NAMES), method=method)], _OWN)], _KEY, twin=twin)


_LOOKING = {
    method: (_looking(method, twin=False), _looking(method, twin=True))
    for method in (MaskMethod.REDACT, MaskMethod.PARTIAL, MaskMethod.NULL)
}


def _detected(data: bytes, how: int) -> None:
    rows, fields, chance = _fields(data, how)
    fast, slow = _LOOKING[chance.choice(list(_LOOKING))]
    one, other = (DetectingMasker(looking, None, fields) for looking in (fast, slow))
    answer, wanted = _said(one, rows), _said(other, rows)
    if isinstance(wanted, str):
        # How a malformed row is named may differ; and the core does not walk through rows in which there is no hit.
        assert isinstance(answer, str) or not fast.detectors.scan(answer)
    else:
        assert answer == wanted
    text, same = fast.text(data), slow.text(data)
    assert text == same


PARTS: tuple[Callable[[bytes, int], None], ...] = (_literals, _walk, _scan, _rows, _detected)


def seeds() -> list[bytes]:
    """Each part with samples of what it reads."""
    joined = [b" ".join(_SAMPLES), b"|".join(_SAMPLES), *_SAMPLES]
    rows = messages.data_row([b"a", None, *cast("list[bytes | None]", _SAMPLES[:2])]) * 2
    sql = b"SELECT 'it''s', 12, 1.5 FROM \"T 1\" WHERE a = $1 AND b IN (1, 2) -- x"
    texts = (*joined, rows, sql)
    return [bytes((part, how)) + text for part in range(len(PARTS)) for how in (0, 1, 9) for text in texts]
