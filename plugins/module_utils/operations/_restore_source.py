# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore starts from: one of our backups or a file made by hand; whether it can be restored here, and what would be lost."""

from __future__ import annotations

import datetime
import os
import re
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive._archive_file import as_text, failure_of_reading
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE, select
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import DUMP, Backup, foreign_files, read_backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._plain_file import Changes, PlainFile, inspect_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Restic
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._encrypted import opened, require_key
from ansible_collections.dbops.postgres.plugins.module_utils.operations._missing_roles import (
    CREATE,
    REFUSE,
    SKIP,
    missing_roles,
    require_roles,
    roles_to_make,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._offsite_source import fetch_backup
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Role
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import count_newer_rows, count_rows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, parse_time, timestamp

#: How much more than the restored database's size is asked of the data volume: indexes are built, and sorted on disk.
_ROOM = 1.2

#: ``\\restrict`` (https://www.postgresql.org/docs/current/app-psql.html): in this minor version of each major one, and in all of later ones.
_RESTRICT_SINCE = {13: 130022, 14: 140019, 15: 150014, 16: 160010, 17: 170006}


@dataclass(frozen=True)
class Volume:
    """Where a server keeps its data; bytes."""

    free: int
    size: int


@dataclass(frozen=True)
class Source:
    """What is restored: one of our backups, or a file made by hand. ``tools_image``: whose pg_restore reads it, the server's own if empty;
    ``only_manifest``: the rest of it is elsewhere, which only check mode leaves so. ``opened``: the folder in which an encrypted one can be read."""

    backup: Backup | None = None
    file: PlainFile | None = None
    tools_image: str = ""
    only_manifest: bool = False
    opened: str = ""

    @property
    def folder(self) -> str:
        """Where the dump of a backup can be read; check mode opens no encrypted one."""
        return self.opened or (self.backup.path if self.backup else "")

    @property
    def closed(self) -> bool:
        return bool(self.backup and self.backup.manifest.recipients and not self.opened)

    @property
    def archive(self) -> str:
        """The path of what only pg_restore can read; empty for plain text."""
        if self.backup:
            return os.path.join(self.folder, DUMP)
        return self.file.path if self.file and self.file.kind == "custom" else ""

    @property
    def name(self) -> str:
        return self.backup.manifest.id if self.backup else self.file.path if self.file else ""

    @property
    def made(self) -> datetime.datetime:
        if self.backup:
            return t.cast(datetime.datetime, parse_time(self.backup.manifest.created))
        return datetime.datetime.fromtimestamp(self.file.modified if self.file else 0, datetime.timezone.utc)

    @property
    def server_major(self) -> int:
        return self.backup.manifest.server_version_number // 10000 if self.backup else self.file.server_major if self.file else 0

    @property
    def needed(self) -> int:
        """Bytes that the database will have, as far as that is known."""
        if self.backup:
            return int(self.backup.manifest.database_size * _ROOM)
        return int((self.file.size if self.file else 0) * _ROOM)


@dataclass(frozen=True)
class Preparation:
    """What has to be done so that a source can be restored here. ``as_text``: pg_restore makes SQL of it first, and psql runs that."""

    changes: Changes = field(default_factory=Changes)
    create: tuple[Role, ...] = ()
    as_text: bool = False
    opened: str = ""


def find_source(operation: Operation, wanted: str, tools_image: str = "", restic: Restic | None = None) -> Source:
    """:param restic: where the source is to come from the offsite repository.
    :raises DbopsError: naming what there is.
    """
    if tools_image:
        operation.docker.image(tools_image)  # it has to be there
    if restic:
        fetched = fetch_backup(operation, restic, wanted)
        return Source(backup=fetched.backup, tools_image=tools_image, only_manifest=fetched.only_manifest)
    return replace(_find(operation, wanted, tools_image), tools_image=tools_image)


def _find(operation: Operation, wanted: str, tools_image: str) -> Source:
    if not wanted:
        raise DbopsError("No backup was named: set dbops_restore_backup to latest, an id, a time, a path, or undo.")
    if wanted.startswith("/"):
        if os.path.isdir(wanted):
            return Source(backup=read_backup(wanted.rstrip("/") or "/"))
        file = inspect_file(wanted)
        return Source(file=_examine_custom(operation, file, tools_image) if file.kind == "custom" else file)
    backups, unreadable = operation.archive.catalogue()
    if wanted in unreadable:
        read_backup(os.path.join(operation.archive.folder, wanted))
    chosen = select(backups, wanted, operation.server.identifier, operation.database)
    _tell_of_proof(operation, chosen)
    if chosen.manifest.id != wanted:
        _tell_what_was_passed_over(operation, backups, wanted, chosen)
    return Source(backup=chosen)


def _tell_of_proof(operation: Operation, chosen: Backup) -> None:
    """Nobody takes one that did not come back for a good one."""
    proof = read_proof(chosen)
    if proof.state == FAILED:
        operation.warnings.append(
            "Backup '%s' did not come back as it was made when it was restored to prove it (%s): %s."
            % (chosen.manifest.id, proof.at, "; ".join(text.rstrip(".") for text in proof.failures[:5]))
        )


def _tell_what_was_passed_over(operation: Operation, backups: t.Sequence[Backup], wanted: str, chosen: Backup) -> None:
    """Nobody takes an older backup for the newest one, or for the newest at that time."""
    asked_for = parse_time(wanted)
    for backup in backups[: backups.index(chosen)]:
        same = (backup.manifest.server_identifier, backup.manifest.database) == (operation.server.identifier, operation.database)
        meant = moment(backup.manifest.created) <= asked_for if asked_for else backup.manifest.reason != BEFORE_RESTORE
        if same and meant and read_proof(backup).state == FAILED:
            operation.warnings.append(
                "The newer backup '%s' was passed over, since it did not come back when it was restored to prove it: %s. To restore it all the same: %s"
                % (
                    backup.manifest.id,
                    "; ".join(read_proof(backup).failures[:3]).rstrip("."),
                    operation.restore_command(backup.manifest.id),
                )
            )


def _examine_custom(operation: Operation, file: PlainFile, image: str) -> PlainFile:
    """Have pg_restore read a custom-format file in full, and take from it which server it was made from."""
    tools = operation.tools()
    mounts = ((file.path, "/dbops/file", False),)
    for purpose, option in (("list", "--list"), ("read", "--file=/dev/null")):
        outcome = tools.run(purpose, ["pg_restore", option, "/dbops/file"], mounts, image=image)
        if outcome.rc != 0:
            raise failure_of_reading(file.path, file.path, outcome, image or operation.target.container.image)
        version = re.search(r"Dumped from database version: (\d+)", outcome.stdout)
        file = replace(file, server_major=int(version.group(1))) if version else file
    return file


def require_restorable(operation: Operation, source: Source, missing: str = REFUSE) -> Preparation:
    """Everything that can be known before a byte is restored; an encrypted backup is opened for it.

    :param missing: what is done about roles that are not there.
    """
    if source.backup:
        require_key(operation, source.backup)
    if source.server_major > operation.server.major and not (source.tools_image and source.archive):
        raise DbopsError(
            "'%s' was made on PostgreSQL %d, this server is %d: a newer dump cannot be restored into an older server. Use a server of version %d.%s"
            % (
                source.name,
                source.server_major,
                operation.server.major,
                source.server_major,
                " Or, if nothing in it needs the newer version, name an image of that version whose pg_restore makes SQL of it:"
                " -e dbops_restore_tools_image=postgres:%d" % source.server_major
                if source.archive
                else "",
            )
        )
    if source.only_manifest:
        operation.warnings.append(
            "Only the manifest of backup '%s' was looked at: a run fetches its files, and compares them with it before anything else."
            % source.name
        )
    elif source.backup:
        foreign = foreign_files(source.backup, verify_files(source.backup))
        operation.warnings += [foreign] if foreign else []
    free = data_volume_space(operation)
    if free is not None and free < source.needed:
        raise DbopsError(
            "The data volume of container '%s' has too little room for a second copy: about %s needed, %s free."
            % (operation.target.container.name, size_text(source.needed), size_text(free))
        )
    if source.closed and not operation.check_mode and source.backup:
        operation.enter("restore: decrypt")
        source = replace(source, opened=opened(operation, source.backup))
    return replace(_prepare(operation, source, missing), opened=source.opened)


def _prepare(operation: Operation, source: Source, choice: str) -> Preparation:
    definitions = source.file
    if source.archive and (source.file or source.tools_image) and not (source.only_manifest or source.closed):
        work = operation.work_folder("definitions")
        text = as_text(operation.tools(), source.archive, work, "definitions.sql", source.tools_image, ["--schema-only"])
        definitions = inspect_file(text)
    needed = _roles_of_backup(operation, source.backup) if source.backup else set()
    missing = missing_roles(operation, needed | set(definitions.roles if definitions else ()))
    made = roles_to_make(operation, missing, source.backup.manifest.role_definitions if source.backup else ()) if choice == CREATE else ()
    require_roles(operation, source.name, missing, choice, made)
    unknown = _unknown_settings(operation, definitions.settings) if definitions else frozenset()
    if unknown:
        operation.warnings.append(
            "'%s' begins with settings of a newer pg_dump that this server does not know; they are passed over: %s."
            % (source.name, ", ".join(sorted(unknown)))
        )
    if source.file and source.file.encoding and source.file.beyond_ascii:
        operation.warnings.append(
            "'%s' is in %s, as Windows' shells save what a program prints, and has letters beyond ASCII. Such a shell may have changed them before:"
            " look at some of them after the restore. For the next dump let pg_dump write the file itself: pg_dump --file=..."
            % (source.name, source.file.encoding.upper())
        )
    skip = frozenset(missing) if choice == SKIP else frozenset()
    changes = Changes(unknown, skip, bool(definitions and definitions.restricted) and not _knows_restrict(operation.server.version_number))
    return Preparation(changes, made, bool(source.archive and (source.tools_image or skip)))


def _roles_of_backup(operation: Operation, backup: Backup) -> set[str]:
    """A live database keeps its own settings for roles, so those of the manifest are not needed."""
    roles = set(backup.manifest.roles)
    if _database.exists(operation.maintenance, operation.database):
        roles -= {setting.role for setting in backup.manifest.properties.settings}
    return roles


def _unknown_settings(operation: Operation, names: t.Sequence[str]) -> frozenset[str]:
    found = rows(
        operation.maintenance, "SELECT name FROM unnest(%s::text[]) name WHERE current_setting(name, true) IS NULL", (sorted(set(names)),)
    )
    return frozenset(name for (name,) in found)


def _knows_restrict(version_number: int) -> bool:
    """Whether the psql of an image knows the pair of commands: the minor versions of the summer of 2025 brought them."""
    return version_number >= _RESTRICT_SINCE.get(version_number // 10000, 0)


def data_volume_space(operation: Operation) -> int | None:
    """Free bytes where the server keeps its data; ``None`` where that cannot be told."""
    volume = data_volume(operation)
    return volume.free if volume else None


def data_volume(operation: Operation) -> Volume | None:
    """Where the server keeps its data, asked inside its container; ``None`` where that cannot be told."""
    folder = value(operation.maintenance, "SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    if not folder:
        return None
    outcome = operation.docker.exec(operation.target.container.id, ["df", "-Pk", folder])
    words = outcome.stdout.split("\n")[-2].split() if outcome.rc == 0 and outcome.stdout.count("\n") >= 2 else []
    if len(words) < 4 or not words[1].isdigit() or not words[3].isdigit():
        return None
    return Volume(free=int(words[3]) * 1024, size=int(words[1]) * 1024)


def rows_lost(operation: Operation, source: Source) -> dict[str, int]:
    """Rows by table that the live database has and the backup has not: newer ones exactly, where the backup is of this very database;
    else by the difference of the counts. Empty for a file without a manifest, of which nothing is known."""
    if not source.backup:
        return {}
    manifest = source.backup.manifest
    with operation.session(read_only=True) as connection:
        oid = value(connection, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
        if oid == manifest.database_oid and manifest.server_identifier == operation.server.identifier:
            return count_newer_rows(connection, manifest.next_transaction)
        held = {table.name: table.rows for table in manifest.tables}
        return {
            table.name: table.rows - held.get(table.name, 0) for table in count_rows(connection) if table.rows > held.get(table.name, 0)
        }


def _age(operation: Operation, source: Source) -> float:
    """Seconds; none where the clock has jumped back since."""
    return max(0.0, (operation.started_at - source.made).total_seconds())


def source_facts(operation: Operation, source: Source) -> dict[str, t.Any]:
    return {
        "name": source.name,
        "kind": "backup" if source.backup else "file (%s)" % (source.file.kind if source.file else ""),
        "made": timestamp(source.made),
        "age_seconds": int(_age(operation, source)),
        "server_major": source.server_major,
        "needed": source.needed,
    }


def announce(operation: Operation, source: Source, lost: dict[str, int]) -> list[str]:
    age = duration_text(_age(operation, source))
    free = data_volume_space(operation)
    lines = [
        "Would replace database '%s' with '%s', made %s ago (%s)." % (operation.database, source.name, age, timestamp(source.made)),
        "Made on PostgreSQL %s, this server is %d. Room on the data volume: %s needed, %s free."
        % (
            source.server_major or "(unknown)",
            operation.server.major,
            size_text(source.needed),
            size_text(free) if free is not None else "unknown",
        ),
    ]
    if source.file:
        lines.append("It is a file without a manifest: it is complete, but which rows would be lost cannot be told.")
    elif lost:
        lines.append("Rows newer than it, which would be lost: %s." % ", ".join("%s %d" % item for item in sorted(lost.items())))
    else:
        lines.append("No row is newer than it.")
    return lines
