"""Canonical bytes and digests: different operations never share one."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.approvals import digest as digests
from wicketgate_gateway.approvals.model import Held, Parameter, Request

_UTF8 = st.text(st.characters(codec="utf-8"), max_size=20)
_HELD = st.builds(
    Held,
    bot_id=_UTF8,
    bot=_UTF8,
    owner=_UTF8,
    owner_id=_UTF8,
    target=_UTF8,
    protocol=_UTF8,
    session=_UTF8,
    statement=_UTF8,
    parameters=st.lists(
        st.builds(Parameter, _UTF8, st.integers(0, 1), st.none() | st.binary(max_size=10)), max_size=3
    ).map(tuple),
    facts=st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=10), _UTF8, max_size=3),
    policy=_UTF8,
    reason=_UTF8,
    blast=st.none() | st.dictionaries(st.just("rows"), st.integers(0, 2**53)),
)
_BOUND = ("bot_id", "target", "protocol", "statement", "parameters", "facts", "policy")


def made(held: Held, rule: str = "p#1") -> Request:
    text = digests.operation_text(held, rule)
    request = Request(
        **{name: getattr(held, name) for name in digests.HELD_FIELDS},
        handle="hold-1",
        digest=digests.digest_of_operation(text),
        seal="",
        rule=rule,
        approver_groups=("g",),
        approver_names=("dba",),
        quorum=2,
        created=1,
        expires=2,
        use_within=0.25,
        reuse=None,
    )
    return dataclasses.replace(request, seal=digests.seal_of_terms(digests.terms_text(request)))


@given(_HELD, _HELD)
def test_equal_digests_mean_equal_operations(one: Held, other: Held) -> None:
    same = all(getattr(one, name) == getattr(other, name) for name in _BOUND)
    assert (digests.operation_digest(one, "r") == digests.operation_digest(other, "r")) is same
    assert digests.operation_digest(one, "r") != digests.operation_digest(one, "s")


@given(_HELD, st.sampled_from(_BOUND), st.data())
def test_each_bound_field_counts(held: Held, name: str, data: Any) -> None:
    other = dataclasses.replace(held, **{name: getattr(data.draw(_HELD), name)})
    same = getattr(held, name) == getattr(other, name)
    assert (digests.operation_digest(held, "r") == digests.operation_digest(other, "r")) is same


@given(_HELD)
def test_what_is_written_is_what_is_read(held: Held) -> None:
    request = made(held)
    read = digests.read(
        digests.operation_text(held, "p#1"),
        digests.terms_text(request),
        digest=request.digest,
        seal=request.seal,
        handle=request.handle,
    )
    assert Request(**read) == request


SEALED = {
    "handle": "hold-2",
    "approver_groups": ("h",),
    "approver_names": ("dbas",),
    "quorum": 1,
    "created": 9,
    "expires": 9,
    "use_within": 9.0,
    "reuse": 9.0,
    "reason": "another",
    "blast": {"rows": 9},
    "bot": "another",
    "owner": "another",
    "owner_id": "another",
    "session": "another",
    "digest": "another",
}


@pytest.mark.parametrize("name", SEALED)
def test_each_term_is_sealed(name: str) -> None:
    request = made(_example())
    changed = dataclasses.replace(request, **{name: SEALED[name]})
    assert digests.seal_of_terms(digests.terms_text(changed)) != request.seal


def test_every_field_is_bound_sealed_or_only_says_where_it_stands() -> None:
    fields = {f.name for f in dataclasses.fields(Request)}
    standing = {"seal", "state", "decided", "use_by", "uses", "note", "votes"}
    assert fields == {*_BOUND, "rule", *SEALED, *standing}


def test_the_form_is_that_of_rfc_8785() -> None:
    # The example of section 3.2.2, but for its numbers that are no whole ones.
    value = {"string": '€$\x0f\nA\'B"\\\\"/', "literals": [None, True, False], "numbers": [333333333, 4]}
    assert digests.canonical(value) == (
        '{"literals":[null,true,false],"numbers":[333333333,4],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@pytest.mark.parametrize("value", [1.5, float("nan"), {1: 2}, {"ä": 1}, b"x", "\ud800", {"a": {"b"}}, [object()]])
def test_what_has_no_canonical_form(value: object, refused: Any) -> None:
    with refused("hold-not-canonical"):
        digests.canonical(value)


def test_an_operation_cannot_pass_for_terms() -> None:
    text = digests.operation_text(_example(), "r")
    plain = hashlib.sha256(text.encode()).hexdigest()
    assert len({digests.digest_of_operation(text), digests.seal_of_terms(text), plain}) == 3


def test_terms_of_one_request_do_not_serve_another(refused: Any) -> None:
    held = _example()
    one, operation = made(held), digests.operation_text(held, "p#1")
    terms = digests.terms_text(one)
    with refused("approval-damaged"):
        digests.read(operation, terms, digest=one.digest, seal=one.seal, handle="hold-2")
    other = dataclasses.replace(held, statement="DROP TABLE orders")
    text = digests.operation_text(other, "p#1")
    with refused("approval-damaged"):
        digests.read(text, terms, digest=digests.digest_of_operation(text), seal=one.seal, handle=one.handle)


def _example() -> Held:
    return Held(
        bot_id="b",
        bot="bot",
        owner="group:x",
        owner_id="o",
        target="db",
        protocol="postgres",
        session="s",
        statement="DELETE FROM a",
        policy="p",
    )
