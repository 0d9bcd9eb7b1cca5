"""Writes the list of PostgreSQL's built-in functions, operators and catalog relations that the SQL analysis uses.

    python tools/generate_pg_builtins.py POSTGRES_URL > gateway_image/wicketgate_gateway/wire/postgres/sql/builtins.txt

Run it against an untouched database of the newest supported major version, and read the diff: a function that appears
there as `v` (volatile) is refused until `builtins.py` names it, which is the safe default.
"""

import sys

import psycopg

# One row a name. The volatility is that of the name's most volatile overload. `n` marks functions that SQL cannot call
# usefully (arguments or results of type internal or trigger): they are left out.
FUNCTIONS = """
select max(case p.provolatile when 'i' then 1 when 's' then 2 else 3 end) as rank, p.proname
from pg_catalog.pg_proc p
where p.pronamespace = 'pg_catalog'::regnamespace
  and not ('internal'::regtype = any (p.proargtypes))
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype, 'language_handler'::regtype,
                           'fdw_handler'::regtype, 'index_am_handler'::regtype, 'table_am_handler'::regtype,
                           'tsm_handler'::regtype, 'internal'::regtype)
group by p.proname order by p.proname collate "C"
"""
OPERATORS = """
select distinct oprname collate "C" from pg_catalog.pg_operator
where oprnamespace = 'pg_catalog'::regnamespace order by 1
"""
RELATIONS = """
select relname from pg_catalog.pg_class
where relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v', 'm') order by relname collate "C"
"""


def main() -> None:
    """Prints `kind name` lines: `i`, `s`, `v` functions by volatility, `o` operators, `r` relations."""
    with psycopg.connect(sys.argv[1]) as connection:
        version = str(connection.execute("show server_version").fetchall()[0][0]).split()[0]
        print(f"# PostgreSQL {version}; written by tools/generate_pg_builtins.py")
        for rank, name in connection.execute(FUNCTIONS).fetchall():
            print(" isv"[rank], name)
        for (name,) in connection.execute(OPERATORS).fetchall():
            print("o", name)
        for (name,) in connection.execute(RELATIONS).fetchall():
            print("r", name)


if __name__ == "__main__":
    main()
