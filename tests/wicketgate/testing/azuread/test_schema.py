"""What follows from a description: names, zero values, the orders of sets."""

import zlib

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.schema import (
    OPTIONAL,
    REQUIRED,
    flag,
    holds_defaults_only,
    is_zero,
    mapping,
    objects,
    one,
    request_order,
    sort_set,
    text,
    texts,
    tf_name,
    whole,
    zero,
)


def test_terraform_names() -> None:
    assert tf_name("oauth2PermissionScopeIds") == "oauth2_permission_scope_ids"
    assert tf_name("appRoles", objects(OPTIONAL, {}, tf="app_role")) == "app_role"


def test_zero_values() -> None:
    fields = [text(OPTIONAL), flag(OPTIONAL), whole(OPTIONAL), texts(OPTIONAL), mapping(OPTIONAL), one(OPTIONAL, {})]
    assert [zero(field) for field in fields] == ["", False, 0, [], {}, None]
    assert all(is_zero(zero(field)) for field in fields)
    assert not is_zero(UNKNOWN)
    assert not is_zero("x")


def test_a_block_that_says_nothing() -> None:
    block = {"v": whole(OPTIONAL, default=1), "g": one(OPTIONAL, {"f": flag(OPTIONAL)}), "u": texts(OPTIONAL)}
    assert holds_defaults_only(block, {"v": 1, "g": {"f": False}, "u": []})
    assert not holds_defaults_only(block, {"v": 2})
    assert not holds_defaults_only(block, {"g": {"f": True}})


def test_sets_of_texts_are_sorted_and_without_duplicates() -> None:
    assert sort_set(["b", "a", "b"]) == ["a", "b"]
    assert sort_set(["b", UNKNOWN, "a", UNKNOWN]) == ["a", "b", UNKNOWN]


def test_sets_of_objects_are_sorted_by_their_hash_bytes() -> None:
    first, second = {"name": "b", "id": "1"}, {"name": "a", "id": "2"}
    # By `id`, the first attribute in the order of names.
    assert sort_set([second, first]) == [first, second]
    assert sort_set([first, {**first}]) == [first]


def test_requests_walk_a_set_by_hash() -> None:
    """The Terraform SDK: the decimal text of the CRC-32 of the text, with `;` unless the schema hashes it plain."""
    values = ["alpha", "beta", "gamma", "delta"]
    plain = sorted(values, key=lambda item: str(zlib.crc32(item.encode())))
    closed = sorted(values, key=lambda item: str(zlib.crc32(f"{item};".encode())))
    assert request_order(texts(OPTIONAL, plain_hash=True), values) == plain
    assert request_order(texts(OPTIONAL), values) == closed


def test_objects_are_hashed_by_what_may_be_set() -> None:
    field = objects(OPTIONAL, {"b": flag(OPTIONAL), "a": text(REQUIRED), "l": texts(OPTIONAL)})
    one_, two = {"a": "x", "b": True, "l": ["q"]}, {"a": "y", "b": False, "l": []}
    codes = {"x": zlib.crc32(b"a:x;b:1;l:{q;};"), "y": zlib.crc32(b"a:y;b:0;l:{};")}
    expected = sorted([one_, two], key=lambda item: str(codes[str(item["a"])]))
    assert request_order(field, [two, one_]) == expected
