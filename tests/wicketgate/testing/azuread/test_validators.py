"""Single values: what passes, and the words for what does not."""

import pytest

from wicketgate.testing.azuread import validators as v

UUID = "aaaaaaaa-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (v.uuid, [UUID, UUID.upper()], ["", "x", UUID[:-1], f"{UUID}0", f"{{{UUID}}}"]),
        (v.not_empty, ["x", " "], [""]),
        (v.not_blank, ["x"], ["", " \t"]),
        (v.base64_text, ["aGk="], ["", "aGk", "*"]),
        (v.rfc3339, ["2026-01-01T01:02:03Z", "2026-01-01T01:02:03.5+02:00"], ["2026-01-01", "2026-13-01T00:00:00Z"]),
        (v.length(1, 3), ["a", "abc"], ["", "abcd", "éé"]),
        (v.one_of("a", "b"), ["a"], ["A", ""]),
        (v.claim_value, ["", "Bot.Read"], [".x", "a b", "x" * 250, "€"]),
        (v.mail_nickname, ["g-1"], ["a b", "a@b"]),
        (
            v.application_id,
            [f"/applications/{UUID}"],
            [UUID, "/applications/", f"/Applications/{UUID}", f"/applications/{UUID}/x"],
        ),
        (v.web_url, ["https://a.example", "http://a/b"], ["", "ftp://a", "a.example", "https://"]),
        (v.logout_url, ["https://a.example/x"], [f"https://a.example/{'x' * 255}"]),
        (
            v.redirect_uri(urn=True, any_scheme=False),
            ["https://a/b", "urn:a:b"],
            ["https://a", "app://a/b", "https://a/" + "x" * 256],
        ),
        (v.redirect_uri(urn=False, any_scheme=False), ["http://localhost/"], ["urn:a:b"]),
        (v.redirect_uri(urn=True, any_scheme=True), ["app://auth", "https://a"], ["app:auth"]),
    ],
)
def test_texts(check: v.Validator, good: list[str], bad: list[str]) -> None:
    assert [value for value in good if check(value, "key")] == []
    assert [value for value in bad if not check(value, "key")] == []


def test_numbers() -> None:
    assert v.between(1, 2)(2, "k") is None
    assert v.between(1, 2)(3, "k") == "expected k to be in the range (1 - 2), got 3"
    assert v.token_version(1, "k") is None
    assert v.token_version(0, "k") == "Value must be one of: 1, 2"


def test_the_real_words() -> None:
    assert v.uuid("x", "a.0") == 'expected "a.0" to be a valid UUID, got x'
    assert v.one_of("a", "b")("c", "k") == 'expected k to be one of ["a" "b"], got c'
    assert v.length(0, 2)("abc", "k") == "expected length of k to be in the range (0 - 2), got abc"


def test_ids_are_taken_apart() -> None:
    assert v.parse_id(f"/applications/{UUID}", "applications", "{a}") == {"a": UUID}
    assert v.parse_sub_id(f"{UUID}/member/{UUID}", "member", "Member ID") == (UUID, UUID)
    for wrong in (UUID, f"{UUID}/owner/{UUID}", f"x/member/{UUID}", f"{UUID}/member/x", f"/{UUID}/member/{UUID}"):
        with pytest.raises(ValueError, match="unable to parse Member ID"):
            v.parse_sub_id(wrong, "member", "Member ID")
