"""Graph paths."""

import pytest

from wicketgate.testing.entra.paths import PathError, Segment, parse_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("applications", [Segment("applications")]),
        ("/groups/1/members/$ref/", [Segment("groups"), Segment("1"), Segment("members"), Segment("$ref")]),
        ("applications(appId='a-b')", [Segment("applications", "a-b", "appId")]),
        ("applications(appId = 'it''s')/owners", [Segment("applications", "it's", "appId"), Segment("owners")]),
        ("users('ada@x.example')", [Segment("users", "ada@x.example")]),
        ("microsoft.graph.delta()", [Segment("microsoft.graph.delta")]),
    ],
)
def test_paths(path: str, expected: list[Segment]) -> None:
    assert parse_path(path) == expected


@pytest.mark.parametrize("path", ["", "/", "a//b", "applications(5)", "applications(appId='a',b='c')", "a('b"])
def test_malformed_paths(path: str) -> None:
    if path == "a('b":
        assert parse_path(path) == [Segment("a('b")]
        return
    with pytest.raises(PathError):
        parse_path(path)


def test_casts() -> None:
    assert Segment("microsoft.graph.group").cast == "group"
    assert Segment("graph.servicePrincipal").cast == "servicePrincipal"
    assert Segment("graphic").cast is None
