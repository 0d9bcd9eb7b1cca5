import pytest

from wicketgate_gateway.policy.names import (
    CatalogueIndex,
    Name,
    Pattern,
    index_of,
    resolve_function,
    resolve_relation,
    search_path,
)
from wicketgate_gateway.wire.postgres.sql.model import FunctionName, RelationName


@pytest.mark.parametrize(
    ("pattern", "names", "matches"),
    [
        ("public.*", ("public", "orders"), True),
        ("public.*", ("public", "a.b\nc"), True),
        ("public.*", ("Public", "orders"), False),
        ("public.*", ("publicx", "orders"), False),
        ("public.*", ("public",), False),
        ("*.orders", ("x", "orders"), True),
        ("*.orders", ("x", "orders\n"), False),
        ("p?.o*s", ("p1", "orders"), True),
        ("p?.o*s", ("p", "orders"), False),
        ("a.b+c", ("a", "b+c"), True),
        ("a.b+c", ("a", "bbc"), False),
        ("a.[x]", ("a", "x"), False),
        ("dblink*", ("dblink_exec",), True),
    ],
)
def test_patterns(pattern, names, matches):
    assert Pattern(pattern).matches(*names) is matches


def test_the_beginning_of_a_pattern():
    assert Pattern("public.c*.email").begins("public", "customers")
    assert not Pattern("public.c*.email").begins("public", "orders")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("public", ("public",)),
        ("", ()),
        ("  ", ()),
        ("''", None),
        ('""', ()),
        ("pg_catalog", ()),
        ("pg_catalog, public", ("public",)),
        ("app, public", ("app", "public")),
        ('"app",public', ("app", "public")),
        ("public, pg_catalog", None),
        ('"$user", public', None),
        ("pg_temp, public", None),
        ("pg_toast", None),
        ("Public", None),
        ("a b", None),
        ("public,,x", None),
    ],
)
def test_search_paths(text, path):
    assert search_path(text) == path


class TestRelations:
    def test_a_qualified_name_is_itself(self, orders):
        for index in (None, index_of(orders)):
            assert resolve_relation(RelationName("s", "t"), ("public",), index) == Name("s", "t")
            assert resolve_relation(RelationName("s", "t", "db"), ("public",), index) is None

    def test_a_bare_one_is_a_system_relation_first(self, orders):
        assert resolve_relation(RelationName(None, "pg_class"), ("public",), index_of(orders)) == (
            "pg_catalog",
            "pg_class",
        )
        assert resolve_relation(RelationName(None, "pg_mine"), ("public",), index_of(orders)) is None
        assert resolve_relation(RelationName(None, "pg_mine"), ("public",), None) == ("pg_catalog", "pg_mine")

    def test_then_one_of_the_path(self, make_catalogue):
        index = index_of(make_catalogue("b.t(x)", "a.u(x)", "c.w(x)"))
        assert resolve_relation(RelationName(None, "t"), ("a", "b"), index) == ("b", "t")
        assert resolve_relation(RelationName(None, "u"), ("a", "b"), index) == ("a", "u")
        assert resolve_relation(RelationName(None, "w"), ("a", "b"), index) is None
        assert resolve_relation(RelationName(None, "new"), ("a",), index) == ("a", "new")
        assert resolve_relation(RelationName(None, "t"), (), index) is None
        assert resolve_relation(RelationName(None, "t"), ("a", "b"), None) is None


class TestFunctions:
    PLAIN = frozenset({"lower"})

    def test_a_bare_call_may_mean_several(self, make_catalogue):
        index = index_of(make_catalogue("t(x)", functions=[("public", "lower"), ("other", "lower"), ("public", "f")]))

        def resolve(schema, name):
            return resolve_function(FunctionName(schema, name), ("public",), index, self.PLAIN)

        assert resolve(None, "lower") == {("pg_catalog", "lower"), ("public", "lower")}
        assert resolve(None, "f") == {("public", "f")}
        assert resolve(None, "unknown") == {("public", "unknown")}
        assert resolve("other", "lower") == {("other", "lower")}
        assert resolve_function(FunctionName(None, "g"), (), None, self.PLAIN) == {("pg_catalog", "g")}


def test_an_index_is_made_once_for_each_object_and_never_by_the_agents_version(make_catalogue):
    one, other = make_catalogue("a(x)", version="1"), make_catalogue("b(x)", version="1")
    assert index_of(one) is index_of(one)
    assert index_of(other) is not index_of(one)
    assert Name("public", "b") not in index_of(one).by_name


def test_bases_go_through_views_and_loops(make_catalogue):
    catalogue = make_catalogue("t(a, b)", "v:v(x) < t.b", "v:w(y) < v.x t")
    index = index_of(catalogue)
    assert index.bases(Name("public", "w")) == {
        (("public", "v"), "x"),
        (("public", "t"), None),
        (("public", "t"), "b"),
    }
    assert index.bases(Name("public", "t")) == set()
    assert index.bases(Name("public", "missing")) == set()
    w = catalogue.relations[2]
    catalogue.relations[1].sources.append((w.oid, 1))  # a loop, which a hostile target could claim
    assert len(CatalogueIndex(catalogue).bases(Name("public", "w"))) == 4
