# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner's statistics of a new database, which a dump does not carry before PostgreSQL 18."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, rows, sql

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2
"""


def analyze(connection: Connection, search_path: str) -> list[str]:
    """Make the statistics anew; returns a sentence for each table where that fails.

    ANALYZE computes the expressions of indexes, so it calls functions of the user's, and one that fails is no fault of the contents.
    """
    failures = []
    with in_force(connection, search_path):
        if not attempt(connection, "ANALYZE"):
            return []
        for schema, table in rows(connection, _TABLES):
            refused = attempt(connection, sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))
            if refused:
                failures.append("%s.%s: %s" % (schema, table, refused.splitlines()[0]))
    return failures


def warning(database: str, failures: t.Sequence[str]) -> str:
    return "The planner's statistics of database '%s' could not be made anew for all tables (the server will try again): %s." % (
        database,
        "; ".join(failures[:5]),
    )
