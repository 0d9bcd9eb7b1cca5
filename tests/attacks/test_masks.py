"""Every text of `masks.yaml`, and made-up ones, through the real gateway: none of them tells a masked value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.masks import sessions
from fuzz.worlds import PROTOCOLS, SHAPES, Worlds, around, worlds
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.slow
CORPUS: dict[str, dict[str, str | list[str]]] = yaml.safe_load((Path(__file__).parent / "masks.yaml").read_text())
ATTACKS = [
    pytest.param(expected, texts if isinstance(texts, list) else [texts], id=f"{expected}: {name}")
    for expected, group in CORPUS.items()
    for name, texts in group.items()
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Both worlds; when all is done, what was recorded of it must hold no canary either."""
    with worlds(tmp_path_factory.mktemp("worlds")) as found:
        yield found
        for where, data in found.left_behind():
            for shape in SHAPES:
                assert shape not in data.lower(), f"a canary is in {where}: {around(data, shape)!r}"


def test_the_corpus_is_large_and_each_attack_is_another() -> None:
    texts = ["; ".join(parameters.values[1]) for parameters in ATTACKS if parameters.values[0] != "legit"]
    assert len(texts) >= 120
    assert len(set(texts)) == len(texts)
    assert CORPUS.keys() == {"masked", "refused", "either", "legit"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("expected", "texts"), ATTACKS)
def test_attack(both: Worlds, expected: str, texts: list[str], protocol: Callable[[str], bytes]) -> None:
    came = both.check(texts, protocol)
    if expected == "refused":
        assert came, "nothing came of it"
        assert came[-1].startswith("denied"), came
    elif expected in ("masked", "legit"):
        several = protocol is not PROTOCOLS[0] and ";" in texts[-1]
        assert set(came) <= {"42601"} if several else set(came) <= {"rows"}, came


def test_what_masks_are_not_about_comes_as_it_is(both: Worlds) -> None:
    wire = both.wires[0]

    def rows(text: str) -> list[list[bytes | None]]:
        return [m.read_data_row(body) for kind, body in wire.run(m.query(text)) if kind == "D"]

    assert rows("SELECT name, lower(name), upper(city) || '!' FROM people WHERE id = 3") == [
        [b"Name 3", b"name 3", b"CITY 3!"]
    ]
    assert rows("SELECT id, who, mail, size FROM contacts WHERE id = 3") == [
        [b"3", b"NAME 3", b"k***@zz.example", rows("SELECT length(email) FROM people WHERE id = 3")[0][0]]
    ]
    assert rows("SELECT count(*), max(name) FROM people WHERE id < 3") == [[b"2", b"Name 2"]]
    assert rows("SELECT name, email FROM people WHERE id = 5") == [[b"Name 5", None]]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=sessions(), protocol=st.sampled_from(PROTOCOLS))
def test_made_up_sessions(both: Worlds, texts: list[str], protocol: Callable[[str], bytes]) -> None:
    both.check(texts, protocol)
