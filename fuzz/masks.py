"""Queries made up over a schema with canaries, run through the real gateway: none may tell a masked value.

`python -m fuzz masks --minutes N` looks for one as long as it is told; a smaller run of the same stands in
`tests/attacks/test_masks.py`. What makes a query is a Hypothesis strategy, so that a finding is made small before it is
shown. See `fuzz.worlds` for what is held to be a finding.
"""

# ruff: noqa: S608 - it is what this is for

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.worlds import PROTOCOLS, SHAPES, Worlds, around, worlds

MAX_DEPTH = 3
ROUND = 200
SUPPRESSED = [
    HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much
]  # fmt: skip


class Table(NamedTuple):
    """Something in FROM: its text, its columns by kind."""

    text: str
    columns: dict[str, str]


BASE: tuple[Table, ...] = (
    Table("people", {"id": "int", "name": "text", "email": "text", "pin": "int", "card": "text", "doc": "json",
                     "tags": "array", "born": "date", "city": "text", "shout": "text"}),
    Table("visits", {"id": "int", "person_id": "int", "place": "text", "cost": "int", "note": "text"}),
    Table("letters", {"id": "int", "email": "text", "body": "text"}),
    Table("contacts", {"id": "int", "who": "text", "mail": "text", "size": "int"}),
    Table("deep", {"who": "text", "address": "text", "id": "int"}),
    Table("names", {"id": "int", "name": "text", "city": "text"}),
    Table("parts", {"id": "int", "email": "text", "city": "text"}),
    Table("parts_1", {"id": "int", "email": "text", "city": "text"}),
    Table("stored", {"id": "int", "email": "text"}),
    Table("ONLY people", {"id": "int", "name": "text", "email": "text", "pin": "int"}),
)  # fmt: skip
LITERALS = {
    "int": ["0", "1", "7", "-1", "NULL"],
    "text": ["'x'", "'a%'", "'kan'", "''", "NULL", "'Name 1'", "'1'"],
    "bool": ["true", "false", "NULL"],
    "json": ["'{}'::jsonb", "NULL::jsonb"],
    "array": ["ARRAY['x']", "NULL::text[]"],
    "date": ["DATE '2000-01-01'", "NULL::date"],
}
UNARY = {
    "text": ["lower({t})", "upper({t})", "reverse({t})", "md5({t})", "{t} || 'x'", "substr({t}, 2, 3)", "left({t}, 1)",
             "coalesce({t}, 'none')", "{i}::text", "nullif({t}, 'x')", "{t}::varchar(3)", "({t} COLLATE \"C\")",
             "split_part({t}, 'a', 1)", "concat({t}, {i})", "format('%s-%s', {t}, {i})", "{j} ->> 'k'", "({a})[1]",
             "to_char({d}, 'YYYY')", "repeat({t}, {i})", "overlay({t} placing 'x' from 1)", "greatest({t}, {t})",
             "encode({t}::bytea, 'hex')", "{a}::text", "{j}::text", "translate({t}, 'a', 'b')", "quote_literal({t})",
             "CASE WHEN {b} THEN {t} ELSE {t} END", "CASE {i} WHEN 1 THEN {t} END", "substring({t} from '^k')",
             "regexp_replace({t}, 'a', 'b')", "same({t})", "array_to_string({a}, ',')", "lpad({t}, {i})"],
    "int": ["length({t})", "{i} + 1", "{i} / {i}", "abs({i})", "ascii({t})", "{t}::int", "position('a' in {t})",
            "coalesce({i}, 0)", "cardinality({a})", "CASE WHEN {b} THEN {i} ELSE 0 END", "({j} ->> 'n')::int",
            "hashtext({t})", "extract(day from {d})::int", "least({i}, {i})", "1 / nullif({i}, 1000)",
            "strpos({t}, 'b')"],
    "bool": ["{t} = {t}", "{i} = {i}", "{t} LIKE {t}", "{i} < {i}", "{t} IS NULL", "{b} AND {b}", "{b} OR {b}",
             "NOT {b}",
             "{i} BETWEEN 1 AND {i}", "{t} IN ({t}, 'x')", "{t} ~ 'b'", "{j} ? 'k'", "{i} IS DISTINCT FROM {i}",
             "{t} = ANY ({a})", "{t} > {t}", "{j} @> '{{\"n\": 3}}'", "({t} IS NOT NULL) IS TRUE",
             "{d} > '1950-03-01'"],
    "json": ["to_jsonb({t})", "jsonb_build_object('k', {t}, 'n', {i})", "{j} -> 'k'", "{j} || '{{}}'"],
    "array": ["ARRAY[{t}, {t}]", "string_to_array({t}, 'a')", "{a} || {t}"],
    "date": ["{d} + {i}"],
}  # fmt: skip
AGGREGATES = {
    "text": ["max({t})", "min({t})", "string_agg({t}, ',')", "string_agg({t}, ',' ORDER BY {i})",
             "first_value({t}) OVER (ORDER BY {i})", "lag({t}) OVER (PARTITION BY {t} ORDER BY {i})", "any_value({t})",
             "mode() WITHIN GROUP (ORDER BY {t})"],
    "int": ["count(*)", "count({t})", "count(DISTINCT {t})", "sum({i})", "max({i})", "count(*) FILTER (WHERE {b})",
            "row_number() OVER (ORDER BY {t})", "rank() OVER (ORDER BY {i})", "count(*) OVER (PARTITION BY {t})"],
    "bool": ["bool_or({b})", "every({b})"],
    "json": ["jsonb_agg({t})", "json_agg({t})::jsonb", "jsonb_object_agg({t}, {i})"],
    "array": ["array_agg({t})", "array_agg({t} ORDER BY {i})"],
    "date": ["max({d})"],
}  # fmt: skip
_LETTERS = {"t": "text", "i": "int", "b": "bool", "j": "json", "a": "array", "d": "date"}


@st.composite
def expressions(draw: st.DrawFn, kind: str, scope: dict[str, dict[str, str]], depth: int) -> str:
    """An expression of a kind over what is in scope: alias to columns."""
    fitting = [f"{alias}.{name}" for alias, columns in scope.items() for name, k in columns.items() if k == kind]
    choice = draw(st.integers(0, 9))
    if depth <= 0 or choice <= 3:
        if fitting and (choice != 3 or depth > 0):
            return draw(st.sampled_from(fitting))
        return draw(st.sampled_from(LITERALS[kind]))
    if choice == 4:
        column, inner = draw(queries(scope, depth - 2, kinds=(kind,), star=False))
        del column
        if draw(st.booleans()):
            return f"({inner} LIMIT 1)"
        return f"EXISTS ({inner})" if kind == "bool" else f"ARRAY({inner})" if kind == "array" else f"({inner} LIMIT 1)"
    pool = AGGREGATES if choice == 5 else UNARY
    return draw(filled(draw(st.sampled_from(pool[kind])), scope, depth - 1))


@st.composite
def filled(draw: st.DrawFn, template: str, scope: dict[str, dict[str, str]], depth: int) -> str:
    """A template with expressions in its places."""
    out, at = "", 0
    while at < len(template):
        if template[at : at + 2] in ("{{", "}}"):
            out, at = out + template[at], at + 2
        elif template[at] == "{":
            out += draw(expressions(_LETTERS[template[at + 1]], scope, depth))
            at += 3
        else:
            out, at = out + template[at], at + 1
    return out


@st.composite
def sources(draw: st.DrawFn, alias: str, outer: dict[str, dict[str, str]], ctes: list[Table], depth: int) -> Table:
    """One thing in FROM under this alias."""
    choice = draw(st.integers(0, 9))
    if depth > 0 and choice >= 7:
        columns, inner = draw(queries(outer if choice == 9 else {}, depth - 1))
        lateral = "LATERAL " if choice == 9 else ""
        if draw(st.booleans()):
            named = {f"c{i}": kind for i, kind in enumerate(columns.values(), 1)}
            return Table(f"{lateral}({inner}) {alias} ({', '.join(named)})", named)
        return Table(f"{lateral}({inner}) {alias}", columns)
    if depth > 0 and choice == 6 and outer:
        text = draw(filled(draw(st.sampled_from(_FUNCTIONS)), outer, 1))
        return Table(f"{text} {alias} (v)", {"v": "text"})
    table = draw(st.sampled_from([*BASE, *ctes, *ctes]))
    if draw(st.integers(0, 5)) == 0 and " " not in table.text:
        kinds = list(table.columns.values())
        # `people` has columns that are not listed here: names for the first ones are enough.
        if table.text != "people":
            named = {f"r{i}": kind for i, kind in enumerate(kinds, 1)}
            return Table(f"{table.text} AS {alias} ({', '.join(named)})", named)
    return Table(f"{table.text} {alias}", table.columns)


_FUNCTIONS = ["unnest(ARRAY[{t}, {t}])", "regexp_split_to_table({t}, 'a')", "jsonb_array_elements_text(to_jsonb({a}))",
              "unnest({a})", "string_to_table({t}, 'b')", "unnest(string_to_array({t}, 'a'))", "leak()"]  # fmt: skip


@st.composite
def queries(
    draw: st.DrawFn,
    outer: dict[str, dict[str, str]],
    depth: int,
    kinds: Sequence[str] | None = None,
    *,
    star: bool = True,
) -> tuple[dict[str, str], str]:
    """A query, and its columns by kind."""
    if depth > 0 and draw(st.integers(0, 6)) == 0:
        wanted = kinds or draw(st.lists(st.sampled_from(list(LITERALS)), min_size=1, max_size=3))
        names = [f"s{i}" for i in range(len(wanted))]
        _, left = draw(queries(outer, depth - 1, wanted, star=False))
        _, right = draw(queries(outer, depth - 1, wanted, star=False))
        word = draw(st.sampled_from(["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"]))
        shown = ", ".join(names)
        return dict(zip(names, wanted, strict=True)), f"SELECT {shown} FROM (({left}) {word} ({right})) u ({shown})"
    ctes: list[Table] = []
    head = ""
    if depth > 1 and draw(st.integers(0, 4)) == 0:
        columns, inner = draw(queries({}, depth - 1))
        named = {f"w{i}": kind for i, kind in enumerate(columns.values(), 1)}
        name = draw(st.sampled_from(["w", "people", "visits"]))
        ctes = [Table(name, named)]
        hint = draw(st.sampled_from(["", "MATERIALIZED ", "NOT MATERIALIZED "]))
        recursive = draw(st.integers(0, 3)) == 0
        body = f"({inner}) UNION ALL (SELECT * FROM {name} WHERE false)" if recursive else inner
        word = "WITH RECURSIVE" if recursive else "WITH"
        head = f"{word} {name} ({', '.join(named)}) AS {hint}({body}) "
    serial = draw(st.integers(0, 10**6))
    scope = dict(outer)
    froms: list[str] = []
    for i in range(draw(st.integers(1, 2 if depth > 0 else 1))):
        alias = f"t{len(outer)}_{i}_{serial % 97}"
        table = draw(sources(alias, scope, ctes, depth))
        text = table.text
        if i:
            common = sorted(set(table.columns) & set(scope[next(reversed(scope))]))
            how = draw(st.integers(0, 4))
            if how == 0 and common:
                text = f"JOIN {text} USING ({draw(st.sampled_from(common))})"
            elif how == 1 and common:
                text = f"NATURAL JOIN {text}"
            elif how <= 3:
                both = {**scope, alias: table.columns}
                text = f"LEFT JOIN {text} ON {draw(expressions('bool', both, 1))}"
            else:
                text = f"CROSS JOIN {text}"
        froms.append(text)
        scope[alias] = table.columns
    own = {alias: scope[alias] for alias in scope if alias not in outer}
    targets: dict[str, str] = {}
    if star and kinds is None and draw(st.integers(0, 6)) == 0:
        alias = draw(st.sampled_from(list(own)))
        shape = draw(st.sampled_from(_WHOLE))
        return {"whole": "text"}, f"{head}SELECT {shape.format(a=alias)} AS whole FROM {' '.join(froms)}"
    listed: list[str] = []
    for i, kind in enumerate(kinds or draw(st.lists(st.sampled_from(_KINDS), min_size=1, max_size=3))):
        listed.append(f"{draw(expressions(kind, scope, depth))} AS o{i}")
        targets[f"o{i}"] = kind
    distinct = "DISTINCT " if draw(st.integers(0, 9)) == 0 else ""
    text = f"{head}SELECT {distinct}{', '.join(listed)} FROM {' '.join(froms)}"
    if draw(st.integers(0, 3)) == 0:
        text += f" WHERE {draw(expressions('bool', scope, depth))}"
    if draw(st.integers(0, 7)) == 0:
        grouped = draw(st.sampled_from([draw(expressions("text", scope, 0)), "1", "o0"]))
        text += f" GROUP BY {grouped}"
        if draw(st.booleans()):
            text += f" HAVING {draw(expressions('bool', scope, 1))}"
    if draw(st.integers(0, 4)) == 0:
        order = draw(st.sampled_from([draw(expressions("text", scope, 1)), "1", "o0 DESC"]))
        text += f" ORDER BY {order}"
    if draw(st.integers(0, 7)) == 0:
        text += f" LIMIT {draw(st.sampled_from(['1', '3', '(SELECT 2)']))}"
    return targets, text


_KINDS = ["text", "text", "text", "int", "int", "bool", "json", "array", "date"]
_WHOLE = ["{a}", "{a}::text", "row_to_json({a})", "to_jsonb({a})", "ROW({a}.*)", "to_jsonb({a}) ->> 'email'",
          "json_agg({a})", "leak_row({a})", "jsonb_each_text(to_jsonb({a}))", "({a}).*", "{a}.*", "concat({a})",
          "array_agg({a})", "md5({a}::text)", "{a} IS NULL", "to_jsonb({a}) - 'email'", "hash_record({a})"]  # fmt: skip


@st.composite
def sessions(draw: st.DrawFn) -> list[str]:
    """The texts of a session."""
    columns, text = draw(queries({}, draw(st.integers(0, MAX_DEPTH))))
    first = next(iter(columns))
    name = f"n{draw(st.integers(0, 10**9))}"
    way = draw(st.integers(0, 19))
    target = "scratch (value)"
    taken = f"SELECT x.{first}::text FROM ({text}) x"
    on = "ON s.id = 1 WHEN NOT MATCHED THEN INSERT"
    ways: dict[int, Callable[[], list[str]]] = {
        0: lambda: [f"PREPARE {name} AS {text}", f"EXECUTE {name}"],
        1: lambda: [f"DECLARE {name} CURSOR FOR {text}", f"FETCH 2 FROM {name}", f"FETCH ALL {name}"],
        2: lambda: [f"EXPLAIN (COSTS OFF, VERBOSE) {text}"],
        3: lambda: [f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF, BUFFERS OFF) {text}"],
        4: lambda: [f"COPY ({text}) TO STDOUT"],
        5: lambda: [f"COPY ({text}) TO STDOUT (FORMAT binary)"],
        6: lambda: [f"INSERT INTO {target} {taken}", "SELECT value FROM scratch"],
        7: lambda: [f"INSERT INTO {target} {taken} RETURNING value, length(value)"],
        8: lambda: [f"CREATE TEMP TABLE {name} AS {text}", f"SELECT * FROM {name}"],
        9: lambda: [f"CREATE VIEW {name} AS {text}", f"SELECT * FROM {name}"],
        10: lambda: [f"UPDATE visits v SET note = ({taken} LIMIT 1) RETURNING v.note", "SELECT note FROM visits"],
        11: lambda: [f"UPDATE people p SET name = x.{first}::text FROM ({text}) x WHERE p.id = 1 RETURNING email"],
        12: lambda: [f"DELETE FROM visits v USING ({text}) x WHERE x.{first} IS NOT NULL RETURNING x.{first}, v.id"],
        13: lambda: [f"MERGE INTO scratch s USING ({text}) x {on} (value) VALUES (x.{first}::text)",
                     "SELECT value FROM scratch"],
        14: lambda: [f"WITH i AS (INSERT INTO {target} {taken} RETURNING value) SELECT value, 1 FROM i GROUP BY 1"],
        15: lambda: [f"SELECT set_config('app.x', x.{first}::text, false) FROM ({text}) x",
                     "SELECT current_setting('app.x', true)"],
        16: lambda: [f"SELECT * FROM ({text}) x", f"SELECT count(*) FROM ({text}) x"],
        17: lambda: [f"{text}; SELECT 1; SELECT id, lower(email) FROM people"],
    }  # fmt: skip
    return ways[way]() if way in ways else [text]


def look(found: Worlds, number: int, minutes: float, *, report: Callable[[Counter[str]], None]) -> None:
    """Look for so long. Raises AssertionError with the smallest session that tells a value."""
    end = time.monotonic() + 60 * minutes
    counts: Counter[str] = Counter()
    while time.monotonic() < end:
        number += 1

        @seed(number)
        @settings(max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
                  suppress_health_check=SUPPRESSED)  # fmt: skip
        @given(texts=sessions(), protocol=st.sampled_from(PROTOCOLS))
        def one(texts: list[str], protocol: Callable[[str], bytes]) -> None:
            came = found.check(texts, protocol)
            counts["sessions"] += 1
            counts[came[-1] if came else "nothing"] += 1

        one()
        report(counts)


def main(minutes: float, number: int, folder: Path) -> int:
    """`python -m fuzz masks`: 0 if nothing was found."""
    folder.mkdir(parents=True, exist_ok=True)
    number = number or int(time.time())
    print(f"seed {number}", flush=True)

    def report(counts: Counter[str]) -> None:
        print(time.strftime("%H:%M:%S"), dict(counts.most_common(8)), flush=True)

    with tempfile.TemporaryDirectory() as place, worlds(Path(place)) as found:
        try:
            look(found, number, minutes, report=report)
        except BaseException as error:
            told = [str(error), *getattr(error, "__notes__", [])]
            for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
                told += ["".join(traceback.format_exception(inner))[-4000:], *getattr(inner, "__notes__", [])]
            told += [
                f"{o.session} {o.seq} {o.effect} {o.rule}: {o.statement}" for o in found.running.operations()[-20:]
            ]
            (folder / f"finding-{number}.txt").write_text("\n".join(told))
            print(*told, sep="\n", file=sys.stderr)
            return 130 if isinstance(error, KeyboardInterrupt) else 1
        for where, data in found.left_behind():
            for shape in SHAPES:
                if shape in data.lower():
                    print(f"a canary is in {where}: {around(data, shape)!r}", file=sys.stderr)
                    return 1
    print("nothing was found", flush=True)
    return 0
