"""Detectors on rows, COPY data and reports: found in every type and format, and what comes out can be read."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS, Mask, MaskMethod
from wicketgate_gateway.masking import detected
from wicketgate_gateway.masking.detected import AnswerFilter, CopyMasker, DetectingMasker, masked_report
from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.rows import RowMasker
from wicketgate_gateway.masking.text import REDACTED
from wicketgate_gateway.masking.typed import _write_numeric
from wicketgate_gateway.wire.postgres import messages as m

KEY = b"k" * 32
KEYED = b"AKIAIOSFODNN7EXAMPLE"
CARD = b"4111111111111111"


def looking(method: MaskMethod = MaskMethod.REDACT, *, twin: bool = False) -> Detecting:
    return Detecting([([Mask(detect=list(BUILT_IN_DETECTORS), method=method)], {})], KEY, twin=twin)


def fields(*types: tuple[int, int]) -> list[m.FieldDescription]:
    return [m.FieldDescription("c", 0, 0, oid, format=code) for oid, code in types]


def run(
    types: list[tuple[int, int]], *rows: list[bytes | None], method: MaskMethod = MaskMethod.REDACT
) -> list[list[bytes | None]]:
    data = b"".join(m.data_row(row) for row in rows)
    answers = [
        DetectingMasker(looking(method, twin=twin), None, fields(*types))(data, 0, len(data)) for twin in (False, True)
    ]
    assert answers[0] == answers[1]
    found: list[list[bytes | None]] = []
    at = 0
    while at < len(answers[0]):
        (length,) = struct.unpack_from(">I", answers[0], at + 1)
        found.append(m.read_data_row(answers[0][at + 5 : at + 1 + length]))
        at += 1 + length
    return found


def array(*elements: bytes) -> bytes:
    head = struct.pack(">iiIii", 1, 0, 25, len(elements), 1)
    return head + b"".join(struct.pack(">i", len(e)) + e for e in elements)


@pytest.mark.parametrize(
    ("oid", "code", "value", "wanted"),
    [
        (25, 0, b"a " + KEYED, b"a " + REDACTED),
        (25, 1, b"a " + KEYED, b"a " + REDACTED),
        (1043, 0, CARD, REDACTED),
        (114, 0, b'{"n": ' + CARD + b"}", '{"n": "•••"}'.encode()),
        (3802, 1, b'\1{"n": "' + CARD + b'"}', b'\1{"n": "' + REDACTED + b'"}'),
        (3802, 1, b'\1{"n": "\\u0041KIAIOSFODNN7EXAMPLE"}', b'\1{"n": "' + REDACTED + b'"}'),
        (1009, 0, b"{a," + CARD + b"}", b"{a," + REDACTED + b"}"),
        (1009, 1, array(b"a", CARD), array(b"a", REDACTED)),
        (17, 0, b"\\x00" + KEYED.hex().encode(), b"\\x00" + REDACTED.hex().encode()),
        (17, 1, b"\0" + KEYED, b"\0" + REDACTED),
        (1001, 0, b'{"\\\\x' + KEYED.hex().encode() + b'"}', b'{"\\\\x' + REDACTED.hex().encode() + b'"}'),
        (20, 0, CARD, b"0"),
        (20, 1, struct.pack(">q", int(CARD)), struct.pack(">q", 0)),
        (1700, 0, CARD, b"0"),
        (1700, 1, _write_numeric(CARD.decode() + ".00", True), _write_numeric("0", True)),
        (1016, 0, b"{" + CARD + b"}", b"{0}"),
        (99_999, 0, b"(1," + CARD + b")", b"(1," + REDACTED + b")"),
        (99_999, 1, b"\0\0\0\1\0\0\0\x19\0\0\0\x10" + CARD, None),
        (1186, 1, CARD, None),
    ],
)
def test_a_hit_in_each_type(oid: int, code: int, value: bytes, wanted: bytes | None) -> None:
    if oid == 1001:  # an array of bytea is masked as a whole, element by element
        assert KEYED.hex().encode() not in (run([(oid, code)], [value])[0][0] or b"")
        return
    assert run([(25, 0), (oid, code)], [b"before", value], [b"after", None]) == [[b"before", wanted], [b"after", None]]


@pytest.mark.parametrize("length", range(48, 58))
def test_a_length_that_looks_like_a_digit_is_none(length: int) -> None:
    value = CARD + b" " * (length - len(CARD))
    assert run([(25, 0)], [value]) == [[REDACTED + b" " * (length - len(CARD))]]


def test_what_lies_beside_in_another_field_is_no_hit() -> None:
    rows = [[CARD[:8], CARD[8:]], [b"ann@", b"example.com"]]
    assert run([(25, 0), (25, 0)], *rows) == rows


def test_null_makes_the_whole_field_null() -> None:
    assert run([(25, 0)], [b"x " + CARD], method=MaskMethod.NULL) == [[None]]


def test_columns_are_masked_first() -> None:
    looks = looking()
    told = fields((25, 0), (25, 0))
    inner = RowMasker([MaskMethod.PARTIAL, None], told, KEY)
    row = m.data_row([b"ann@example.com", b"ann@example.com"])
    masked = DetectingMasker(looks, inner, told)(row, 0, len(row))
    assert m.read_data_row(masked[5:]) == [b"a***@example.com", REDACTED]


chunks = st.lists(
    st.lists(
        st.none()
        | st.sampled_from([CARD, KEYED, b"ann@example.com", b"x", b"", b"\\u0041KIAIOSFODNN7EXAMPLE"])
        | st.binary(max_size=20),
        min_size=2,
        max_size=2,
    ),
    max_size=6,
)


@settings(deadline=None)
@given(chunks, st.binary(max_size=4))
def test_rows_without_hits_are_the_same_and_others_as_each_field_says(
    rows: list[list[bytes | None]], before: bytes
) -> None:
    looks = looking()
    data = b"".join(m.data_row(row) for row in rows)
    masked = DetectingMasker(looks, None, fields((25, 0), (25, 0)))(before + data, len(before), len(before + data))
    wanted = [[None if value is None else looks.text(value) for value in row] for row in rows]
    assert masked == b"".join(m.data_row(row) for row in wanted)


@pytest.mark.parametrize("twin", [False, True])
def test_malformed_rows_are_refused(twin: bool) -> None:
    row = m.data_row([CARD, b"x"])
    look = DetectingMasker(looking(twin=twin), None, fields((25, 0), (25, 0)))
    impossible = m.data_row([CARD, None]).replace(b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe")
    for bad in (row[:-1], row[:20], b"X" + row[1:], row[:5] + b"\0\3" + row[7:], impossible):
        with pytest.raises(m.ProtocolError):
            look(bad, 0, len(bad))


@pytest.mark.parametrize("oid", [20, 1700])
def test_no_secret_passes_as_a_malformed_number(oid: int) -> None:
    assert run([(oid, 1)], [b"DE89 3704 0044 0532 0130 00"], [KEYED]) == [[None], [None]]


def test_what_cannot_be_masked_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise RuntimeError

    monkeypatch.setattr(detected, "masked_field", fail)
    assert run([(114, 0)], [CARD]) == [[None]]


def copied(payloads: list[bytes], *, binary: bool = False, method: MaskMethod = MaskMethod.REDACT) -> list[bytes]:
    copy = AnswerFilter(looking(method)).copying(binary=binary)
    data = b"".join(copy.feed(payload) for payload in payloads) + copy.flush()
    found: list[bytes] = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at + 1)
        assert data[at : at + 1] == b"d"
        found.append(data[at + 5 : at + 1 + length])
        at += 1 + length
    return found


def test_copy_text_and_csv_row_by_row() -> None:
    rows = [b"1\t" + CARD + b"\n", b"2\tx\n", b'3,"ann@example.com"\n', b"\\\\x" + KEYED.hex().encode() + b"\n"]
    wanted = [
        b"1\t" + REDACTED + b"\n",
        b"2\tx\n",
        b'3,"' + REDACTED + b'"\n',
        b"\\\\x" + REDACTED.hex().encode() + b"\n",
    ]
    assert copied(rows) == wanted
    whole = b"".join(rows)
    assert b"".join(copied([whole[i : i + 1] for i in range(len(whole))])) == b"".join(wanted)


def test_copy_binary() -> None:
    head = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    one = struct.pack(">Hi", 2, 16) + CARD + struct.pack(">i", 1) + b"x"
    two = struct.pack(">Hii", 2, -1, 1) + b"y"
    end = b"\xff\xff"
    masked = struct.pack(">Hii", 2, -1, 1) + b"x"
    assert copied([head + one, two, end], binary=True) == [head + masked, two, end]
    whole = head + one + two + end
    assert b"".join(copied([whole[i : i + 1] for i in range(len(whole))], binary=True)) == head + masked + two + end


def test_copy_that_is_cut_or_no_copy() -> None:
    head = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    with pytest.raises(m.ProtocolError):
        copied([head + b"\0\1"], binary=True)
    with pytest.raises(m.ProtocolError):
        copied([b"x" * 20], binary=True)
    big = CopyMasker(looking(), binary=False)
    for _ in range(4):
        big.feed(b"x" * (16 * 1024 * 1024))
    with pytest.raises(m.ProtocolError, match="too large"):
        big.feed(b"x")


def test_reports() -> None:
    told = {
        "S": "ERROR",
        "V": "ERROR",
        "C": "22P02",
        "M": 'invalid input: "4111111111111111"',
        "W": "SQL ann@example.com",
    }
    body = m.report(b"E", told)[5:]
    masked = masked_report(looking(), b"E", body)
    assert masked is not None
    assert m.read_report(masked[5:]) == {**told, "M": 'invalid input: "•••"', "W": "SQL •••"}
    harmless = m.report(b"N", {**told, "M": "all is well", "W": ""})[5:]
    assert AnswerFilter(looking()).report(b"N", harmless) is None


def test_documents_stay_documents() -> None:
    value = json.dumps({"a": CARD.decode(), "b": [int(CARD)], "c": "x\u00e9"}).encode()
    for method in (MaskMethod.REDACT, MaskMethod.PARTIAL, MaskMethod.HASH, MaskMethod.FORMAT):
        found = run([(114, 0)], [value], method=method)[0][0]
        assert found is not None
        assert CARD not in found
        assert json.loads(found)["c"] == "xé"
