# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backups of one database on disk: names, atomic publishing, catalogue, choice.

A backup is a folder ``<database>_<UTC time>[_<reason>]`` with the dump and ``manifest.json``. It is written under a name that
starts with a dot and renamed when it is complete, read back and on the disk, so whatever has a final name is whole.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pwd
import re
import typing as t
from dataclasses import replace
from urllib.parse import quote

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import remove_folder, sync, write_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import (
    MANIFEST,
    Backup,
    FileEntry,
    Manifest,
    checksum_files,
    read_backup,
    sealed,
)
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import parse_time

#: The reason of a backup of what a restore is about to replace.
BEFORE_RESTORE = "before_restore"

_PARTIAL = re.compile(r"^\.dbops-([0-9]{8}T[0-9]{6}_[0-9a-f]{6})-")


class Archive:
    """The backup folder of one database.

    :raises DbopsError: where its path is not absolute (the SSH user's own folder is nothing that the engine knows) or has line breaks.
    """

    def __init__(self, folder: str) -> None:
        if not os.path.isabs(folder) or not folder.isprintable():
            raise DbopsError("dbops_backup_dir has to be an absolute path in one line on the target host, not '%s'." % folder)
        self.folder = folder.rstrip("/") or "/"

    def require_writable(self) -> None:
        """Make sure that backups can be written, making the folder itself (never its parents) where it is missing.

        :raises DbopsError: saying what to do about it.
        """
        user = pwd.getpwuid(os.getuid()).pw_name
        if os.path.islink(self.folder):
            raise DbopsError("The backup folder '%s' is a symbolic link: name the folder itself in dbops_backup_dir." % self.folder)
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise DbopsError(
                "The backup folder '%s' cannot be made (%s): as root on that host, run: install -d -m 0700 -o %s '%s'"
                % (self.folder, error.strerror, user, self.folder)
            ) from None
        if not os.path.isdir(self.folder) or not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise DbopsError(
                "The backup folder '%s' is not a folder that this user may write: as root on that host, run: chown %s '%s'"
                % (self.folder, user, self.folder)
            )

    def free_space(self) -> int:
        """Bytes that this user may still write."""
        try:
            usage = os.statvfs(self.folder if os.path.isdir(self.folder) else os.path.dirname(self.folder) or "/")
        except OSError as error:
            raise DbopsError("The backup folder '%s' cannot be made (%s): make its parent first." % (self.folder, error.strerror)) from None
        return usage.f_bavail * usage.f_frsize

    def work_folder(self, run_id: str, purpose: str) -> str:
        """A folder of this run's own, on the same file system, whose name says whose leftover it is."""
        path = os.path.join(self.folder, ".dbops-%s-%s" % (run_id, purpose))
        os.mkdir(path, 0o700)
        return path

    def publish(self, work: str, manifest: Manifest, summed: t.Sequence[FileEntry] = ()) -> Backup:
        """Checksum, write the manifest, see everything on the disk, then give the folder its final name.

        :param summed: what ``checksum_files`` has said of these very files, where that was done beside something else.
        """
        manifest = replace(manifest, files=tuple(summed or checksum_files(work)))
        write_file(os.path.join(work, MANIFEST), json.dumps(sealed(manifest), indent=1, sort_keys=True) + "\n")
        for folder, _folders, _files in os.walk(work, topdown=False):
            sync(folder)
        final = os.path.join(self.folder, manifest.id)
        if os.path.lexists(final):
            raise DbopsError("A backup named '%s' exists already in '%s': is the clock of this host right?" % (manifest.id, self.folder))
        os.rename(work, final)
        sync(self.folder)
        return Backup(final, manifest)

    def remove(self, backup: Backup, run_id: str, server_identifier: str) -> None:
        """Take its final name away first: what is half removed is no backup, and the next run removes the rest of it."""
        path = os.path.join(self.folder, ".dbops-%s-%s-removed-%s" % (run_id, server_identifier, backup.manifest.id))
        os.rename(backup.path, path)
        sync(self.folder)
        remove_folder(path)

    def new_id(self, database: str, at: datetime.datetime, reason: str) -> str:
        name = "%s_%s%s" % (folder_name(database), at.strftime("%Y%m%d_%H%M%S"), "_" + reason if reason else "")
        number = 1
        while os.path.lexists(os.path.join(self.folder, name if number == 1 else "%s-%d" % (name, number))):
            number += 1
        return name if number == 1 else "%s-%d" % (name, number)

    def catalogue(self, database: str = "") -> tuple[list[Backup], list[str]]:
        """The backups, newest first, and the names of folders that look like backups but cannot be read."""
        backups, unreadable = [], []
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise DbopsError("The backup folder '%s' cannot be read: %s." % (self.folder, error.strerror)) from None
        for name in names:
            path = os.path.join(self.folder, name)
            if name.startswith(".") or not os.path.isfile(os.path.join(path, MANIFEST)):
                continue
            try:
                backup = read_backup(path)
            except DbopsError:
                unreadable.append(name)
                continue
            if not database or backup.manifest.database == database:
                backups.append(backup)
        backups.sort(key=lambda backup: (backup.manifest.created, backup.manifest.id), reverse=True)
        return backups, unreadable

    def leftovers(self, is_alive: t.Callable[[str], bool]) -> list[str]:
        """Folders that dead runs left half-written."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        matches = [(name, _PARTIAL.match(name)) for name in sorted(names)]
        return [os.path.join(self.folder, name) for name, match in matches if match and not is_alive(match.group(1))]


def folder_name(database: str) -> str:
    """A database's name as part of a folder's: percent-encoded, never hidden, and short enough for every file system."""
    name = quote(database, safe="")
    name = "%2E" + name[1:] if name.startswith(".") else name
    return name if len(name) <= 100 else "%s~%s" % (name[:90].rsplit("%", 1)[0], hashlib.sha256(database.encode()).hexdigest()[:8])


def select(backups: t.Sequence[Backup], wanted: str, server_identifier: str, database: str) -> Backup:
    """The backup that ``wanted`` means: ``latest``, an id, or a UTC time (the newest made at or before it).

    ``latest`` and a time only mean backups of this very database on this very server; an id may name any. ``latest`` passes over what
    was saved before a restore: after a first try that did not help, that would be the damaged state. Both pass over what did not come
    back when it was restored to prove it.

    :param backups: newest first.
    :raises DbopsError: naming what there is; also where it cannot be told which is the latest.
    """
    for backup in backups:
        if backup.manifest.id == wanted:
            return backup
    moment = parse_time(wanted)
    of_this_database = [
        backup for backup in backups if (backup.manifest.server_identifier, backup.manifest.database) == (server_identifier, database)
    ]
    failed = [backup.manifest.id for backup in of_this_database if read_proof(backup).state == FAILED]
    own = [backup for backup in of_this_database if backup.manifest.id not in failed]
    if wanted == "latest":
        own = [backup for backup in own if backup.manifest.reason != BEFORE_RESTORE]
        _require_one_latest(own)
    if wanted == "latest" or moment is not None:
        for backup in own:
            if moment is None or parse_time(backup.manifest.created) <= moment:  # type: ignore[operator]
                return backup
    listed = ", ".join(backup.manifest.id for backup in backups[:5]) or "none"
    if backups and not of_this_database and (wanted == "latest" or moment is not None):
        raise DbopsError(
            "No backup of this database on this server was found; those there are come from elsewhere. Name one by its id if it is the right one: %s."
            % listed
        )
    if failed and (wanted == "latest" or moment is not None):
        raise DbopsError(
            "There is no backup for '%s' but such as did not come back in a test restore: %s. Name one by its id to restore what can be restored"
            " of it; counts and contents that differ are shown before anything is replaced." % (wanted, ", ".join(failed[:5]))
        )
    raise DbopsError("There is no backup '%s'. The newest: %s." % (wanted, listed))


def _require_one_latest(own: t.Sequence[Backup]) -> None:
    """A server counts its transactions whatever the host's clock says: where the two disagree, the clock has been set back."""
    last = max(own, key=lambda backup: backup.manifest.next_transaction, default=None)
    if last and last.manifest.next_transaction > own[0].manifest.next_transaction:
        raise DbopsError(
            "Which backup is the latest cannot be told: by the clock it is '%s', by the server's count of transactions '%s', so the clock of"
            " this host was set back. Name the right one by its id." % (own[0].manifest.id, last.manifest.id)
        )
