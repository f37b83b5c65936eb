# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup's manifest: what it holds and how it was made, sealed, and every file with its checksum."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import relative_files, sha256, symbolic_links, sync
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Properties
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Role
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

MANIFEST = "manifest.json"

#: What is known from restoring it (``archive._proof``); it comes later than the manifest.
PROOF = "proof.json"

#: Where a copy of it is kept (``archive._offsite_copy``); it comes later, too.
OFFSITE = "offsite.json"

#: Version of the manifest's format, and that of an encrypted backup's. A newer one is refused, an older one must stay readable.
FORMAT, FORMAT_ENCRYPTED = 1, 2

#: The dump inside a backup's folder (pg_dump's directory format).
DUMP = "dump"

#: The schema snapshot inside a backup's folder.
SCHEMA = "schema.json"

_COMPRESSED = (".gz", ".lz4", ".zst")


@dataclass(frozen=True)
class FileEntry:
    """A file of a backup: path relative to its folder, size in bytes, SHA-256 in hexadecimal."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Failure:
    """An object of a dump that pg_restore cannot make, PostgreSQL's sentence, and the statement that mends it, as far as that is known."""

    object: str
    reason: str
    mend: str = ""


@dataclass(frozen=True)
class Restorable:
    """Whether the definitions of a dump can be restored: ``yes``, ``no``, or ``unknown`` with the ``reason``."""

    state: str = "unknown"
    reason: str = "it was not checked when the backup was made"
    failures: tuple[Failure, ...] = ()

    def to_json(self) -> dict[str, t.Any]:
        return dict(asdict(self), failures=[asdict(failure) for failure in self.failures])

    @classmethod
    def from_json(cls, data: dict[str, t.Any]) -> Restorable:
        return cls(**dict(data, failures=tuple(Failure(**failure) for failure in data["failures"])))


@dataclass(frozen=True)
class ServicePart:
    """A container that the service consists of: what it ran, by which a registry knows it, and where Compose has it from. No secrets: names of
    files only. The files are those of the host, comma-separated; all but the first three are empty where they are not known."""

    container: str
    image: str
    image_id: str
    digest: str = ""
    compose_project: str = ""
    compose_service: str = ""
    compose_files: str = ""
    env_files: str = ""


@dataclass(frozen=True)
class Manifest:
    """What a backup holds and how it was made. Times are UTC, RFC 3339; sizes in bytes.

    ``database_oid`` and ``next_transaction`` tell later which rows of that very database are newer than the backup. ``contents``: what each
    table holds, as ``server._contents`` digests it; where it is empty, ``contents_unknown`` says why. ``roles``: those that are needed to
    restore it; ``role_definitions``: these and who may work with what is theirs. ``sequences``: where those stood that nobody used while the
    dump was made. ``service``: what else has to run. ``superuser``: the role that the server was made with. ``schema_format``: by which rules
    the schema was read (``server._schema.FORMAT``). ``recipients``: the public keys that the dump is encrypted for; none where it is not.
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
    restorable: Restorable = Restorable()
    contents: dict[str, str] = field(default_factory=dict)
    contents_unknown: str = ""
    large_objects_digest: str = ""
    sequences: dict[str, int | None] = field(default_factory=dict)
    role_definitions: tuple[Role, ...] = ()
    preload_libraries: str | None = None
    superuser: str = ""
    service: tuple[ServicePart, ...] = ()
    schema_format: int = 1
    recipients: tuple[str, ...] = ()

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
                service=tuple(ServicePart(**part) for part in data.get("service", ())),
                role_definitions=tuple(map(Role.from_json, data.get("role_definitions", ()))),
                recipients=tuple(data.get("recipients", ())),
                restorable=Restorable.from_json(data["restorable"]) if "restorable" in data else Restorable(),
            )
        )


@dataclass(frozen=True)
class Backup:
    """A published backup."""

    path: str
    manifest: Manifest

    @property
    def name(self) -> str:
        """Of its folder, which is its id unless somebody has copied it."""
        return os.path.basename(self.path)

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
    sealed_with = data.pop("seal", None) if isinstance(data, dict) else None
    if sealed_with is None or sealed_with != seal(data):
        raise DbopsError("The manifest '%s' was changed after the backup was made: use another backup." % name)
    if data.get("format", 0) > FORMAT_ENCRYPTED:
        raise DbopsError(
            "The backup '%s' was made by a newer version of this collection (format %d, known: %d): upgrade the collection."
            % (path, data["format"], FORMAT_ENCRYPTED)
        )
    try:
        return Backup(path, Manifest.from_json(data))
    except (KeyError, TypeError):
        raise DbopsError("The manifest '%s' lacks something that it should have: use another backup." % name) from None


def verify_files(backup: Backup) -> tuple[str, ...]:
    """Read every file in full and compare it with the manifest; a flipped bit, a cut or a missing file does not pass, nor does a link.

    Returns the files that are none of the backup's: nothing is restored from them.

    :raises DbopsError: naming the first file that differs.
    """
    foreign = verify_shape(backup)
    for entry in sorted(backup.manifest.files, key=lambda entry: entry.path):
        if sha256(os.path.join(backup.path, entry.path)) != entry.sha256:
            raise _damaged(backup, "the contents of the file '%s' changed (its SHA-256 differs)" % entry.path)
    return foreign


def verify_shape(backup: Backup) -> tuple[str, ...]:
    """What can be told without reading the files: links, missing files, sizes. Returns the files that are none of the backup's.

    A link may show the right contents here, but not in the container of the tools, nor after the folder was copied to another host.

    :raises DbopsError: naming the first one that differs.
    """
    links = symbolic_links(backup.path)
    if links:
        raise _damaged(backup, "'%s' is a symbolic link, and a copy of the folder would not have what it points to" % links[0])
    present = set(relative_files(backup.path)) - {MANIFEST, PROOF, OFFSITE}
    expected = {entry.path: entry for entry in backup.manifest.files}
    for path, entry in sorted(expected.items()):
        if path not in present:
            raise _damaged(backup, "the file '%s' is missing" % path)
        state = os.lstat(os.path.join(backup.path, path))
        if not stat.S_ISREG(state.st_mode):
            raise _damaged(backup, "'%s' is not a plain file" % path)
        if state.st_size != entry.size:
            raise _damaged(backup, "the file '%s' has %d bytes instead of %d" % (path, state.st_size, entry.size))
    foreign = tuple(sorted(present - set(expected)))
    own = {_without_compression(path) for path in expected}
    for path in foreign:
        if _without_compression(path) in own:
            raise _damaged(backup, "the file '%s' is none of its own, and pg_restore might read it instead of the one beside it" % path)
    return foreign


def foreign_files(backup: Backup, names: t.Sequence[str]) -> str:
    """A sentence about files that somebody or something else has put there; empty where there are none."""
    if not names:
        return ""
    told = ", ".join("'%s'" % name for name in names[:5]) + (" and %d more" % (len(names) - 5) if len(names) > 5 else "")
    return (
        "In the folder of backup '%s' lie files that are none of its own: %s. Nothing is restored from them; remove them, or leave them."
        % (
            backup.manifest.id,
            told,
        )
    )


def _damaged(backup: Backup, what: str) -> DbopsError:
    return DbopsError("Backup '%s' is damaged: %s. Use another backup." % (backup.manifest.id, what))


def _without_compression(path: str) -> str:
    """pg_restore takes ``1.dat`` where there is one, then ``1.dat.gz``, and so on, whichever of them pg_dump has written."""
    stem, extension = os.path.splitext(path)
    return stem if extension in _COMPRESSED else path


def checksum_files(folder: str) -> list[FileEntry]:
    """See every file on the disk, readable by nobody else, and sum it."""
    entries = []
    for path in relative_files(folder):
        full = os.path.join(folder, path)
        os.chmod(full, 0o600)
        sync(full)
        entries.append(FileEntry(path, os.path.getsize(full), sha256(full)))
    return entries


def sealed(manifest: Manifest) -> dict[str, t.Any]:
    data = json.loads(json.dumps(manifest.to_json()))
    return dict(data, seal=seal(data))


def seal(data: dict[str, t.Any]) -> str:
    """Tells whether somebody has changed what was written; it does not keep anybody from writing it anew."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
