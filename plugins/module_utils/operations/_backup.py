# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One verified backup, or nothing."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump
from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import folder_size
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import FORMAT_ENCRYPTED, Backup, Manifest, checksum_files
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_description import SnapshotReaders, describe_contents
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._restorable import check_restorable
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import give_up, rows, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TABLES
from ansible_collections.dbops.postgres.plugins.module_utils.server._sequences import read_sequences, unmoved
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: How much more than the last backup's size is asked of the volume, to have room for growth.
_GROWTH = 1.2

#: Bytes of the indexes, which a dump leaves out, as the last VACUUM saw them: the functions that measure one wait for its table's lock.
_INDEX_SIZE = "SELECT coalesce(sum(relpages::bigint), 0)::bigint * current_setting('block_size')::int FROM pg_class WHERE relkind = 'i'"


@dataclass(frozen=True)
class Estimate:
    """Bytes that the backup may need, bytes that are free, and what the estimate stands on."""

    needed: int
    free: int
    basis: str

    def __str__(self) -> str:
        return "about %s needed (%s), %s free" % (size_text(self.needed), self.basis, size_text(self.free))


def back_up(operation: Operation, options: BackupOptions) -> Result:
    """The module's work: make one, or in check mode say what it would make."""
    _database.require(operation.maintenance, operation.database)
    estimate = require_space(operation, options.compression == "none")
    if operation.check_mode:
        backup_id = operation.archive.new_id(operation.database, operation.started_at, options.reason)
        lines = [
            "Would back up database '%s' to '%s/%s...': %s."
            % (operation.database, operation.archive.folder, backup_id.rsplit("_", 1)[0], estimate)
        ]
        return Result(True, lines, facts={"backup": None, "estimate": estimate.__dict__}, diff=_diff(operation))
    backup = make_backup(operation, options)
    trouble = not_restorable(backup)
    operation.warnings += [trouble] if trouble else []
    return Result(
        True,
        describe(operation, backup),
        facts={"backup": facts_of(backup), "estimate": estimate.__dict__},
        diff=_diff(operation),
        journal={"backup": backup.manifest.id},
    )


def make_backup(operation: Operation, options: BackupOptions) -> Backup:
    """Make, verify and publish a backup; other operations call this for theirs.

    :raises DbopsError: with nothing left under a final name.
    """
    work = operation.work_folder("backup")
    tools = operation.tools()
    contents = options.of or operation.database
    operation.enter("backup: dump")
    created = utc_now()
    with operation.session(contents, read_only=True) as connection:
        connection.cursor().execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot_name = value(connection, "SELECT pg_export_snapshot()")
        compression = _compression(operation, connection, options)
        operation.progress.expect(len(rows(connection, TABLES)), expected_size(operation, contents, compression))
        sequences = _sequences_now(operation, contents)
        readers = SnapshotReaders(operation, contents, snapshot_name)
        with ThreadPoolExecutor(1) as beside:
            describing = beside.submit(describe_contents, operation, connection, options, compression, timestamp(created), work, readers)
            try:
                with operation.progress.measuring(lambda: folder_size(work)):
                    _dump.dump(tools, contents, snapshot_name, work, options.jobs, compression)
            except BaseException:
                if describing.done():
                    describing.result()  # where counting failed, the snapshot ended with it: that is the cause to report
                readers.give_up()
                give_up(connection)
                raise
            operation.enter("backup: count")
            stood = unmoved(sequences, _sequences_now(operation, contents))
            manifest = replace(describing.result(), finished=timestamp(utc_now()), sequences=stood)
        connection.cursor().execute("COMMIT")
    operation.enter("backup: verify")
    operation.progress.expect(len(manifest.tables))
    with ThreadPoolExecutor(1) as beside:
        summing = beside.submit(checksum_files, work)  # what pg_restore has just read is read from memory
        _dump.read_in_full(tools, work)
        summed = summing.result()
    restorable = check_restorable(operation, work, manifest.schema_fingerprint, options.check_restorable)
    manifest = _encrypted(operation, work, replace(manifest, restorable=restorable))
    operation.enter("backup: publish")
    backup = operation.archive.publish(work, manifest, () if manifest.recipients else summed)
    operation.give_away("backup")
    return backup


def _encrypted(operation: Operation, work: str, manifest: Manifest) -> Manifest:
    """After everything that has to read the dump: from here on only the private key can."""
    recipients = operation.request.encryption.recipients
    if not recipients:
        return manifest
    operation.enter("backup: encrypt")
    operation.age().encrypt(work)
    return replace(manifest, recipients=recipients, format=FORMAT_ENCRYPTED)


def _sequences_now(operation: Operation, database: str) -> dict[str, int | None] | None:
    """In a session of its own: the dump's would keep each of them locked to its end. One that cannot be had costs no backup."""
    try:
        with operation.session(database, read_only=True) as connection:
            return read_sequences(connection)
    except ServerError:
        return None


def _compression(operation: Operation, connection: Connection, options: BackupOptions) -> str:
    if options.compression == "none":
        return _dump.UNCOMPRESSED
    return _dump.best_compression(operation.server.version_number, _configure_options(connection))


def _configure_options(connection: Connection) -> str:
    """How the server (and so the image's pg_dump) was built; only privileged users may read it."""
    if not value(connection, "SELECT has_function_privilege('pg_config()', 'EXECUTE')"):
        return ""
    return value(connection, "SELECT setting FROM pg_config WHERE name = 'CONFIGURE'") or ""


def require_space(operation: Operation, uncompressed: bool = False) -> Estimate:
    """:raises DbopsError: where the volume has too little room, with the estimate."""
    estimate = estimate_space(operation, uncompressed)
    if estimate.free < estimate.needed:
        raise DbopsError(
            "The volume of '%s' has too little room for a backup of '%s': %s. Free some, or name another folder with dbops_backup_dir."
            % (operation.archive.folder, operation.database, estimate),
            estimate=estimate.__dict__,
        )
    return estimate


def estimate_space(operation: Operation, uncompressed: bool = False) -> Estimate:
    """From the size of the last backup of that kind, grown like the database; for the first one, the database's size without its indexes."""
    operation.enter("backup: estimate")
    free = operation.archive.free_space()
    now = _database.size(operation.maintenance, operation.database)
    last = _last_of_that_kind(operation, uncompressed)
    times, why = (2, ", twice while it is encrypted") if operation.request.encryption.recipients else (1, "")
    if last:
        return Estimate(int(now * _ratio(last) * _GROWTH) * times, free, "from the backup '%s'%s" % (last.manifest.id, why))
    with operation.session(read_only=True) as connection:
        indexes = value(connection, _INDEX_SIZE)
    return Estimate(max(now - int(indexes), 0) * times, free, "the size of the tables, uncompressed%s" % why)


def expected_size(operation: Operation, database: str, compression: str) -> int:
    """Bytes that the dump will have if it is like the one before; 0 where there is none."""
    last = _last_of_that_kind(operation, compression == _dump.UNCOMPRESSED)
    return int(_database.size(operation.maintenance, database) * _ratio(last)) if last else 0


def _last_of_that_kind(operation: Operation, uncompressed: bool) -> Backup | None:
    backups, _unreadable = operation.archive.catalogue(operation.database)
    for backup in backups:
        of_that_kind = (backup.manifest.compression == _dump.UNCOMPRESSED) == uncompressed
        if of_that_kind and backup.manifest.server_identifier == operation.server.identifier and backup.manifest.database_size:
            return backup
    return None


def _ratio(backup: Backup) -> float:
    return backup.manifest.size / backup.manifest.database_size


def describe(operation: Operation, backup: Backup) -> list[str]:
    manifest = backup.manifest
    seconds = sum(seconds for phase, seconds in operation.phases.items() if phase.startswith("backup"))
    return (
        [
            "Backup '%s' of database '%s' is complete and verified: %s in %s, %s of %s, taken in %s."
            % (
                manifest.id,
                manifest.database,
                count_text(manifest.rows, "row"),
                count_text(len(manifest.tables), "table"),
                size_text(manifest.size),
                size_text(manifest.database_size),
                duration_text(seconds),
            ),
            "It is in '%s'. To go back to it: %s" % (backup.path, operation.restore_command(manifest.id)),
        ]
        + _told_of_encryption(manifest)
        + (
            ["What its tables hold was counted, not digested, so a restore can only compare the counts: %s." % manifest.contents_unknown]
            if manifest.contents_unknown
            else []
        )
    )


def _told_of_encryption(manifest: Manifest) -> list[str]:
    number = len(manifest.recipients)
    if not number:
        return []
    return ["It is encrypted for %s: nobody can restore it without the private key of one of them." % count_text(number, "recipient")]


def not_restorable(backup: Backup) -> str:
    """A sentence about a backup of which it is known that pg_restore alone cannot restore it; empty for others."""
    found = backup.manifest.restorable
    if found.state != "no":
        return ""
    mends = " ".join(dict.fromkeys(failure.mend for failure in found.failures if failure.mend))
    return "Backup '%s' is whole, but pg_restore alone cannot restore it, since it works with an empty search_path: %s.%s" % (
        backup.manifest.id,
        "; ".join("%s: %s" % (failure.object, failure.reason.rstrip(".")) for failure in found.failures[:5]),
        " Mend it in the database, then back up anew: %s" % mends if mends else " Give the functions in it a search_path of their own.",
    )


def facts_of(backup: Backup) -> dict[str, t.Any]:
    """What a result says of a backup; sizes in bytes."""
    manifest = backup.manifest
    return {
        "id": manifest.id,
        "path": backup.path,
        "created": manifest.created,
        "reason": manifest.reason,
        "size": manifest.size,
        "database_size": manifest.database_size,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "server_version": manifest.server_version,
        "server_identifier": manifest.server_identifier,
        "schema_fingerprint": manifest.schema_fingerprint,
        "restorable": manifest.restorable.to_json(),
        "encrypted": bool(manifest.recipients),
        "contents_unknown": manifest.contents_unknown or ("" if manifest.contents else "it was made by an earlier version"),
    }


def _diff(operation: Operation) -> dict[str, str]:
    """The same in check mode and in the run: one backup more, whatever its name."""
    backups, _unreadable = operation.archive.catalogue(operation.database)
    known = [backup.manifest.id for backup in backups if backup.manifest.run_id != operation.run_id]
    before = "%s of %s\n" % (count_text(len(known), "backup"), operation.database)
    after = "%s of %s\n" % (count_text(len(known) + 1, "backup"), operation.database)
    return {"before_header": operation.archive.folder, "after_header": operation.archive.folder, "before": before, "after": after}
