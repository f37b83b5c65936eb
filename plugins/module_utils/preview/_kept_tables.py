# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables whose rows a reset carries over from the database that it replaces, such as test accounts.

The rows travel by ``pg_dump`` and ``pg_restore``, as one snapshot of the live database sees them. The foreign keys from and to
these tables are taken away before and added again after, so that the server itself checks whether the rows fit together.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump, _load
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.server._event_triggers import silenced
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, execute, rows, sql, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, count_rows_of, differences
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, read_snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The variable that names them.
_VARIABLE = "dbops_preview_reset_keep_tables"

_FIND = """
SELECT n.nspname, c.relname, c.relkind = 'p', c.relispartition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
  AND (c.relname = %(name)s OR n.nspname || '.' || c.relname = %(name)s)
ORDER BY 1, 2
"""

#: Generated columns have no rows of their own; what has a default or may be null can be left out.
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""

#: A partition's own copy of a foreign key comes and goes with its parent's.
_FOREIGN_KEYS = """
SELECT k.conname, n.nspname, c.relname, pg_get_constraintdef(k.oid), coalesce(obj_description(k.oid, 'pg_constraint'), '')
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace m ON m.oid = f.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND (n.nspname || '.' || c.relname = ANY(%(names)s) OR m.nspname || '.' || f.relname = ANY(%(names)s))
ORDER BY 2, 3, 1
"""


@dataclass(frozen=True)
class KeptTable:
    schema: str
    table: str

    @property
    def name(self) -> str:
        return "%s.%s" % (self.schema, self.table)


@dataclass(frozen=True)
class ForeignKey:
    """``definition`` as PostgreSQL writes it: ``FOREIGN KEY (a) REFERENCES b(c)``."""

    name: str
    schema: str
    table: str
    definition: str
    comment: str


def find(connection: Connection, names: t.Sequence[str]) -> tuple[KeptTable, ...]:
    """The tables that the user named, with or without their schema.

    :raises DbopsError: where a name fits none or several, or a table that cannot be carried over.
    """
    return tuple(dict.fromkeys(_find(connection, name) for name in names))


def _find(connection: Connection, name: str) -> KeptTable:
    found = rows(connection, _FIND, {"name": name})
    if not found:
        raise DbopsError("There is no table '%s' in the live database to carry over: check %s." % (name[:200], _VARIABLE))
    if len(found) > 1:
        names = ", ".join("%s.%s" % (schema, table) for schema, table, *_rest in found)
        raise DbopsError("Several tables are called '%s' (%s): name one with its schema in %s." % (name, names, _VARIABLE))
    schema, table, partitioned, partition = found[0]
    if partitioned or partition:
        raise DbopsError("Table '%s.%s' is partitioned, which %s cannot carry over: leave it out." % (schema, table, _VARIABLE))
    return KeptTable(schema, table)


def require_in_both(tables: t.Sequence[KeptTable], fresh: t.Iterable[TableRows]) -> None:
    """:raises DbopsError: where a table is not in the fresh database."""
    present = {table.name for table in fresh}
    missing = [table.name for table in tables if table.name not in present]
    if missing:
        raise DbopsError(
            "The fresh database has no table %s, whose rows were to be carried over: take it out of %s, or migrate with an image that makes it."
            % (", ".join("'%s'" % name for name in missing), _VARIABLE)
        )


def with_kept_rows(fresh: t.Sequence[TableRows], live: t.Sequence[TableRows], tables: t.Sequence[KeptTable]) -> tuple[TableRows, ...]:
    """What the fresh database holds in the end: its own rows, and the live ones of the kept tables."""
    kept = {table.name for table in tables}
    of_live = {table.name: table for table in live}
    return tuple(of_live.get(table.name, table) if table.name in kept else table for table in fresh)


def carry_over(operation: Operation, tables: t.Sequence[KeptTable], building: str, jobs: int) -> tuple[TableRows, ...]:
    """Replace the rows of ``tables`` in the database ``building`` by those of the live one; returns how many there are.

    :raises DbopsError: where they do not fit; the live database is only read.
    """
    with operation.session(building) as fresh, silenced(fresh):
        _require_fitting(operation, fresh, tables)
        schema = fingerprint(read_snapshot(fresh))
        keys = [ForeignKey(*columns) for columns in rows(fresh, _FOREIGN_KEYS, {"names": [table.name for table in tables]})]
        for key in keys:
            execute(fresh, sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(_identifier(key), sql.Identifier(key.name)))
        execute(fresh, "SET session_replication_role = replica")  # the tables' own triggers are not for this
        execute(fresh, sql.SQL("TRUNCATE ONLY {}").format(sql.SQL(", ").join(map(_identifier, tables))))
        folder = operation.work_folder("kept")
        counted = _dump_rows(operation, tables, folder, jobs)
        _load.load(operation.tools(), folder, building, jobs, ["--data-only", "--disable-triggers"])
        for key in keys:
            _add_again(fresh, key)
        wrong = differences(counted, count_rows_of(fresh, [(table.schema, table.table) for table in tables]))
        wrong += [] if fingerprint(read_snapshot(fresh)) == schema else ["the schema is another one"]
        execute(fresh, sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(map(_identifier, tables))))
    if wrong:
        raise DbopsError("The rows were not carried over as they were: %s." % "; ".join(wrong[:10]), differences=wrong)
    return counted


def _identifier(item: KeptTable | ForeignKey) -> sql.Identifier:
    return sql.Identifier(item.schema, item.table)


def _require_fitting(operation: Operation, fresh: Connection, tables: t.Sequence[KeptTable]) -> None:
    """The columns of both sides fit; the server would say the same, with less help."""
    with operation.session(read_only=True) as live:
        for table in tables:
            here = {name: kind for name, kind, _needed in rows(live, _COLUMNS, (table.schema, table.table))}
            there = {name: (kind, needed) for name, kind, needed in rows(fresh, _COLUMNS, (table.schema, table.table))}
            wrong = ["column '%s' is not in the fresh one" % name for name in here if name not in there]
            wrong += [
                "column '%s' is %s here and %s there" % (name, here[name], kind)
                for name, (kind, _needed) in there.items()
                if name in here and here[name] != kind
            ]
            wrong += [
                "column '%s' is new and has no default" % name for name, (_kind, needed) in there.items() if needed and name not in here
            ]
            if wrong:
                raise DbopsError(
                    "The rows of table '%s' do not fit into the fresh database: %s. Migrate the live database first, or take the table out of %s."
                    % (table.name, "; ".join(wrong[:5]), _VARIABLE)
                )


def _dump_rows(operation: Operation, tables: t.Sequence[KeptTable], folder: str, jobs: int) -> tuple[TableRows, ...]:
    with operation.session(read_only=True) as live:
        execute(live, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = value(live, "SELECT pg_export_snapshot()")
        patterns = [_dump.table_option(table.schema, table.table) for table in tables]
        _dump.dump(operation.tools(), operation.database, snapshot, folder, jobs, "1", ["--data-only", *patterns])
        counted = count_rows_of(live, [(table.schema, table.table) for table in tables])
        execute(live, "COMMIT")
    return counted


def _add_again(fresh: Connection, key: ForeignKey) -> None:
    """The server checks every row: what does not fit is its own sentence."""
    name = sql.Identifier(key.name)
    statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(_identifier(key), name) + sql.SQL(key.definition)
    refused = attempt(fresh, statement)
    if refused:
        raise DbopsError(
            "The rows cannot be carried over, since a foreign key of table '%s.%s' would not hold: %s."
            " Carry the table on its other side over as well, or neither (%s)."
            % (key.schema, key.table, " ".join(refused.split()).rstrip("."), _VARIABLE)
        )
    if key.comment:
        execute(fresh, sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, _identifier(key), sql.Literal(key.comment)))
