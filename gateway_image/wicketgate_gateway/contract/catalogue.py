"""A database's catalogue, as the agent reads it: what names mean, and where a view's columns come from."""

from __future__ import annotations

import msgspec


class Column(msgspec.Struct, frozen=True, array_like=True):
    """One column; `number` is pg_attribute.attnum, `type_oid` pg_attribute.atttypid."""

    number: int
    name: str
    type_oid: int


class Relation(msgspec.Struct, frozen=True, array_like=True):
    """One table, view, materialised view, foreign table or sequence (pg_class.relkind in `r p v m f S`)."""

    oid: int
    schema: str
    name: str
    kind: str
    columns: list[Column]
    sources: list[tuple[int, int]] = []
    """For views: (oid, attnum) of every column that the view's query refers to (pg_depend), attnum 0 for the whole. A
    function that did not come with the server stands there as (its oid, 0): no one can tell what it reads."""
    definition: str = ""
    """For views: the query, as pg_get_viewdef prints it with all names qualified; empty where it is not known."""


class Catalogue(msgspec.Struct, frozen=True):
    """All relations outside `pg_toast`, system catalogues by name alone.

    `version` changes whenever the content does (a digest). `server_version` is as in ParameterStatus.
    """

    version: str
    server_version: str
    relations: list[Relation]
    system: list[str]
    """Names of relations in pg_catalog: they win over every schema of the search path."""
    functions: list[tuple[str, str]] = []
    """(schema, name) of every function outside pg_catalog and information_schema."""
    inherits: list[tuple[int, int]] = []
    """(child oid, parent oid) of every partition and inheriting table (pg_inherits): who reads a parent reads it."""
    generated: list[tuple[int, int, int]] = []
    """(oid, attnum, attnum of a column it is computed from) of every generated column (pg_depend)."""
