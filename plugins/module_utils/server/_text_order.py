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

from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, transaction, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The collation that stands for "as the database has it" (``pg_collation.oid``).
_DEFAULT = 100

#: ``notable``: whether a version can be noted; the C library of Alpine tells none.
_COLLATIONS = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.collname), v.recorded IS NOT NULL AND v.recorded IS DISTINCT FROM v.actual,
    v.recorded IS NOT NULL AND v.actual IS NOT NULL
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace,
    LATERAL (SELECT c.collversion, pg_collation_actual_version(c.oid)) v(recorded, actual)
WHERE c.collprovider NOT IN ('d', 'b') AND coalesce(c.collcollate, '') NOT IN ('C', 'POSIX')
  AND c.collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
ORDER BY 2
"""

#: Where the database's own locale is one that sorts bytes, nothing changes.
_SORTS_BYTES = """
SELECT datcollate IN ('C', 'POSIX') AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' OR to_jsonb(d) ->> 'datlocprovider' = 'b'
FROM pg_database d WHERE datname = current_database()
"""

#: Types whose values hold text that they sort by: jsonb by the database's own collation, composites and ranges by those of their parts.
_CARRYING = """
WITH RECURSIVE holds(oid, part) AS (
    SELECT t.oid, t.typelem FROM pg_type t WHERE t.typelem <> 0 AND t.typcategory = 'A'
    UNION SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.typbasetype <> 0
    UNION SELECT r.rngtypid, r.rngsubtype FROM pg_range r UNION SELECT r.rngmultitypid, r.rngtypid FROM pg_range r
    UNION SELECT c.reltype, a.atttypid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.reltype <> 0
), carrying(oid) AS (
    SELECT 'jsonb'::regtype::oid WHERE 100 = ANY(%(collations)s::oid[])
    UNION SELECT r.rngtypid FROM pg_range r WHERE r.rngcollation = ANY(%(collations)s::oid[])
    UNION SELECT c.reltype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.reltype <> 0 AND a.attcollation = ANY(%(collations)s::oid[])
    UNION SELECT h.oid FROM holds h JOIN carrying k ON k.oid = h.part
)"""

_INDEXES = """
@CARRYING@
SELECT i.indexrelid::bigint, i.indexrelid::regclass::text, i.indrelid::regclass::text, i.indisunique, i.indisexclusion,
    pg_relation_size(i.indexrelid), i.indnkeyatts::int, coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
    coalesce(pg_get_expr(i.indpred, i.indrelid), ''), i.indcollation::oid[]::bigint[]
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE x.relkind = 'i' AND x.relpersistence <> 't' AND i.indisvalid AND i.indisready AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
  AND (EXISTS (SELECT FROM unnest(i.indcollation::oid[]) c(oid) WHERE c.oid = ANY(%(collations)s::oid[]))
    OR EXISTS (SELECT FROM pg_attribute a JOIN carrying k ON k.oid = a.atttypid WHERE a.attrelid = i.indexrelid AND a.attnum <= i.indnkeyatts)
    OR concat(i.indpred::text, i.indexprs::text) ~ @COMPARES@)
ORDER BY 6, 2
"""

#: What a failed build has left; ``leftover``: of a rebuild, beside the index that it was to replace
#: (https://www.postgresql.org/docs/current/sql-reindex.html#SQL-REINDEX-CONCURRENTLY).
_INVALID = """
SELECT i.indexrelid::regclass::text, x.relname ~ '_cc(new|old)[0-9]*$' AND EXISTS (
    SELECT FROM pg_index o JOIN pg_class y ON y.oid = o.indexrelid WHERE o.indrelid = i.indrelid AND o.indexrelid <> i.indexrelid
      AND starts_with(y.relname, left(regexp_replace(x.relname, '_cc(new|old)[0-9]*$', ''), 50)))
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
WHERE NOT i.indisvalid AND x.relkind = 'i' AND x.relpersistence <> 't' ORDER BY 1
"""

#: The last column: whether its bounds can be asked; what PostgreSQL shows of them leaves out a collation that the column itself has not.
_PARTS = """
SELECT c.oid::regclass::text, pg_get_partition_constraintdef(c.oid), bool_and(k.plain)
FROM pg_class c CROSS JOIN LATERAL pg_partition_ancestors(c.oid) a(oid) JOIN pg_partitioned_table p ON p.partrelid = a.oid
CROSS JOIN LATERAL (
    SELECT bool_and(coalesce(t.attcollation = d.sorted_by, false)) AS plain, bool_or(d.sorted_by = ANY(%(collations)s::oid[])) AS changed
    FROM unnest(p.partattrs::int2[], p.partcollation::oid[]) d(attnum, sorted_by)
    LEFT JOIN pg_attribute t ON t.attrelid = p.partrelid AND t.attnum = d.attnum) k
WHERE c.relispartition AND c.relkind = 'r' AND c.relpersistence <> 't' AND p.partstrat = 'r' AND pg_get_partition_constraintdef(c.oid) IS NOT NULL
GROUP BY c.oid HAVING bool_or(k.changed) ORDER BY 1
"""

#: Those that put text in an order; one that asks for equality alone does not change.
_CHECKS = """
SELECT k.conrelid::regclass::text, k.conname, pg_get_expr(k.conbin, k.conrelid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND k.convalidated AND c.relkind = 'r' AND c.relpersistence <> 't'
  AND k.conbin::text ~ @COMPARES@ AND pg_get_expr(k.conbin, k.conrelid) ~ '[<>]|GREATEST|LEAST'
ORDER BY 1, 2
"""

#: The planner must ask neither the very index that is doubted nor the very constraint; policies must not hide rows.
_DOUBTING = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan", "constraint_exclusion")

#: For a person to type.
_SHOWN = "SELECT ctid, * FROM %s WHERE %s"

#: How many keys there are more than once, and where the rows of one of them lie.
_TWICE = (
    "SELECT count(*), min(ids) FROM (SELECT string_agg(quote_literal(place), ', ') AS ids FROM (SELECT ctid::text AS place, {} FROM ONLY {}{}) k"
    " GROUP BY {} HAVING count(*) > 1) g"
)


#: How a comparison by one of these collations is written in a tree of an expression; a comparison of rows has a list of them.
_COMPARES = r"(':inputcollids? (\(o )?([0-9]+ )*(' || array_to_string(%(collations)s::oid[], '|') || ')[ )]')"

#: Keys by such a collation, keys that carry text, and an expression or a condition that compares by one.


def _complete(query: str) -> str:
    return query.replace("@CARRYING@", _CARRYING).replace("@COMPARES@", _COMPARES)


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
    """What depends on it in one database. ``collations``: to be refreshed, by their full names; ``default``: whether the database's own changed;
    ``leftovers``: indexes that a rebuild which was killed has left; ``invalid``: others that are; ``not_asked``: parts whose rows could not be."""

    default: bool = False
    collations: tuple[str, ...] = ()
    indexes: tuple[TextIndex, ...] = ()
    wrong: tuple[Wrong, ...] = ()
    leftovers: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()


def read_text_order(connection: Connection, default: bool, everything: bool) -> TextOrder:
    """
    :param default: whether the database's own collation has changed.
    :param everything: look at all that sorts text, changed or not as far as the server knows.
    """
    execute(connection, "SET row_security = off")  # a policy that would hide rows is an error then
    default = (default or everything) and not value(connection, _SORTS_BYTES)
    changed = [(oid, name, notable) for oid, name, differs, notable in rows(connection, _COLLATIONS) if differs or everything]
    oids = [oid for oid, _name, _notable in changed] + ([_DEFAULT] if default else [])
    if not oids:
        return TextOrder()
    given = {"collations": oids}
    indexes = tuple(TextIndex(*[*found[:9], tuple(found[9])]) for found in rows(connection, _complete(_INDEXES), given))
    parts = rows(connection, _PARTS, given)
    wrong = [*_duplicates(connection, indexes), *_misplaced(connection, parts), *_unchecked(connection, given)]
    invalid = rows(connection, _INVALID)
    return TextOrder(
        default,
        tuple(name for _oid, name, notable in changed if notable),
        indexes,
        tuple(wrong),
        tuple(name for name, leftover in invalid if leftover),
        tuple(name for name, leftover in invalid if not leftover),
        tuple(part for part, _constraint, plain in parts if not plain),
    )


def _duplicates(connection: Connection, indexes: t.Iterable[TextIndex]) -> t.Iterator[Wrong]:
    for index in indexes:
        if not index.unique or index.exclusion:
            continue
        keys = _keys(connection, index)
        given = [index.condition] if index.condition else []
        given += [] if index.nulls_equal else ["(%s) IS NOT NULL" % key for key in keys]
        where = " WHERE " + " AND ".join("(%s)" % part for part in given) if given else ""
        names = ["key_%d" % number for number in range(len(keys))]  # a constant key cannot be grouped by itself
        named = ", ".join("%s AS %s" % pair for pair in zip(keys, names))
        number, first = _doubting(connection, _TWICE, named, index.table, where, ", ".join(names))
        if number:
            yield Wrong("duplicates", index.table, index.name, number, _SHOWN % (index.table, "ctid IN (%s)" % first))


def _doubting(connection: Connection, query: str, *parts: str) -> tuple[t.Any, ...]:
    """The first row. ``parts``: names and expressions as the server itself has written them, which may call functions that name no schema."""
    with in_force(connection), transaction(connection):
        for setting in _DOUBTING:
            execute(connection, "SET LOCAL %s = off" % setting)
        return rows(connection, sql.SQL(query).format(*map(sql.SQL, parts)))[0]


def _keys(connection: Connection, index: TextIndex) -> list[str]:
    """Its columns and expressions, each with the collation that it sorts by."""
    query = (
        "SELECT pg_get_indexdef(%s, g, true), (SELECT format('%%I.%%I', n.nspname, c.collname) FROM pg_collation c"
        " JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = (%s::bigint[])[g]::oid) FROM generate_series(1, %s) g"
    )
    found = rows(connection, query, (index.oid, list(index.collations), index.keys))
    return ["(%s)%s" % (key, " COLLATE " + collation if collation else "") for key, collation in found]


def _misplaced(connection: Connection, parts: t.Iterable[tuple[t.Any, ...]]) -> t.Iterator[Wrong]:
    for part, constraint, plain in parts:
        if plain:
            yield from _counted(connection, "part", part, part, constraint)


def _unchecked(connection: Connection, given: t.Mapping[str, t.Any]) -> t.Iterator[Wrong]:
    for table, name, expression in rows(connection, _complete(_CHECKS), given):
        yield from _counted(connection, "check", table, name, expression)


def _counted(connection: Connection, kind: str, table: str, name: str, expression: str) -> t.Iterator[Wrong]:
    number = _doubting(connection, "SELECT count(*) FROM ONLY {} WHERE NOT ({})", table, expression)[0]
    if number:
        settings = "".join("SET %s = off; " % setting for setting in _DOUBTING)
        yield Wrong(kind, table, name, number, settings + _SHOWN % ("ONLY " + table, "NOT (%s)" % expression))


def leftovers(connection: Connection) -> list[str]:
    """Invalid indexes that a rebuild has left beside those that it was to replace, by their full names."""
    return [name for name, leftover in rows(connection, _INVALID) if leftover]
