"""Which columns of a catalogue are masked, and how."""

import msgspec
import pytest

from wicketgate_gateway.contract.catalogue import Relation
from wicketgate_gateway.contract.policy import Mask, MaskMethod
from wicketgate_gateway.masking.masks import STRICTNESS, Masks, strictest
from wicketgate_gateway.policy.names import CatalogueIndex, Name

PARTIAL, HASH, REDACT, NULL = MaskMethod.PARTIAL, MaskMethod.HASH, MaskMethod.REDACT, MaskMethod.NULL


def masks(*columns: str, names: tuple[str, ...] = (), method: MaskMethod = PARTIAL) -> Masks:
    found = [Mask(columns=list(columns), method=method)] if columns else []
    return Masks([*found, *([Mask(names=list(names), method=method)] if names else [])])


def masked(masks_: Masks, catalogue) -> dict[str, dict[str, str]]:
    found = masks_.in_catalogue(CatalogueIndex(catalogue)).by_name
    return {str(name): {c: m.value for c, m in relation.names.items()} for name, relation in found.items()}


def test_the_method_that_tells_least_wins():
    assert set(STRICTNESS) == set(MaskMethod)
    assert strictest([PARTIAL, HASH, None]) is HASH
    assert strictest([REDACT, HASH, PARTIAL]) is REDACT
    assert strictest([NULL, REDACT]) is NULL
    assert strictest([None]) is None
    assert Masks([]).strictest is NULL


def test_columns_by_pattern(make_catalogue):
    catalogue = make_catalogue("customers(id, email)", "other.customers(id, email)", "orders(email2)")
    assert masked(masks("public.customers.email"), catalogue) == {"public.customers": {"email": "partial"}}
    assert set(masked(masks("*.customers.*"), catalogue)) == {"public.customers", "other.customers"}
    assert set(masked(masks("*.*.email*"), catalogue)) == {"public.customers", "other.customers", "public.orders"}
    assert masked(masks("public.Customers.email"), catalogue) == {}


def test_names_mask_columns_of_that_name_everywhere_too(make_catalogue):
    found = masks(names=("*_KEY",), method=REDACT)
    catalogue = make_catalogue("t(id, api_key)", "u(public_key)", "w(keys)")
    assert masked(found, catalogue) == {"public.t": {"api_key": "redact"}, "public.u": {"public_key": "redact"}}
    assert found.of_label("Api_Key") is REDACT
    assert found.of_label("api_keys") is None
    assert masks("a.b.c").of_label("c") is None


def test_where_two_masks_meet_the_stricter_holds(make_catalogue):
    both = Masks([Mask(columns=["public.t.a"], method=REDACT), Mask(columns=["*.*.*"], method=PARTIAL)])
    assert masked(both, make_catalogue("t(a, b)")) == {"public.t": {"a": "redact", "b": "partial"}}
    assert both.strictest is REDACT


class TestViews:
    def test_one_that_refers_to_a_masked_column_is_masked_whole(self, make_catalogue):
        catalogue = make_catalogue(
            "t(id, email)",
            "v:mail(a, b) < t.email",
            "v:ids(x) < t.id",
            "m:deep(y) < mail.a",
            "v:row(z) < t",
            "v:one(o) < ids.x",
        )
        assert masked(masks("public.t.email"), catalogue) == {
            "public.t": {"email": "partial"},
            "public.mail": {"a": "redact", "b": "redact"},
            "public.deep": {"y": "redact"},
            "public.row": {"z": "redact"},
        }

    def test_it_has_the_strictest_method_of_what_it_refers_to(self, make_catalogue):
        both = Masks([Mask(columns=["public.t.a"], method=PARTIAL), Mask(columns=["public.t.b"], method=NULL)])
        catalogue = make_catalogue("t(a, b)", "v:v(x) < t.a t.b", "v:w(y) < t.a")
        found = masked(both, catalogue)
        assert found["public.v"] == {"x": "null"}
        assert found["public.w"] == {"y": "redact"}

    def test_its_definition_says_which_column_shows_what(self, make_catalogue):
        catalogue = make_catalogue("t(id, email)", "v:mail(a, b, c) < t.id t.email", "v:odd(a, b) < t.id")
        text = "SELECT t.id, t.email, upper(t.email) FROM public.t WHERE t.email IS NOT NULL"
        catalogue.relations[1] = msgspec.structs.replace(catalogue.relations[1], definition=text)
        # What pg_depend does not confirm does not count.
        text = "SELECT t.id, t.email FROM public.t"
        catalogue.relations[2] = msgspec.structs.replace(catalogue.relations[2], definition=text)
        assert masked(masks("public.t.email"), catalogue) == {
            "public.t": {"email": "partial"},
            "public.mail": {"b": "partial", "c": "redact"},
        }
        catalogue.relations[2].sources.append((20000, 2))
        assert masked(masks("public.t.email"), catalogue)["public.odd"] == {"b": "partial"}

    def test_one_over_something_unknown_is_masked(self, make_catalogue):
        catalogue = make_catalogue("t(a)", "v:v(x)", "v:sys(y)", "v:stats(z)")
        catalogue.relations[1].sources.append((99999, 1))
        catalogue.relations[2].sources.append((1259, 2))  # pg_class
        catalogue.relations[3].sources.append((2619, 28))  # pg_statistic
        assert set(masked(masks("public.t.a"), catalogue)) == {"public.t", "public.v", "public.stats"}

    def test_a_loop_ends(self, make_catalogue):
        catalogue = make_catalogue("t(a)", "v:v(x) < t.a", "v:w(y) < v.x")
        v, w = catalogue.relations[1], catalogue.relations[2]
        v.sources.append((w.oid, 1))
        v.sources.append((v.oid, 1))
        assert set(masked(masks("public.t.a"), catalogue)) == {"public.t", "public.v", "public.w"}

    def test_columns_that_came_later_are_masked_by_the_whole(self, make_catalogue):
        found = masks("public.t.a").in_catalogue(CatalogueIndex(make_catalogue("t(a)", "v:v(x) < t.a")))
        assert found.by_name[Name("public", "v")].whole is MaskMethod.REDACT
        assert found.by_name[Name("public", "t")].whole is None


def test_a_generated_column_has_the_masks_of_what_it_is_computed_from(make_catalogue):
    catalogue = make_catalogue(
        "t(id, email, lowered, half, other)", "v:v(x) < t.half", generated=[(20000, 3, 2), (20000, 4, 3), (20000, 5, 1)]
    )
    assert masked(masks("public.t.email"), catalogue) == {
        "public.t": {"email": "partial", "lowered": "redact", "half": "redact"},
        "public.v": {"x": "redact"},
    }


class TestInheritance:
    def test_masks_go_down_and_up_by_name(self, make_catalogue):
        catalogue = make_catalogue(
            "p(id, email)", "c(email, id)", "g(id, email)", "x(email)", inherits=[(20001, 20000), (20002, 20001)]
        )
        for named in ("p", "c", "g"):
            assert masked(masks(f"public.{named}.email"), catalogue) == {
                f"public.{name}": {"email": "partial"} for name in ("p", "c", "g")
            }

    def test_views_over_children_are_masked_too(self, make_catalogue):
        catalogue = make_catalogue("p(email)", "c(email)", "v:v(x) < c.email", inherits=[(20001, 20000)])
        assert set(masked(masks("public.p.email"), catalogue)) == {"public.p", "public.c", "public.v"}

    def test_a_pair_with_an_unknown_end_is_passed_over(self, make_catalogue):
        catalogue = make_catalogue("p(email)", inherits=[(99999, 20000), (20000, 99998), (20000, 20000)])
        assert set(masked(masks("public.p.email"), catalogue)) == {"public.p"}


def test_a_catalogue_is_worked_out_once_and_few_are_kept(make_catalogue):
    found = masks("public.t.a")
    indexes = [CatalogueIndex(make_catalogue("t(a)")) for _ in range(10)]
    assert found.in_catalogue(indexes[0]) is found.in_catalogue(indexes[0])
    for index in indexes:
        found.in_catalogue(index)
    assert len(found._known) <= 4


@pytest.mark.parametrize("count", [3000])
def test_a_large_catalogue_takes_well_under_a_second(make_catalogue, count: int):
    import time

    catalogue = make_catalogue("t(a)")
    for i in range(count):
        source = (catalogue.relations[-1].oid, 1)
        catalogue.relations.append(
            Relation(30000 + i, "public", f"v{i}", "v", catalogue.relations[0].columns, [source])
        )
    start = time.perf_counter()
    found = masks("public.t.a").in_catalogue(CatalogueIndex(catalogue))
    assert len(found.by_oid) == count + 1
    assert time.perf_counter() - start < 5  # a chain in the worst order would be quadratic
