# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether indexes are whole inside: the checks of the extension amcheck, where the server's image has it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, rows, value

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: B-tree indexes that can be checked (https://www.postgresql.org/docs/current/amcheck.html).
_INDEXES = """
SELECT c.oid::bigint, c.oid::regclass::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid AND c.relnamespace <> 'pg_toast'::regnamespace
  AND c.relnamespace <> 'pg_catalog'::regnamespace
ORDER BY 2
"""


@dataclass(frozen=True)
class IndexCheck:
    """``number`` of indexes that were looked into; ``unavailable``: why none could be."""

    number: int = 0
    failures: tuple[str, ...] = ()
    unavailable: str = ""


def check_indexes(connection: Connection) -> IndexCheck:
    """Look into every B-tree index of a database that nobody else uses; the extension is added to it for that."""
    if not value(connection, "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"):
        return IndexCheck(unavailable="the image has no amcheck")
    refused = attempt(connection, "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog")
    if refused:
        return IndexCheck(unavailable="amcheck could not be added: %s" % refused.splitlines()[0])
    failures = []
    found = rows(connection, _INDEXES)
    for oid, name in found:
        said = attempt(connection, "SELECT pg_catalog.bt_index_check(%d::oid::regclass)" % oid)
        if said:
            failures.append("index %s is damaged: %s" % (name, said.splitlines()[0]))
    return IndexCheck(len(found), tuple(failures))
