"""Rows of a COPY come out masked, whatever pieces they come in; what does not fit is never passed on."""

import csv
import io
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.copy_format import CopyFormat
from wicketgate_gateway.masking.copy_out import SIGNATURE, CopyColumn, CopyOut, MaskedCopy
from wicketgate_gateway.wire.postgres.backend import BackendDecoder
from wicketgate_gateway.wire.postgres.messages import ProtocolError

KEY = b"k" * 32
REDACT, HASH, NULL = MaskMethod.REDACT, MaskMethod.HASH, MaskMethod.NULL
CSV = CopyFormat("csv", b",", b"")
DOTS = "•••"
COLUMNS = (CopyColumn("id", None), CopyColumn("email", REDACT, 25), CopyColumn("note", None))


def out(kind: CopyFormat, *pieces: bytes, columns=COLUMNS) -> bytes:
    rows = CopyOut(kind, columns).rows(binary=kind.kind == "binary", count=len(columns), key=KEY)
    return b"".join(row for piece in pieces for row in rows.feed(piece)) + b"".join(rows.flush())


def test_text():
    data = b"1\ta@x\tn\n2\t\\N\t\\N\n3\tx\\ty\\\\\tz\\nz\n"
    assert out(CopyFormat(), data).decode() == f"1\t{DOTS}\tn\n2\t\\N\t\\N\n3\t{DOTS}\tz\\nz\n"


def test_an_escaped_delimiter_is_a_part_of_its_value():
    kind = CopyFormat(delimiter=b"|")
    assert out(kind, b"1\\|2|secret\\|more\\\\|n\n").decode() == f"1\\|2|{DOTS}|n\n"
    with pytest.raises(ProtocolError):
        out(kind, b"1|a|n\\\n")


def test_what_a_mask_gives_is_escaped():
    hostile = (CopyColumn("a", MaskMethod.PARTIAL, 25),)
    assert (
        out(CopyFormat(), b"aaaaaaaaaaaa\\t\\\\\\n!\n", columns=hostile).decode().rstrip("\n").endswith("\\t\\\\\\n!")
    )
    assert out(CSV, b'"aaaaaaaaaaaa,""\nx"\n', columns=hostile).decode().endswith(',""\nx"\n')


def test_csv():
    data = b'1,a@x,n\n2,,\n3,"x,""y\nz","q,q"\n4,"",""\n'
    assert out(CSV, data).decode() == f'1,{DOTS},n\n2,,\n3,{DOTS},"q,q"\n4,{DOTS},""\n'


def test_how_a_masked_field_is_quoted_tells_nothing_of_its_value():
    plain, special = out(CSV, b"1,abc,n\n"), out(CSV, b'1,"a,c",n\n')
    assert plain == special
    forced = CopyFormat("csv", b",", b"", quoted=frozenset({"email"}))
    assert out(forced, b'1,"abc",n\n').decode() == f'1,"{DOTS}",n\n'
    assert out(CopyFormat("csv", b",", b"", quotes_all=True), b'"1",,"n"\n') == b'"1",,"n"\n'


def test_csv_with_another_quote_and_escape():
    kind = CopyFormat("csv", b";", b"nil", b"'", b"!")
    assert out(kind, b"1;'a!';!!b';'n!'n'\n2;nil;x\n3;'nil';x\n").decode() == f"1;{DOTS};'n!'n'\n2;nil;x\n3;{DOTS};x\n"


@pytest.mark.parametrize("kind", [CopyFormat(header=True), CopyFormat("csv", b",", b"", header=True)])
def test_a_header_is_not_believed_to_be_one(kind: CopyFormat):
    mark = kind.delimiter
    assert out(kind, mark.join([b"id", b"email", b"note"]) + b"\n") == mark.join([b"id", b"email", b"note"]) + b"\n"
    told = out(kind, mark.join([b"1", b"ann@example.com", b"x"]) + b"\n" + mark.join([b"2", b"b", b"y"]) + b"\n")
    assert (
        told.decode()
        == kind.delimiter.decode().join(["1", "email", "x"]) + "\n" + mark.decode().join(["2", DOTS, "y"]) + "\n"
    )


def test_a_value_whose_type_is_not_known_comes_out_as_null():
    columns = (CopyColumn("x", REDACT), CopyColumn("n", HASH, 23))
    first, second = out(CopyFormat(), b"anything\t7\n", columns=columns).rstrip().split(b"\t")
    assert first == b"\\N"
    assert int(second) != 7


def binary(*rows: tuple[bytes | None, ...], end: bool = True) -> bytes:
    data = SIGNATURE + bytes(8)
    for row in rows:
        data += struct.pack(">h", len(row))
        data += b"".join(struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v for v in row)
    return data + (b"\xff\xff" if end else b"")


def test_binary():
    columns = (
        CopyColumn("id", None),
        CopyColumn("n", REDACT, 23),
        CopyColumn("x", REDACT),
        CopyColumn("t", REDACT, 25),
    )
    four = struct.pack(">i", 4)
    found = out(CopyFormat("binary"), binary((b"1", four, b"x", b"t"), (b"2", None, None, None)), columns=columns)
    assert found == binary((b"1", bytes(4), None, DOTS.encode()), (b"2", None, None, None))


@pytest.mark.parametrize(
    "data",
    [
        b"no copy at all, surely not",
        SIGNATURE + b"\0\1\0\0" + bytes(4),  # with OIDs, as long ago
        binary((b"1", b"2")),
        binary((b"1", b"2", b"3"), end=False),
        binary((b"1", b"2", b"3")) + b"\0\3",
        binary((b"1", b"2", b"3"), end=False)[:-1],
        SIGNATURE + bytes(8) + struct.pack(">hi", 3, -2),
    ],
)
def test_binary_that_does_not_fit_is_an_error(data: bytes):
    with pytest.raises(ProtocolError):
        out(CopyFormat("binary"), data)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (CopyFormat(), b"1\ta\n"),
        (CopyFormat(), b"1\ta\tb\tc\n"),
        (CopyFormat(), b"1\ta\tb"),
        (CSV, b"1,a\n"),
        (CSV, b'1,"a"b,c\n'),
        (CSV, b'1,"a,c\n'),
        (CSV, b"1,a,b\r\n"),
        (CSV, b'1,a"a,c\n'),
    ],
)
def test_rows_that_do_not_fit_are_errors(kind: CopyFormat, data: bytes):
    with pytest.raises(ProtocolError):
        out(kind, data)


def test_a_row_that_is_too_large_is_an_error(monkeypatch):
    monkeypatch.setattr("wicketgate_gateway.masking.copy_out.MAX_ROW", 1000)
    with pytest.raises(ProtocolError, match="too large"):
        out(CopyFormat(), b"x" * 600, b"x" * 600)


def test_the_servers_columns_must_be_those_of_the_catalogue():
    plan = CopyOut(CopyFormat(), COLUMNS)
    for count, is_binary in ((2, False), (4, False), (3, True)):
        with pytest.raises(ProtocolError, match="other columns"):
            plan.rows(binary=is_binary, count=count, key=KEY)


def test_columns_of_a_star_are_null_where_any_of_them_is_masked():
    star = CopyColumn("*", REDACT, repeated=True)
    assert out(CopyFormat(), b"1\ta\tb\tz\n", columns=(COLUMNS[0],) * 4) == b"1\ta\tb\tz\n"
    rows = CopyOut(CopyFormat(), (COLUMNS[0], star, COLUMNS[2])).rows(binary=False, count=4, key=KEY)
    assert rows.feed(b"1\ta\tb\tz\n") == [b"1\t\\N\t\\N\tz\n"]
    assert CopyOut(CopyFormat(), (COLUMNS[0], star, COLUMNS[2])).fitted(1) is None


VALUES = st.lists(
    st.tuples(*[st.one_of(st.none(), st.text(alphabet='ab,"\\\t\n\r!é.N', max_size=6))] * 3), min_size=1, max_size=5
)


def written_as_text(rows) -> bytes:
    def field(value: str | None) -> str:
        if value is None:
            return "\\N"
        for character, letter in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
            value = value.replace(character, letter)
        return value

    return "".join("\t".join(map(field, row)) + "\n" for row in rows).encode()


def written_as_csv(rows) -> bytes:
    def field(value: str | None) -> str:
        if value is None:
            return ""
        return '"' + value.replace('"', '""') + '"' if not value or set(value) & set(',"\n\r') else value

    return "".join(",".join(map(field, row)) + "\n" for row in rows).encode()


@given(rows=VALUES, cuts=st.lists(st.integers(0, 200)), as_csv=st.booleans())
def test_any_values_in_any_pieces(rows, cuts: list[int], as_csv: bool):
    data = (written_as_csv if as_csv else written_as_text)(rows)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = out(CSV if as_csv else CopyFormat(), *(data[a:b] for a, b in pairwise(places)))
    masked = [(a, None if b is None else DOTS, c) for a, b, c in rows]
    assert found == (written_as_csv if as_csv else written_as_text)(masked)
    if as_csv:
        read = list(csv.reader(io.StringIO(found.decode(), newline="")))
        assert [row[1] for row in read] == [b or "" for _, b, _ in masked]


class Looks:
    """Stands for detectors."""

    def feed(self, payload: bytes) -> bytes:
        return payload.upper()

    def flush(self) -> bytes:
        return b"END"


def test_detectors_look_at_what_masks_leave():
    def rows():
        return CopyOut(CopyFormat(), COLUMNS).rows(binary=False, count=3, key=KEY)

    assert MaskedCopy(rows(), Looks()).feed(b"1\ta\tn\n").decode() == f"1\t{DOTS}\tN\n"
    assert MaskedCopy(rows(), Looks()).flush() == b"END"
    decoder = BackendDecoder()
    decoder.feed(MaskedCopy(rows(), None).feed(b"1\ta\tn\n2\tb\tm\n"))
    assert [(kind, bytes(body).decode()) for kind, body in decoder] == [
        ("d", f"1\t{DOTS}\tn\n"),
        ("d", f"2\t{DOTS}\tm\n"),
    ]
