from __future__ import annotations

import typing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.audit.events import AuditEvent, Event, Operation

KINDS: tuple[type[Event], ...] = typing.get_args(AuditEvent)


def test_each_event_is_in_the_union_with_a_tag_of_its_own() -> None:
    assert set(KINDS) == set(Event.__subclasses__())
    tags = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(tags)) == len(tags)
    assert all(isinstance(tag, str) and tag == tag.lower() and " " not in tag for tag in tags)


def build(kind: type[Event]) -> st.SearchStrategy[Event]:
    # Fields with a factory for their default must be given.
    hints = typing.get_type_hints(kind)
    made = [field.name for field in msgspec.structs.fields(kind) if field.default_factory is not msgspec.NODEFAULT]
    return st.builds(kind, **{name: st.from_type(hints[name]) for name in made})


@given(st.one_of([build(kind) for kind in KINDS if kind is not Operation]))
def test_round_trip(event: AuditEvent) -> None:
    for codec in (msgspec.msgpack, msgspec.json):
        try:
            data = codec.encode(event)
        except (OverflowError, UnicodeEncodeError):  # integers over 64 bits, lone surrogates
            return
        assert codec.decode(data, type=AuditEvent) == event  # type: ignore[arg-type]


@given(st.text(st.characters(codec="utf-8")), st.none() | st.lists(st.none() | st.binary()))
def test_an_operation_keeps_text_and_parameters(statement: str, parameters: list[bytes | None] | None) -> None:
    event = Operation(time=1, session="s", seq=1, statement=statement, effect="allow", rule="r", parameters=parameters)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=AuditEvent) == event  # type: ignore[arg-type]
