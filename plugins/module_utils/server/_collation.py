# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version of the collation that a database was made with, and the server's present one: another C library or ICU sorts otherwise.

PostgreSQL 15 and later know it of a database (https://www.postgresql.org/docs/current/sql-alterdatabase.html, notes on collations).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


@dataclass(frozen=True)
class CollationVersion:
    """``recorded`` when the database was made, ``actual`` now; both are empty where nobody knows."""

    recorded: str = ""
    actual: str = ""

    @property
    def differs(self) -> bool:
        return bool(self.recorded and self.actual) and self.recorded != self.actual


def collation_version(connection: Connection, database: str) -> CollationVersion:
    """Of any database of the same server."""
    if connection.server_version < 150000:
        return CollationVersion()
    query = (
        "SELECT coalesce(datcollversion, ''), coalesce(pg_database_collation_actual_version(oid), '') FROM pg_database WHERE datname = %s"
    )
    for recorded, actual in rows(connection, query, (database,)):
        return CollationVersion(recorded, actual)
    return CollationVersion()
