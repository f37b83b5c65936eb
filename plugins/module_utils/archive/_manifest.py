# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup's manifest: what it holds and how it was made, sealed, and every file with its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import links_in, relative_files, sha256, sync
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Properties
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

MANIFEST = "manifest.json"

#: Version of the manifest's format. A newer one is refused, an older one must stay readable.
FORMAT = 1

#: The dump inside a backup's folder (pg_dump's directory format).
DUMP = "dump"

#: The schema snapshot inside a backup's folder.
SCHEMA = "schema.json"


@dataclass(frozen=True)
class FileEntry:
    """A file of a backup: path relative to its folder, size in bytes, SHA-256 in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup holds and how it was made. Times are UTC, RFC 3339; sizes in bytes.

    ``database_oid`` and ``next_transaction`` tell later which rows of that very database are newer than the backup.
    """

    id: str
    database: str
    environment: str
    host: str
    reason: str
    run_id: str
    operator: str
    controller: str
    revision: str
    created: str
    finished: str
    server_identifier: str
    server_version: str
    server_version_number: int
    container: str
    image: str
    image_id: str
    pg_dump_version: str
    compression: str
    database_size: int
    database_oid: int
    next_transaction: int
    schema_fingerprint: str
    extensions: dict[str, str]
    roles: tuple[str, ...]
    properties: Properties
    tables: tuple[TableRows, ...]
    large_objects: int
    backend: dict[str, str]
    files: tuple[FileEntry, ...] = ()
    format: int = FORMAT

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.files)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    def to_json(self) -> dict[str, t.Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, t.Any]) -> Manifest:
        return cls(
            **dict(
                data,
                roles=tuple(data["roles"]),
                properties=Properties.from_json(data["properties"]),
                tables=tuple(TableRows(**table) for table in data["tables"]),
                files=tuple(FileEntry(**entry) for entry in data["files"]),
            )
        )


@dataclass(frozen=True)
class Backup:
    """A published backup."""

    path: str
    manifest: Manifest

    @property
    def dump(self) -> str:
        return os.path.join(self.path, DUMP)


def read_backup(path: str) -> Backup:
    """Read and check a backup's manifest.

    :raises DbopsError: where it is missing, damaged, edited, or of a newer format.
    """
    name = os.path.join(path, MANIFEST)
    try:
        with open(name, encoding="utf-8") as stream:
            data = json.load(stream)
    except OSError as error:
        raise DbopsError("'%s' is not a backup: its manifest cannot be read (%s)." % (path, error.strerror)) from None
    except ValueError:
        raise DbopsError("The manifest '%s' is damaged: use another backup." % name) from None
    seal = data.pop("seal", None) if isinstance(data, dict) else None
    if seal is None or seal != _seal(data):
        raise DbopsError("The manifest '%s' was changed after the backup was made: use another backup." % name)
    if data.get("format", 0) > FORMAT:
        raise DbopsError(
            "The backup '%s' was made by a newer version of this collection (format %d, known: %d): upgrade the collection."
            % (path, data["format"], FORMAT)
        )
    try:
        return Backup(path, Manifest.from_json(data))
    except (KeyError, TypeError):
        raise DbopsError("The manifest '%s' lacks something that it should have: use another backup." % name) from None


def verify_files(backup: Backup) -> list[str]:
    """Read every file in full and compare it with the manifest; a flipped bit, a cut or a missing file does not pass. Neither does a
    link: what it names would be missing where only the folder is seen, in a container or on another host.

    :returns: files that the manifest does not know; nothing is restored from them.
    :raises DbopsError: naming the first file that differs.
    """
    for path in links_in(backup.path):
        raise DbopsError(
            "Backup '%s' is damaged: '%s' is a symbolic link, not the file itself. Put the file in its place, or use another backup."
            % (backup.manifest.id, path)
        )
    expected = {entry.path: entry for entry in backup.manifest.files}
    present = set(relative_files(backup.path)) - {MANIFEST}
    for path in sorted(set(expected) - present):
        raise DbopsError("Backup '%s' is damaged: the file '%s' is missing. Use another backup." % (backup.manifest.id, path))
    for path, entry in sorted(expected.items()):
        full = os.path.join(backup.path, path)
        size = os.path.getsize(full)
        if size != entry.size:
            raise DbopsError(
                "Backup '%s' is damaged: the file '%s' has %d bytes instead of %d. Use another backup."
                % (backup.manifest.id, path, size, entry.size)
            )
        if sha256(full) != entry.sha256:
            raise DbopsError(
                "Backup '%s' is damaged: the contents of the file '%s' changed (its SHA-256 differs). Use another backup."
                % (backup.manifest.id, path)
            )
    return sorted(present - set(expected))


def foreign_files_warning(backup: Backup, foreign: t.Sequence[str]) -> str:
    return "Backup '%s' holds files that are not part of it, and that nothing is restored from: %s." % (
        backup.manifest.id,
        ", ".join("'%s'" % path for path in foreign[:10]),
    )


def checksum_files(folder: str) -> t.Iterator[FileEntry]:
    for path in relative_files(folder):
        full = os.path.join(folder, path)
        os.chmod(full, 0o600)
        sync(full)
        yield FileEntry(path, os.path.getsize(full), sha256(full))


def sealed(manifest: Manifest) -> dict[str, t.Any]:
    data = json.loads(json.dumps(manifest.to_json()))
    return dict(data, seal=_seal(data))


def _seal(data: dict[str, t.Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
