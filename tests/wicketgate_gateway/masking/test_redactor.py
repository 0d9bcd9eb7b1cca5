"""A stream comes out the same wherever it is cut, and little of it waits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS, Detector, Mask, MaskMethod
from wicketgate_gateway.masking.detectors import Detecting, Detectors
from wicketgate_gateway.masking.detectors_twin import Bare, unveil
from wicketgate_gateway.masking.redactor import MOST_HELD, Redactor, redactor
from wicketgate_gateway.masking.text import REDACTED

KEY = b"k" * 32
SECRETS = [
    b"AKIAIOSFODNN7EXAMPLE",
    b"4111 1111 1111 1111",
    b"DE89 3704 0044 0532 0130 00",
    b"ann@example.com",
    b"+49 (151) 2345-6789",
    b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    b"-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/AB\nxyz=\n-----END RSA PRIVATE KEY-----",
    b'"aws_secret_access_key" : "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"',
    b"\\u0041KIAIOSFODNN7EXAMPLE",
    b"A\x1b[1mKIAIOSFOD\x1b[0mNN7EXAMPLE",
    b"ann\x1b]0;a title with blanks\x07@example.com",
    b"ORD-12345678",
    b"\\x" + b"AKIAIOSFODNN7EXAMPLE".hex().encode(),
]
LOOKS = Detecting(
    [
        (
            [Mask(detect=[*BUILT_IN_DETECTORS, "order"], method=MaskMethod.REDACT)],
            {"order": Detector(pattern="ORD-[0-9]{8}")},
        )
    ],
    KEY,
)


def through(stream: Redactor, pieces: list[bytes]) -> bytes:
    return b"".join(stream.feed(piece) for piece in pieces) + stream.flush()


@pytest.mark.parametrize("secret", SECRETS)
def test_cut_at_every_place(secret: bytes) -> None:
    text = b"before it " + secret + b" after it\n"
    whole = through(Redactor(LOOKS), [text])
    assert whole == LOOKS.text(text)
    assert whole != text
    for cut in range(len(text)):
        assert through(Redactor(LOOKS), [text[:cut], text[cut:]]) == whole, cut
    assert through(Redactor(LOOKS), [text[i : i + 1] for i in range(len(text))]) == whole


@pytest.mark.parametrize("secret", SECRETS)
def test_an_escape_that_takes_a_byte_along_hides_nothing(secret: bytes) -> None:
    for text in (b"\x1b " + secret, b"\x1b " + secret + b" y", b"A\x1b FKIAIOSFODNN7EXAMPLE " + secret):
        masked = LOOKS.text(text)
        assert secret[2:] not in masked
        assert b"KIAIOSFODNN7EXAMPLE" not in masked
        assert through(Redactor(LOOKS), [text]) == masked
        assert through(Redactor(LOOKS), [text[i : i + 1] for i in range(len(text))]) == masked


texts = st.lists(
    st.sampled_from([*SECRETS, b" ", b"\n", b"x", b"1", b"-----BEGIN ", b"\x1b", b"AKIA", b"$ ", b"\0", b"+", b'": "'])
    | st.binary(max_size=5)
).map(b" ".join)


@settings(deadline=None, max_examples=300)
@given(texts, st.lists(st.integers(1, 40), max_size=40))
def test_split_anywhere_it_is_the_same(text: bytes, sizes: list[int]) -> None:
    pieces: list[bytes] = []
    at = 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    pieces.append(text[at:])
    assert through(Redactor(LOOKS), pieces) == LOOKS.text(text)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*SECRETS, b"\x1b", b"\x1b ", b"\x1b[1m", b"\x1b]0;t", b"\x07", b"%41", b"\\/", b"\\u0041", b"\xc2\xad"]
        )
        | st.binary(max_size=5)
    ).map(b"".join)
)
def test_the_view_of_streams_is_that_of_texts(data: bytes) -> None:
    for blank in (False, True):
        view, places = unveil(data, blank=blank)
        bare = Bare(data, blank=blank)
        assert bare.view == view
        assert [bare.place(at) for at in range(len(view))] == [start for start, _ in places]
        assert bare.end == (places[-1][1] if places else 0)


def test_stars_keep_places_and_lengths() -> None:
    for secret in SECRETS:
        text = b"x " + secret + b" y"
        masked = through(Redactor(LOOKS, stars=True), [text[i : i + 3] for i in range(0, len(text), 3)])
        assert len(masked) == len(text)
        assert (masked[:2], masked[-2:]) == (b"x ", b" y")
        assert b"*****" in masked


def test_little_waits() -> None:
    plain = Redactor(Detecting([([Mask(detect=list(BUILT_IN_DETECTORS), method=MaskMethod.REDACT)], {})], KEY))
    assert plain.feed(b"total 12\nroot@host:~$ ") == b"total 12\nroot@host:~$ "
    assert plain.feed(b"ls") == b""
    assert plain.idle() == b"ls"
    assert plain.feed(b" -la\n") == b" -la\n"
    assert plain.held == 0
    assert plain.feed(b"AKIAIOSF") == b""
    assert plain.idle() == b""
    assert plain.feed(b"ODNN7EXAMPLE\n") == REDACTED + b"\n"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_pause_within_a_hit_shows_nothing_behind_it(secret: bytes) -> None:
    """An attack: print the first bytes, wait until they are let go, print the rest."""
    for cut in range(1, len(secret)):
        stream = Redactor(LOOKS)
        shown = stream.feed(b"before " + secret[:cut]) + stream.idle()
        behind = stream.feed(secret[cut:] + b" after\n") + stream.idle() + stream.flush()
        assert behind.endswith(b"after\n")
        if len(secret) - cut > 4:  # shorter ends are found in other words, too
            assert secret[cut:] not in behind, cut
        assert secret not in shown + behind


@pytest.mark.parametrize("secret", [SECRETS[0], SECRETS[5], SECRETS[6]])
def test_pauses_after_each_byte(secret: bytes) -> None:
    """What marks a secret as one is all that is seen of it."""
    stream = Redactor(LOOKS)
    shown = b"".join(stream.feed(bytes([each])) + stream.idle() for each in b"x " + secret + b" y\n") + stream.flush()
    assert shown.startswith(b"x " + secret[:2])
    assert shown.endswith(REDACTED + b" y\n")
    assert len(shown) < len(b"x  y\n" + REDACTED) + len("-----BEGIN ")


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"ls", b" ", b"-la", b"\n", b"$ ", b"total 12", b"\r", b"x" * 90]), max_size=20))
def test_pauses_change_nothing_else(pieces: list[bytes]) -> None:
    """Where nothing is found, all comes out, once."""
    stream = Redactor(LOOKS)
    assert b"".join(stream.feed(each) + stream.idle() for each in pieces) + stream.flush() == b"".join(pieces)


def test_a_word_without_an_end_is_masked_and_dropped() -> None:
    stream = Redactor(LOOKS)
    out = stream.feed(b"begin ") + b"".join(stream.feed(b"a" * 4096) for _ in range(2 * MOST_HELD // 4096))
    out += stream.feed(b"aaa rest of it\n") + stream.flush()
    assert out == b"begin " + REDACTED + b" rest of it\n"
    starred = Redactor(LOOKS, stars=True)
    text = b"begin " + b"a" * (2 * MOST_HELD) + b" rest\n"
    assert len(through(starred, [text[i : i + 5000] for i in range(0, len(text), 5000)])) == len(text)


def test_a_private_key_without_an_end_does_not_pass() -> None:
    stream = Redactor(LOOKS)
    body = b"-----BEGIN PRIVATE KEY-----\n" + b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZn\n" * 6000
    out = b"".join(stream.feed(body[i : i + 1000]) for i in range(0, len(body), 1000)) + stream.flush()
    assert out == REDACTED


def test_a_failing_scan_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        own_bytes = b""

        class scanner:  # noqa: N801
            @staticmethod
            def scan(data: bytes) -> list[tuple[int, int, int]]:
                raise MemoryError

    looks = Detecting.all(Detectors(["email"]), MaskMethod.REDACT, KEY)
    monkeypatch.setattr(looks, "detectors", Broken())
    assert through(Redactor(looks), [b"harmless text\n"]) == REDACTED


def test_by_detectors_and_method() -> None:
    stream = redactor(Detectors(["card"]), MaskMethod.PARTIAL, KEY)
    assert through(stream, [b"4111111111", b"111111 ann@example.com"]) == b"************1111 ann@example.com"
    assert through(redactor(LOOKS), [b"ann@example.com"]) == REDACTED
