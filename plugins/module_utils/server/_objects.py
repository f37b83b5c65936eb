# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of one database by their numbers, so that two looks at the same server tell what was renamed, rewritten or moved.

A snapshot (``_schema``) knows names: a renamed column is one that went and one that came. Here an object is its oid (a column: the
oid of its table and its number), which stays. https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import users_own

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


@dataclass(frozen=True)
class Relation:
    """A table, view, materialized view, sequence or foreign table; ``name`` is its full name, quoted where it must be.

    ``kind``: ``relkind``; ``file``: its file's number, another one after it was rewritten; ``partition_of``: oid, 0 where it is none;
    ``owned_by``: of a sequence, the oid of the table that it goes with.
    """

    name: str
    kind: str
    schema: int = 0
    persistence: str = "p"
    row_security: bool = False
    tablespace: int = 0
    file: int = 0
    partition_of: int = 0
    owned_by: int = 0


@dataclass(frozen=True)
class Column:
    """``type`` as it is written, ``default`` as an expression (empty: none), ``identity`` and ``generated`` as pg_attribute has them."""

    name: str
    type: str
    not_null: bool = False
    default: str = ""
    identity: str = ""
    generated: str = ""
    collation: int = 0


@dataclass(frozen=True)
class Constraint:
    """``kind``: ``contype``; ``table`` and ``references``: oids; ``columns``, ``referenced``: numbers of columns.

    ``equality``: of a foreign key, for each pair of columns, the operator by its full name.
    """

    name: str
    kind: str
    table: int
    definition: str
    validated: bool = True
    columns: tuple[int, ...] = ()
    references: int = 0
    referenced: tuple[int, ...] = ()
    index: int = 0
    parent: int = 0
    equality: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """``columns``: numbers in the table, 0 for an expression; ``file`` changes when it is built anew; ``keys``: as they are written."""

    name: str
    table: int
    definition: str
    unique: bool = False
    valid: bool = True
    columns: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    predicate: str = ""
    nulls_distinct: bool = True
    file: int = 0


@dataclass(frozen=True)
class Trigger:
    name: str
    table: int
    enabled: str


@dataclass(frozen=True)
class Type:
    """An enumeration, domain, range or composite type; ``labels``: of an enumeration, by their oids."""

    name: str
    kind: str
    labels: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Objects:
    """Each kind by oid, columns by ``(oid of the table, number)``, extensions by name."""

    schemas: dict[int, str] = field(default_factory=dict)
    relations: dict[int, Relation] = field(default_factory=dict)
    columns: dict[tuple[int, int], Column] = field(default_factory=dict)
    constraints: dict[int, Constraint] = field(default_factory=dict)
    indexes: dict[int, Index] = field(default_factory=dict)
    triggers: dict[int, Trigger] = field(default_factory=dict)
    types: dict[int, Type] = field(default_factory=dict)
    extensions: dict[str, str] = field(default_factory=dict)

    def names(self, table: int, numbers: t.Iterable[int]) -> list[str]:
        """The names of a table's columns; those that are no longer there stay out."""
        return [self.columns[table, number].name for number in numbers if (table, number) in self.columns]


_SCHEMAS = f"SELECT n.oid, quote_ident(n.nspname) FROM pg_namespace n WHERE {users_own('pg_namespace', 'n.oid')}"

_RELATIONS = f"""
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text, n.oid, c.relpersistence::text, c.relrowsecurity,
    c.reltablespace, coalesce(pg_relation_filenode(c.oid), 0),
    coalesce((SELECT i.inhparent FROM pg_inherits i WHERE c.relispartition AND i.inhrelid = c.oid), 0),
    coalesce((SELECT d.refobjid FROM pg_depend d WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1), 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND {users_own("pg_class", "c.oid")}
"""

_COLUMNS = f"""
SELECT c.oid, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
    a.attidentity::text, a.attgenerated::text, a.attcollation
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND {users_own("pg_class", "c.oid")}
"""

_CONSTRAINTS = f"""
SELECT k.oid, k.conname, k.contype::text, k.conrelid, pg_get_constraintdef(k.oid), k.convalidated, coalesce(k.conkey, '{{}}'), k.confrelid,
    coalesce(k.confkey, '{{}}'), k.conindid, k.conparentid,
    ARRAY(SELECT format('OPERATOR(%I.%s)', m.nspname, o.oprname) FROM unnest(k.conpfeqop) WITH ORDINALITY e(oid, place)
        JOIN pg_operator o ON o.oid = e.oid JOIN pg_namespace m ON m.oid = o.oprnamespace ORDER BY e.place)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND {users_own("pg_class", "c.oid")}
"""

#: ``NULLS NOT DISTINCT`` is written in the definition from 15 on.
_INDEXES = f"""
SELECT i.indexrelid, quote_ident(n.nspname) || '.' || quote_ident(x.relname), i.indrelid, pg_get_indexdef(i.indexrelid), i.indisunique,
    i.indisvalid, ARRAY(SELECT unnest(i.indkey)::int), ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) k),
    coalesce(pg_get_expr(i.indpred, i.indrelid), ''), pg_get_indexdef(i.indexrelid) NOT LIKE '%NULLS NOT DISTINCT%',
    coalesce(pg_relation_filenode(i.indexrelid), 0)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE {users_own("pg_class", "c.oid")}
"""

_TRIGGERS = f"""
SELECT g.oid, g.tgname, g.tgrelid, g.tgenabled::text
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND {users_own("pg_class", "c.oid")}
"""

_TYPES = f"""
SELECT t.oid, format('%I.%I', n.nspname, t.typname), t.typtype::text,
    ARRAY(SELECT e.oid::bigint FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
    ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND {users_own("pg_type", "t.oid")}
"""


def read_objects(connection: Connection) -> Objects:
    """Everything that a user made in the connection's database; definitions have full names."""
    execute(connection, "SET search_path = ''")
    return Objects(
        schemas=dict(rows(connection, _SCHEMAS)),
        relations={oid: Relation(*rest) for oid, *rest in rows(connection, _RELATIONS)},
        columns={(table, number): Column(*rest) for table, number, *rest in rows(connection, _COLUMNS)},
        constraints={oid: _constraint(*rest) for oid, *rest in rows(connection, _CONSTRAINTS)},
        indexes={oid: _index(*rest) for oid, *rest in rows(connection, _INDEXES)},
        triggers={oid: Trigger(*rest) for oid, *rest in rows(connection, _TRIGGERS)},
        types={oid: Type(name, kind, dict(zip(oids, labels))) for oid, name, kind, oids, labels in rows(connection, _TYPES)},
        extensions=dict(rows(connection, "SELECT extname, extversion FROM pg_extension")),
    )


def _constraint(
    name: str, kind: str, table: int, definition: str, validated: bool, columns: t.Any, references: int, referenced: t.Any, *rest: t.Any
) -> Constraint:
    index, parent, equality = rest
    return Constraint(
        name, kind, table, definition, validated, tuple(columns), references, tuple(referenced), index, parent, tuple(equality)
    )


def _index(name: str, table: int, definition: str, unique: bool, valid: bool, columns: t.Any, keys: t.Any, *rest: t.Any) -> Index:
    return Index(name, table, definition, unique, valid, tuple(columns), tuple(keys), *rest)
