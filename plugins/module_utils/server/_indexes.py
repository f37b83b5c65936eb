# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether indexes are whole inside: the checks of the extension amcheck, where the server's image has it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, attempt_with_code, rows, value

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

#: Data and index corrupted (https://www.postgresql.org/docs/current/errcodes-appendix.html); all else is about the server.
_CORRUPTED = ("XX001", "XX002")


@dataclass(frozen=True)
class IndexCheck:
    """``number`` of indexes that were looked into; ``failures``: those that are damaged; ``troubles``: those that could not be looked into;
    ``unavailable``: why none could be."""

    number: int = 0
    failures: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    unavailable: str = ""


def check_indexes(connection: Connection) -> IndexCheck:
    """Look into every B-tree index of a database that nobody else uses; the extension is added to it for that."""
    if not value(connection, "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"):
        return IndexCheck(unavailable="the image has no amcheck")
    refused = attempt(connection, "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog")
    if refused:
        return IndexCheck(unavailable="amcheck could not be added: %s" % refused.splitlines()[0])
    failures, troubles = [], []
    found = rows(connection, _INDEXES)
    for oid, name in found:
        said, code = attempt_with_code(connection, "SELECT pg_catalog.bt_index_check(%d::oid::regclass)" % oid)
        if code in _CORRUPTED:
            failures.append("index %s is damaged: %s" % (name, said.splitlines()[0]))
        elif said:
            troubles.append("%s (%s)" % (name, said.splitlines()[0]))
    return IndexCheck(len(found) - len(troubles), tuple(failures), tuple(troubles))
