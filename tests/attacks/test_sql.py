"""Every text of `sql.yaml`, through the real gateway, by the simple and by the extended protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.session.secrets import without_literals
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.slow
_NUMBER = re.compile(r"(?<![\w.])\d+")
CORPUS: dict[str, dict[str, str | list[str]]] = yaml.safe_load((Path(__file__).parent / "sql.yaml").read_text())
ATTACKS = [
    pytest.param(expected, texts if isinstance(texts, list) else [texts], id=f"{expected}: {name}")
    for expected, group in CORPUS.items()
    for name, texts in group.items()
]


def simple(text: str) -> bytes:
    return m.query(text)


def extended(text: str) -> bytes:
    """As drivers do it; results in binary; a value for each of two parameters, if there are any."""
    values = [b"secrets"] * (2 if "$2" in text else 1 if "$1" in text else 0)
    return (
        m.parse("", text) + m.describe(b"S", "") + m.bind("", "", values, [], [1]) + m.describe(b"P", "")
        + m.execute("") + m.SYNC
    )  # fmt: skip


@pytest.fixture(scope="module")
def session(ground: Any) -> Callable[[], Any]:
    """One session for many texts, as long as it lives."""
    wires: list[Any] = []

    def get() -> Any:
        if not wires or wires[-1].closed:
            wires.append(ground.connect())
        return wires[-1]

    return get


def test_the_corpus_is_large_and_each_attack_is_another() -> None:
    texts = [str(parameters.values[1]) for parameters in ATTACKS]
    assert len(texts) >= 150
    assert len(set(texts)) == len(texts)
    assert CORPUS.keys() == {"denied", "blind"}


@pytest.mark.parametrize("protocol", [simple, extended])
@pytest.mark.parametrize(("expected", "texts"), ATTACKS)
def test_attack(
    ground: Any, session: Callable[[], Any], expected: str, texts: list[str], protocol: Callable[[str], bytes]
) -> None:
    wire = session()
    before, known = ground.digest(), len(ground.events())
    wire.seen.clear()
    found: list[tuple[str, bytes]] = []
    for text in texts:
        wire.send(protocol(text))
        found = wire.ready()
    errors = [m.read_report(body) for kind, body in found if kind == "E"]
    seen = bytes(wire.seen)
    if not wire.closed:
        wire.send(m.query("ROLLBACK"))
        assert wire.ready()[-1] == ("Z", b"I"), "the session is not usable any more"
    ground.clean(seen)
    assert ground.digest() == before, "something has changed"
    if expected == "denied":
        assert errors, f"it went through: {found}"
        operation = ground.operation(errors[0])
        assert operation.effect == "deny"
        shown = texts[-1].replace("PASSWORD 'x'", "PASSWORD '***'")
        # Numbers are not recorded where they may be values of masked columns.
        assert operation.statement in (shown, _NUMBER.sub("0", shown))
        assert operation.reason
        assert operation.target == "orders-db"
        assert not any(kind == "D" for kind, _ in found)
    else:
        recorded = [e.statement for e in ground.events()[known:] if isinstance(e, Operation)]
        for text in texts:
            # What the server itself refuses before it runs has no Execute, and so no operation.
            shown = {text, without_literals(text)}  # literals that may be values of masked columns are left out
            assert shown & set(recorded) or errors, f"`{text}` is not on record"
