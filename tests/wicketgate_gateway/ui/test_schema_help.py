"""The help says what the schema says."""

from __future__ import annotations

from wicketgate_gateway.ui import schema_help


def test_every_key_of_a_policy_is_named_and_led_to() -> None:
    found = {section.id: section for section in schema_help.sections()}
    policy = next(iter(found.values()))
    keys = {key.name: key for key in policy.keys}
    assert {"policy", "targets", "rules", "mask", "record"} <= set(keys)
    assert keys["policy"].needed
    assert not keys["mask"].needed
    assert keys["rules"].kind.startswith("list of ")
    for section in found.values():
        for key in section.keys:
            assert key.kind, (section.id, key.name)
            assert set(key.parts) <= set(found)
    assert any("allow" in {key.name for key in section.keys} for section in found.values())
    assert any(section.words for section in found.values())


def test_kinds_in_words() -> None:
    assert schema_help._kind({"anyOf": [{"type": "string"}, {"type": "null"}]}) == "text"
    assert schema_help._kind({"type": "array", "items": {"$ref": "#/$defs/Rule"}}) == "list of Rule"
    assert schema_help._kind({"type": "object", "additionalProperties": {"type": "integer"}}) == "names to number"
    assert schema_help._kind({"enum": ["a", "b"]}) == "a or b"
