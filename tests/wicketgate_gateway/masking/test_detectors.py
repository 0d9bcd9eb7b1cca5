"""Detectors find what they should, exactly, whatever stands around it; native and twin agree."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS, Confirm, Detector, Mask, MaskMethod
from wicketgate_gateway.masking import detectors as module
from wicketgate_gateway.masking.detectors import Detecting, DetectorError, Detectors, detecting
from wicketgate_gateway.masking.text import REDACTED, digest

KEY = b"k" * 32
OWN = {
    "order": Detector(pattern="ORD-[0-9]{8}"),
    "member": Detector(pattern="M[0-9]{6}", confirm=Confirm.LUHN),
}
EVERY = (*BUILT_IN_DETECTORS, *OWN)
AROUND = [(b"", b""), (b'{"a": "', b'"}'), (b"x ", b"\n"), (b"(", b")"), (b"\0\0\0\x10", b"\xff"), (b"'", b"',")]


@pytest.fixture(scope="session", params=["native", "twin"])
def every(request: pytest.FixtureRequest) -> Detectors:
    return Detectors(EVERY, OWN, twin=request.param == "twin")


def test_the_native_core_is_there() -> None:
    assert hasattr(Detectors(EVERY, OWN).scanner, "mask")


def test_true_positives(every: Detectors, true_samples: list[tuple[str, bytes]]) -> None:
    for name, text in true_samples:
        for before, after in AROUND:
            found = [hit for hit in every.scan(before + text + after) if hit.name == name]
            assert found, (name, text)
            start, end = found[0][:2]
            assert (start, end) == (len(before), len(before) + len(text)), (name, text, before, after, found)


def test_false_positives(every: Detectors, false_samples: list[tuple[str, bytes]]) -> None:
    for name, text in false_samples:
        assert [hit for hit in every.scan(text) if hit.name == name] == [], (name, text)


def test_prose_code_and_identifiers_have_no_hits(every: Detectors) -> None:
    text = b"""
    INSERT INTO t VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1700000000000000, '2024-05-01T10:20:30+00:00');
    def f(a, *, b: int = 1_000_000) -> dict[str, int]: return {"sk": a @ b}  # version 1.2.3-rc.4+build.5
    sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 https://example.com/a/b?c=d&e=f
    pip install scikit-learn==1.5.0; git@github: the team; x = y + 12345678; ISBN 978-3-16-148410-0
    """
    assert every.scan(text) == []


def test_context_stays_readable(every: Detectors) -> None:
    secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for text in (
        b"aws_secret_access_key = " + secret,
        b'"SecretAccessKey": "' + secret + b'"',
        b"DefaultEndpointsProtocol=https;AccountKey=" + secret + b"==",
        b"https://x.blob.core.windows.net/c?sv=1&sig=" + secret,
    ):
        hits = [hit for hit in every.scan(text) if hit.name == "api-key"]
        assert len(hits) == 1, text
        assert text[hits[0].start :].startswith(secret)


def test_own_patterns_and_their_checks(every: Detectors) -> None:
    assert [hit.name for hit in every.scan(b"ORD-12345678 M123455 M123456")] == ["order", "member"]


def test_through_escapes(every: Detectors) -> None:
    key = b"AKIAIOSFODNN7EXAMPLE"
    escaped = b"".join(b"\\u%04x" % byte for byte in key)
    colours = b"\x1b[1m".join(bytes((byte,)) for byte in key)
    percent = b"ann%40example.com"
    hexed = b"\\x" + key.hex().encode()
    for text, name in ((escaped, "api-key"), (colours, "api-key"), (percent, "email"), (hexed, "api-key")):
        start = 2 if text is hexed else 0
        assert any(hit[:] == (start, len(text), name) for hit in every.scan(text)), text


seeds = st.sampled_from(
    [
        b"AKIAIOSFODNN7EXAMPLE",
        b"4111 1111 1111 1111",
        b"3782",
        b"DE89 3704 0044 0532 0130 00",
        b"ann@example.com",
        b"+49 151 23456789",
        b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        b"-----BEGIN PRIVATE KEY-----",
        b"-----END PRIVATE KEY-----",
        b"\\u0041",
        b"\x1b[0m",
        b"\x1b",
        b"\\x414b4941494f53464f444e4e374558414d504c45",
        b"%40",
        b"\\",
        b"\\/",
        b"ORD-12345678",
        b"M123455",
        b"aws_secret_access_key",
        b"sig=",
        b"A" * 40,
        b"8Q~",
        "ü".encode(),
        b" ",
        b"-",
        b"1",
        b'": "',
        b"\0",
    ]
)
texts = st.lists(seeds | st.binary(max_size=6) | st.tuples(seeds, st.integers(0, 20)).map(lambda p: p[0][: p[1]])).map(
    b"".join
)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_native_and_twin_agree(data: bytes) -> None:
    assert Detectors(EVERY, OWN).scan(data) == Detectors(EVERY, OWN, twin=True).scan(data)


@settings(deadline=None)
@given(texts)
def test_masked_text_is_what_stands_between_the_hits(data: bytes) -> None:
    looks = Detecting([([Mask(detect=list(EVERY), method=MaskMethod.NULL)], OWN)], KEY)
    hits = looks.detectors.scan(data)
    hidden = {at for hit in hits for at in range(hit.start, hit.end)}
    masked = looks.text(data)
    assert (masked is data) == (not hits)
    assert masked == bytes(byte for at, byte in enumerate(data) if at not in hidden)


def mask(method: MaskMethod, *names: str) -> Mask:
    return Mask(detect=list(names), method=method)


def test_each_method_in_place() -> None:
    text = b"card 4111-1111-1111-1111, ann@example.com"
    for method, wanted in (
        (MaskMethod.REDACT, b"card " + REDACTED + b", " + REDACTED),
        (MaskMethod.PARTIAL, b"card ***************1111, a***@example.com"),
        (MaskMethod.NULL, b"card , "),
        (MaskMethod.HASH, b"card " + digest(b"4111-1111-1111-1111", KEY) + b", " + digest(b"ann@example.com", KEY)),
    ):
        assert Detecting([([mask(method, "card", "email")], {})], KEY).text(text) == wanted
    shaped = Detecting([([mask(MaskMethod.FORMAT, "card", "email")], {})], KEY).text(text)
    assert len(shaped) == len(text)
    assert shaped != text
    assert shaped[5 + 4 :: 5][:3] == b"---"


def test_the_strictest_method_wins_and_own_detectors_stay_apart() -> None:
    one = {"id": Detector(pattern="A[0-9]{4}")}
    two = {"id": Detector(pattern="B[0-9]{4}")}
    looks = Detecting(
        [([mask(MaskMethod.PARTIAL, "id"), mask(MaskMethod.REDACT, "id")], one), ([mask(MaskMethod.NULL, "id")], two)],
        KEY,
    )
    assert looks.text(b"<A1234> <B1234>") == b"<" + REDACTED + b"> <>"
    assert looks.strictest is MaskMethod.NULL


def test_hexadecimal_stays_hexadecimal() -> None:
    looks = Detecting([([mask(MaskMethod.REDACT, "api-key")], {})], KEY)
    masked = looks.text(b"{\\x00" + b"AKIAIOSFODNN7EXAMPLE".hex().encode() + b"00}")
    assert bytes.fromhex(masked[3:-1].decode()) == b"\0" + REDACTED + b"\0"


def test_numbers_of_json_become_texts() -> None:
    looks = Detecting([([mask(MaskMethod.REDACT, "card")], {})], KEY)
    found = json.loads(looks.text(b'{"a": [4111111111111111, 5], "b": "4111111111111111"}', quote=True))
    assert found == {"a": ["•••", 5], "b": "•••"}
    assert json.loads(looks.text(b'{"m":4111111111111111.50,"n":-1}', quote=True)) == {"m": "•••", "n": -1}


def test_a_scan_that_fails_masks_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Detecting([([mask(MaskMethod.REDACT, "card")], {})], KEY)

    def fail(data: bytes) -> list[tuple[int, int, int]]:
        raise MemoryError

    monkeypatch.setattr(looks, "_scan", fail)
    assert looks.text(b"harmless") == REDACTED
    assert looks.shown("harmless") == REDACTED.decode()
    assert looks.holds_secret(b"harmless")


def test_secrets_are_told_from_other_finds() -> None:
    looks = Detecting([([mask(MaskMethod.REDACT, "card", "api-key")], {})], KEY)
    assert looks.holds_secret(b"AKIAIOSFODNN7EXAMPLE")
    assert not looks.holds_secret(b"4111111111111111")


def test_what_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no detector is called `nix`"):
        Detectors(["nix"])
    with pytest.raises(ValueError, match="linear time"):
        Detectors(["x"], {"x": Detector.model_construct(pattern="a(?=b)", confirm=None)})


def test_without_the_native_core_own_patterns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_native", lambda: None)
    module._compiled.cache_clear()
    try:
        with pytest.raises(DetectorError, match="native core"):
            Detectors(["order"], OWN)
        assert [hit.name for hit in Detectors(["email"]).scan(b"ann@example.com")] == ["email"]
    finally:
        module._compiled.cache_clear()


def test_a_policy_without_detectors_has_none() -> None:
    class Policy:
        detectors = ()

    assert detecting(Policy(), KEY) is None
