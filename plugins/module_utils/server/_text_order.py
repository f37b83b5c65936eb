# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in a database depends on how text sorts, and is wrong once the C library or ICU of the image sorts otherwise.

An index that was built by another order does not find what is in it, and lets a second row of the same key in
(https://www.postgresql.org/docs/current/collation.html, https://wiki.postgresql.org/wiki/Locale_data_changes). Rows of a table that is divided
by ranges of text may lie in the wrong part of it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, transaction, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The collation that stands for "as the database has it" (``pg_collation.oid``).
_DEFAULT = 100

_COLLATIONS = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.collname), c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid)
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.collversion IS NOT NULL AND pg_collation_actual_version(c.oid) IS NOT NULL
  AND c.collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
ORDER BY 2
"""

#: Where the database's own locale is one that sorts bytes, nothing changes.
_SORTS_BYTES = """
SELECT datcollate IN ('C', 'POSIX') AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' OR to_jsonb(d) ->> 'datlocprovider' = 'b'
FROM pg_database d WHERE datname = current_database()
"""

#: Keys by such a collation, or an expression or a condition that compares by one.
_INDEXES = """
SELECT i.indexrelid::bigint, i.indexrelid::regclass::text, i.indrelid::regclass::text, i.indisunique,
    EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype = 'x'), pg_relation_size(i.indexrelid), i.indnkeyatts::int,
    coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false), coalesce(pg_get_expr(i.indpred, i.indrelid), ''), i.indcollation::oid[]::bigint[]
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE x.relkind = 'i' AND x.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
  AND (EXISTS (SELECT FROM unnest(i.indcollation::oid[]) c(oid) WHERE c.oid = ANY(%(collations)s::oid[]))
    OR concat(i.indpred::text, i.indexprs::text) ~ (':inputcollid (' || array_to_string(%(collations)s::oid[], '|') || ') '))
ORDER BY 6, 2
"""

_PARTS = """
SELECT c.oid::regclass::text, pg_get_partition_constraintdef(c.oid) FROM pg_class c
WHERE c.relispartition AND c.relkind = 'r' AND EXISTS (
    SELECT FROM pg_partition_ancestors(c.oid) a(oid) JOIN pg_partitioned_table p ON p.partrelid = a.oid
    WHERE p.partstrat = 'r' AND EXISTS (SELECT FROM unnest(p.partcollation::oid[]) k(oid) WHERE k.oid = ANY(%s::oid[])))
ORDER BY 1
"""

#: Those that put text in an order; one that asks for equality alone does not change.
_CHECKS = """
SELECT k.conrelid::regclass::text, k.conname, pg_get_expr(k.conbin, k.conrelid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND k.convalidated AND c.relkind = 'r'
  AND k.conbin::text ~ (':inputcollid (' || array_to_string(%s::oid[], '|') || ') ') AND pg_get_expr(k.conbin, k.conrelid) ~ '[<>]'
ORDER BY 1, 2
"""

#: The planner must not ask the very index that is doubted.
_WITHOUT_INDEXES = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off"


#: For a person to type.
_SHOWN = "SELECT ctid, * FROM %s WHERE %s"


#: How many keys there are more than once, and where the rows of one of them lie.
_TWICE = "SELECT count(*), min(ids) FROM (SELECT string_agg(quote_literal(ctid::text), ', ') AS ids FROM ONLY {}{} GROUP BY {} HAVING count(*) > 1) g"


@dataclass(frozen=True)
class TextIndex:
    """An index to be rebuilt. ``size``: bytes; ``keys``: how many; ``exclusion``: of a constraint whose index cannot be rebuilt concurrently."""

    oid: int
    name: str
    table: str
    unique: bool
    exclusion: bool
    size: int
    keys: int
    nulls_equal: bool
    condition: str
    collations: tuple[int, ...]

    @property
    def statement(self) -> str:
        return "REINDEX INDEX %s%s" % ("" if self.exclusion else "CONCURRENTLY ", self.name)


@dataclass(frozen=True)
class Wrong:
    """Rows that the present order does not allow. ``kind``: ``duplicates``, ``part`` or ``check``; ``name``: of the index, the part or the
    constraint; ``statement``: shows them."""

    kind: str
    table: str
    name: str
    number: int
    statement: str

    def __str__(self) -> str:
        what = {
            "duplicates": "%d keys of unique index %s on %s are there more than once" % (self.number, self.name, self.table),
            "part": "%d rows of %s belong into another part of the table" % (self.number, self.table),
            "check": "%d rows of %s do not pass constraint %s any more" % (self.number, self.table, self.name),
        }
        return "%s; they are shown by: %s" % (what[self.kind], self.statement)


@dataclass(frozen=True)
class TextOrder:
    """What depends on it in one database. ``collations``: to be refreshed, by their full names; ``default``: whether the database's own changed."""

    default: bool = False
    collations: tuple[str, ...] = ()
    indexes: tuple[TextIndex, ...] = ()
    wrong: tuple[Wrong, ...] = ()


def read_text_order(connection: Connection, default: bool, everything: bool) -> TextOrder:
    """
    :param default: whether the database's own collation has changed.
    :param everything: look at all that sorts text, changed or not as far as the server knows.
    """
    default = (default or everything) and not value(connection, _SORTS_BYTES)
    stale = [(oid, name) for oid, name, differs in rows(connection, _COLLATIONS) if differs or everything]
    oids = [oid for oid, _name in stale] + ([_DEFAULT] if default else [])
    if not oids:
        return TextOrder()
    indexes = tuple(TextIndex(*[*found[:9], tuple(found[9])]) for found in rows(connection, _INDEXES, {"collations": oids}))
    wrong = [*_duplicates(connection, indexes), *_misplaced(connection, oids), *_unchecked(connection, oids)]
    return TextOrder(default, tuple(name for _oid, name in stale), indexes, tuple(wrong))


def _duplicates(connection: Connection, indexes: t.Iterable[TextIndex]) -> t.Iterator[Wrong]:
    for index in indexes:
        if not index.unique:
            continue
        keys = ", ".join(_keys(connection, index))
        given = [index.condition] if index.condition else []
        given += [] if index.nulls_equal else ["(%s) IS NOT NULL" % key for key in _keys(connection, index)]
        where = " WHERE " + " AND ".join("(%s)" % part for part in given) if given else ""
        number, first = _without_indexes(connection, _TWICE, index.table, where, keys)
        if number:
            yield Wrong("duplicates", index.table, index.name, number, _SHOWN % (index.table, "ctid IN (%s)" % first))


def _without_indexes(connection: Connection, query: str, *parts: str) -> tuple[t.Any, ...]:
    """The first row. ``parts``: names and expressions as the server itself has written them."""
    with transaction(connection):
        execute(connection, _WITHOUT_INDEXES)
        return rows(connection, sql.SQL(query).format(*map(sql.SQL, parts)))[0]


def _keys(connection: Connection, index: TextIndex) -> list[str]:
    """Its columns and expressions, each with the collation that it sorts by."""
    query = (
        "SELECT pg_get_indexdef(%s, g, true), (SELECT format('%%I.%%I', n.nspname, c.collname) FROM pg_collation c"
        " JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = (%s::bigint[])[g]::oid) FROM generate_series(1, %s) g"
    )
    found = rows(connection, query, (index.oid, list(index.collations), index.keys))
    return ["(%s)%s" % (key, " COLLATE " + collation if collation else "") for key, collation in found]


def _misplaced(connection: Connection, oids: list[int]) -> t.Iterator[Wrong]:
    for part, constraint in rows(connection, _PARTS, (oids,)):
        yield from _counted(connection, "part", part, part, constraint)


def _unchecked(connection: Connection, oids: list[int]) -> t.Iterator[Wrong]:
    for table, name, expression in rows(connection, _CHECKS, (oids,)):
        yield from _counted(connection, "check", table, name, expression)


def _counted(connection: Connection, kind: str, table: str, name: str, expression: str) -> t.Iterator[Wrong]:
    number = _without_indexes(connection, "SELECT count(*) FROM ONLY {} WHERE NOT ({})", table, expression)[0]
    if number:
        yield Wrong(kind, table, name, number, _SHOWN % ("ONLY " + table, "NOT (%s)" % expression))


def leftovers(connection: Connection, index: TextIndex) -> list[str]:
    """Invalid indexes that a rebuild of this one has left, by their full names
    (https://www.postgresql.org/docs/current/sql-reindex.html#SQL-REINDEX-CONCURRENTLY)."""
    query = (
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid, pg_class o"
        " WHERE o.oid = %s AND i.indrelid = %s::regclass AND NOT i.indisvalid AND x.relname ~ '_cc(new|old)[0-9]*$'"
        " AND starts_with(o.relname, left(regexp_replace(x.relname, '_cc(new|old)[0-9]*$', ''), 50))"
    )
    return [name for (name,) in rows(connection, query, (index.oid, index.table))]
