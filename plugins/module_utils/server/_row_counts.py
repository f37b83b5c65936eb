# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many rows each table has, exactly, as one snapshot sees it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Ordinary tables and partitions that hold rows of their own; what an extension made is the extension's.
TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class TableRows:
    schema: str
    table: str
    rows: int

    @property
    def name(self) -> str:
        return "%s.%s" % (self.schema, self.table)


def count_rows(connection: Connection, search_path: str = "") -> tuple[TableRows, ...]:
    """Count every table. Row-level security must not hide rows: with it off, a count that would be filtered is an error instead
    (https://www.postgresql.org/docs/current/ddl-rowsecurity.html).

    :param search_path: what the database's functions expect, where the database does not say so itself yet.
    """
    return count_rows_of(connection, rows(connection, TABLES), search_path)


def count_rows_of(connection: Connection, tables: t.Iterable[tuple[t.Any, ...]], search_path: str = "") -> tuple[TableRows, ...]:
    """Likewise of some tables, each given as ``(schema, table)``."""
    execute(connection, "SET row_security = off")
    counted = []
    with in_force(connection, search_path):
        for schema, table in tables:
            query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))
            counted.append(TableRows(schema, table, int(value(connection, query))))
    return tuple(counted)


def count_newer_rows(connection: Connection, transaction: int) -> dict[str, int]:
    """Rows that were inserted or updated by transactions from ``transaction`` (64 bits) on; tables without any stay out.

    Only of use in the very database (not a restored copy) in which the number was taken.
    """
    execute(connection, "SET row_security = off")
    passed = int(value(connection, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")) - transaction
    newer = {}
    tables = rows(connection, TABLES)
    with in_force(connection):
        for schema, table in tables:
            query = sql.SQL("SELECT count(*) FROM ONLY {} WHERE age(xmin) <= {}").format(sql.Identifier(schema, table), sql.Literal(passed))
            number = int(value(connection, query))
            if number:
                newer["%s.%s" % (schema, table)] = number
    return newer


def count_large_objects(connection: Connection) -> int:
    return int(value(connection, "SELECT count(*) FROM pg_largeobject_metadata"))


def differences(expected: t.Iterable[TableRows], found: t.Iterable[TableRows]) -> list[str]:
    """One sentence for each table whose count is not what was expected."""
    wanted = {item.name: item.rows for item in expected}
    present = {item.name: item.rows for item in found}
    sentences = []
    for name in sorted(set(wanted) | set(present)):
        if name not in present:
            sentences.append("table %s is missing (%d rows)" % (name, wanted[name]))
        elif name not in wanted:
            sentences.append("table %s is not in the backup (%d rows)" % (name, present[name]))
        elif wanted[name] != present[name]:
            sentences.append("table %s has %d rows instead of %d" % (name, present[name], wanted[name]))
    return sentences


def changes(before: t.Iterable[TableRows], after: t.Iterable[TableRows]) -> dict[str, int]:
    """Rows gained (or lost, negative) by table; tables without a change stay out."""
    old = {item.name: item.rows for item in before}
    new = {item.name: item.rows for item in after}
    gained = {name: new.get(name, 0) - old.get(name, 0) for name in sorted(set(old) | set(new))}
    return {name: number for name, number in gained.items() if number}
