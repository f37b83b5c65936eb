# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have a backup come back from the offsite repository, whole and checked, before it is restored like any other."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import folder_size, sync
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import MANIFEST, Backup, read_backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, manifest_sha256
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._copies import Copy, read_copies, select_copy, tags_of_database
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Restic
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import size_text


@dataclass(frozen=True)
class Fetched:
    """A backup that is here now. ``only_manifest``: nothing but its manifest is, so that check mode can say what a run would do."""

    backup: Backup
    only_manifest: bool = False


def fetch_backup(operation: Operation, restic: Restic, wanted: str) -> Fetched:
    """The copy that ``wanted`` means (``latest``, an id, a UTC time), as a backup on this host.

    One that is here already, and is whole, is not fetched again.

    :raises DbopsError: naming what there is; also where it does not come back as it was sent, or there is no room for it.
    """
    copy = _find(operation, restic, wanted)
    here = _intact(operation, copy)
    if here:
        operation.warnings.append("Backup '%s' is on this host, whole, and the same as its copy: it was not fetched." % copy.backup)
        return Fetched(here)
    if not operation.check_mode:
        operation.archive.require_writable()
    free = operation.archive.free_space()
    if free < copy.size:
        raise DbopsError(
            "There is too little room in '%s' for backup '%s' from the offsite repository: %s needed, %s free. Nothing was touched."
            % (operation.archive.folder, copy.backup, size_text(copy.size), size_text(free))
        )
    if operation.check_mode:
        return Fetched(_manifest_alone(operation, restic, copy), only_manifest=True)
    operation.enter("restore: fetch")
    return Fetched(_publish(operation, _fetch_whole(operation, restic, copy)))


def _fetch_whole(operation: Operation, restic: Restic, copy: Copy) -> Backup:
    """The last snapshot of the backup, or an earlier one: where a run was killed while it sent, restic has kept half of it as well."""
    *newer, oldest = (copy.snapshot, *copy.earlier)
    for snapshot in newer:
        try:
            return _fetch_one(operation, restic, copy, snapshot)
        except Interrupted:
            raise
        except DbopsError as error:
            operation.warnings.append(
                "Snapshot %s of backup '%s' is not whole, an earlier one is tried. %s" % (snapshot[:8], copy.backup, error.message)
            )
            shutil.rmtree(os.path.join(operation.work_folder("fetch"), copy.backup), ignore_errors=True)
    return _fetch_one(operation, restic, copy, oldest)


def _fetch_one(operation: Operation, restic: Restic, copy: Copy, snapshot: str) -> Backup:
    work = operation.work_folder("fetch")
    operation.progress.expect(total=copy.size)
    with operation.progress.measuring(lambda: folder_size(work)):
        restic.fetch(snapshot, work)
    fetched = _require_same(restic, copy, os.path.join(work, copy.backup))
    verify_files(fetched)
    return fetched


def _find(operation: Operation, restic: Restic, wanted: str) -> Copy:
    if not wanted or wanted.startswith("/"):
        raise DbopsError(
            "With dbops_restore_from=offsite, dbops_restore_backup is latest, the id of a backup, or a UTC time, not '%s'." % wanted
        )
    if not restic.exists():
        raise DbopsError(
            "There is no restic repository at '%s': correct dbops_offsite_repository. Nothing was touched." % restic.repository
        )
    copies = read_copies(restic.snapshots(tags_of_database(operation.database)))
    if not copies:
        raise DbopsError(
            "The offsite repository '%s' holds no copy of database '%s' under the name '%s'. If it was sent from a host of another name, give"
            " that one with dbops_offsite_host." % (restic.repository, operation.database, restic.repository.host)
        )
    copy = select_copy(copies, wanted, operation.server.identifier, str(restic.repository))
    if copy.server != operation.server.identifier:
        operation.warnings.append(
            "Backup '%s' was made on another server (%s) than this one (%s), of which the repository holds %s."
            % (
                copy.backup,
                copy.server,
                operation.server.identifier,
                "others" if any(item.server == operation.server.identifier for item in copies) else "none",
            )
        )
    elif any(item.server != copy.server for item in copies):
        newest = next(item for item in copies if item.server != copy.server)
        operation.warnings.append(
            "The repository also holds copies that another server made (%s), the newest '%s'. If this server was set up anew, that may be the one"
            " you want: name it by its id." % (newest.server, newest.backup)
        )
    for newer in copies[: copies.index(copy)] if copy.backup != wanted else ():
        if newer.server == copy.server and newer.proof == FAILED:
            operation.warnings.append(
                "The newer copy '%s' was passed over, since it did not come back when it was restored to prove it. To restore it all the same,"
                " name it by its id." % newer.backup
            )
    if copy.proof == FAILED:
        operation.warnings.append("Backup '%s' did not come back as it was made when it was restored to prove it." % copy.backup)
    return copy


def _intact(operation: Operation, copy: Copy) -> Backup | None:
    """The same backup on this host, where every sum of it is right."""
    try:
        backup = read_backup(os.path.join(operation.archive.folder, copy.backup))
        if manifest_sha256(backup) != copy.manifest:
            return None
        verify_files(backup)
    except (DbopsError, OSError):
        return None
    return backup


def _manifest_alone(operation: Operation, restic: Restic, copy: Copy) -> Backup:
    folder = os.path.join(operation.work_folder("fetch"), copy.backup)
    os.mkdir(folder, 0o700)
    restic.read_file(copy.snapshot, "%s/%s" % (copy.backup, MANIFEST), os.path.join(folder, MANIFEST))
    return _require_same(restic, copy, folder)


def _require_same(restic: Restic, copy: Copy, folder: str) -> Backup:
    backup = read_backup(folder)
    if (backup.manifest.id, manifest_sha256(backup)) != (copy.backup, copy.manifest):
        raise DbopsError(
            "What came back from the offsite repository '%s' is not backup '%s' as it was sent: its manifest is another one. Name another backup;"
            " what there is: restic snapshots --tag dbops." % (restic.repository, copy.backup)
        )
    return backup


def _publish(operation: Operation, fetched: Backup) -> Backup:
    """Give it its name; a damaged one of that name stays, for whoever wants to know why."""
    number, path = 1, os.path.join(operation.archive.folder, fetched.manifest.id)
    while os.path.lexists(path):
        path = os.path.join(operation.archive.folder, "%s.offsite%s" % (fetched.manifest.id, "" if number == 1 else "-%d" % number))
        number += 1
    for folder, _folders, files in os.walk(fetched.path, topdown=False):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o600)
            sync(os.path.join(folder, name))
        os.chmod(folder, 0o700)
        sync(folder)
    os.rename(fetched.path, path)
    sync(operation.archive.folder)
    return read_backup(path)
