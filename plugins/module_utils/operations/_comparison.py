# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a restored copy is what was backed up; and the way forward for somebody who wants it although it is not."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import SCHEMA, Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._plain_file import PlainFile
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import extra_variable
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.server import _contents, _sequences
from ansible_collections.dbops.postgres.plugins.module_utils.server._contents import Contents, digest_large_objects
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, count_large_objects, differences
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import (
    Snapshot,
    difference,
    fingerprint,
    in_one_wording,
    read_snapshot,
    render,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server._sequences import read_sequences
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: How many differences are told one by one; the result's ``differences`` holds all.
_TOLD = 10


def differs_from_backup(backup: Backup, counted: tuple[TableRows, ...], connection: Connection) -> list[str]:
    """Sentences on what a restored copy has otherwise than the manifest: counts and sequences."""
    wrong = differences(backup.manifest.tables, counted)
    objects = count_large_objects(connection)
    if objects != backup.manifest.large_objects:
        wrong.append("%d large objects instead of %d" % (objects, backup.manifest.large_objects))
    return wrong + _sequences.differences(backup.manifest.sequences, read_sequences(connection))


def differs_in_schema(backup: Backup, connection: Connection) -> list[str]:
    """Lines on definitions, owners and grants that differ. A newer PostgreSQL may write the same definition in other words."""
    snapshot = read_snapshot(connection)
    if fingerprint(snapshot) == backup.manifest.schema_fingerprint:
        return []
    with open(os.path.join(backup.path, SCHEMA), encoding="utf-8") as stream:
        made: Snapshot = json.load(stream)
    if fingerprint(made) != backup.manifest.schema_fingerprint:
        return ["- what it was: the backup's file '%s' is not the one that its manifest tells of" % SCHEMA]
    return render(difference(in_one_wording(made), snapshot))  # an earlier version left each in its own words


def differs_in_contents(backup: Backup, held: Contents, connection: Connection) -> list[str]:
    """Sentences on tables, and large objects, that hold other values."""
    wrong = _contents.differences(backup.manifest.contents, held.digests)
    expected = backup.manifest.large_objects_digest
    if expected and digest_large_objects(connection) not in ("", expected):
        wrong.append("the large objects hold other values than were backed up")
    return wrong


def written_otherwise(backup: Backup, connection: Connection) -> str:
    """Why the same value may be written in other bytes in this copy, so that digests cannot be compared; empty where they can."""
    made = backup.manifest
    before = (made.server_version_number // 10000, made.properties.encoding)
    encoding = value(connection, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()")
    now = (connection.server_version // 10000, encoding)
    if before == now:
        return ""
    return "PostgreSQL %d may write them, in %s, otherwise than PostgreSQL %d wrote them in %s" % (*now, *before)


def told(sentences: t.Sequence[str]) -> str:
    """So many of them as a person reads."""
    return "; ".join(sentences[:_TOLD]) + ("; and %d more" % (len(sentences) - _TOLD) if len(sentences) > _TOLD else "")


def differs_from_file(file: PlainFile, counted: tuple[TableRows, ...]) -> list[str]:
    """A plain dump says itself how many rows it has; what it fills with INSERT, or a custom-format file, does not."""
    found = {table.name: table.rows for table in counted}
    # Not every name is found: old dumps name no schema, and an extension's tables are not counted.
    return [
        "table %s has %d rows instead of %d" % (name, found[name], rows)
        for name, rows in file.rows.items()
        if found.get(name, rows) != rows
    ]


def consent_to(wrong: t.Iterable[str]) -> str:
    """12 hexadecimal digits that stand for exactly these differences, so that no others are consented to."""
    return hashlib.sha256("\n".join(sorted(wrong)).encode()).hexdigest()[:12]


def require_accepted(operation: Operation, wrong: list[str], name: str, accepted: str) -> None:
    """:raises DbopsError: where there are differences that nobody has consented to, with the line that does."""
    if not wrong:
        return
    if accepted == consent_to(wrong):
        operation.warnings.append("Restored although it differs from '%s', as consented to: %s." % (name, told(wrong)))
        return
    others = " These are others than those consented to with '%s'." % accepted if accepted else ""
    raise DbopsError(
        "The restored copy differs from '%s': %s.%s If you want it as it is, with exactly these differences, type: %s %s"
        % (
            name,
            told(wrong),
            others,
            operation.restore_command(name),
            extra_variable("dbops_restore_accept_differences", consent_to(wrong)),
        ),
        differences=wrong,
    )


def refreshed_views(connection: Connection) -> list[str]:
    """Materialized views that a restore computes from its tables, whatever they showed when the backup was made
    (https://www.postgresql.org/docs/current/app-pgdump.html)."""
    found = rows(connection, "SELECT schemaname || '.' || matviewname FROM pg_matviews WHERE ispopulated ORDER BY 1")
    return [name for (name,) in found]
