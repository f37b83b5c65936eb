# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the manifest says of a dump, read in the snapshot that is dumped: what the tables hold, the schema, the roles, the backend."""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import write_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import (
    SCHEMA,
    Manifest,
    ServicePart,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._contents import Contents, digest_large_objects, read_contents
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import search_path_of
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, give_up, rows, sql, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import Role, family, with_verifiers
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import count_large_objects, count_rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import FORMAT as SCHEMA_FORMAT
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, read_snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import size_text

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Bytes of a database up to which the contents of its tables are digested without being asked to: that reads all of it once more.
_DIGESTED = 10 * 2**30

#: Seconds that sessions which are given up may take to end.
_GIVE_UP_SECONDS = 30.0


class SnapshotReaders:
    """Sessions that see the snapshot that is dumped."""

    def __init__(self, operation: Operation, database: str, snapshot: str) -> None:
        self._operation = operation
        self._database = database
        self._snapshot = snapshot
        self._open: set[Connection] = set()
        self.given_up = False

    @contextlib.contextmanager
    def session(self) -> t.Iterator[Connection]:
        with self._operation.session(self._database, read_only=True) as connection:
            self._open.add(connection)
            try:
                execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                execute(connection, sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._snapshot)))
                yield connection
            finally:
                self._open.discard(connection)

    def give_up(self) -> None:
        """End them whatever they wait for. One that was between two statements begins the next, so ask again until they are gone."""
        self.given_up = True
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while self._open and time.monotonic() < deadline:
            for connection in list(self._open):
                give_up(connection)
            time.sleep(0.05)


def describe_contents(
    operation: Operation,
    connection: Connection,
    options: BackupOptions,
    compression: str,
    created: str,
    work: str,
    readers: SnapshotReaders,
) -> Manifest:
    """Everything the manifest says, read in the snapshot that was dumped. The schema itself goes into a file beside the dump."""
    contents = options.of or operation.database
    properties = _database.read_properties(operation.maintenance, contents)
    size = _database.size(operation.maintenance, contents)
    held, unknown = _read_tables(connection, readers, options, size, search_path_of(properties))
    snapshot = read_snapshot(connection)
    write_file(os.path.join(work, SCHEMA), json.dumps(snapshot, indent=0, sort_keys=True) + "\n")
    roles = roles_in_use(connection, properties)
    return Manifest(
        id=operation.archive.new_id(operation.database, operation.started_at, options.reason),
        database=operation.database,
        environment=operation.request.environment,
        host=operation.request.caller.host,
        reason=options.reason,
        run_id=operation.run_id,
        operator=operation.request.caller.operator,
        controller=operation.request.caller.controller,
        revision=operation.request.caller.revision,
        created=created,
        finished=created,
        server_identifier=operation.server.identifier,
        server_version=operation.server.version,
        server_version_number=operation.server.version_number,
        container=operation.target.container.name,
        image=operation.target.container.image,
        image_id=operation.target.container.image_id,
        pg_dump_version=operation.server.version,
        compression=compression,
        database_size=size,
        database_oid=int(value(connection, "SELECT oid::bigint FROM pg_database WHERE datname = current_database()")),
        next_transaction=int(value(connection, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")),
        schema_fingerprint=fingerprint(snapshot),
        extensions=dict(rows(connection, "SELECT extname, extversion FROM pg_extension ORDER BY 1")),
        roles=roles,
        properties=properties,
        tables=held.tables,
        large_objects=count_large_objects(connection),
        backend=_describe_backend(operation),
        contents=held.digests,
        contents_unknown=unknown,
        large_objects_digest="" if unknown else digest_large_objects(connection),
        role_definitions=_definitions(operation, connection, roles, options),
        preload_libraries=_database.preload_libraries(connection),
        superuser=str(value(connection, "SELECT rolname FROM pg_roles WHERE oid = 10") or ""),
        schema_format=SCHEMA_FORMAT,
        service=tuple(_part_of_service(operation, container) for container in (operation.target.container, *operation.target.backends)),
    )


def _read_tables(
    connection: Connection, readers: SnapshotReaders, options: BackupOptions, size: int, search_path: str
) -> tuple[Contents, str]:
    """What the tables hold, or only how many rows, and why. A server without a session to spare is no reason for having no backup."""
    unknown = _not_digested(options.content_hash, size)
    if not unknown:
        try:
            return read_contents(readers.session, options.jobs, search_path), ""
        except Interrupted:
            raise
        except DbopsError as error:
            if readers.given_up:
                raise
            unknown = "they could not be read for it (%s)" % error.message.rstrip(".")
    return Contents(count_rows(connection), {}), unknown


def _not_digested(wanted: str, size: int) -> str:
    """Why the contents of the tables are not digested; empty where they are."""
    if wanted == "never":
        return "dbops_backup_content_hash is never"
    if wanted == "auto" and size > _DIGESTED:
        return "the database is larger than %s (dbops_backup_content_hash)" % size_text(_DIGESTED)
    return ""


def roles_in_use(connection: Connection, properties: _database.Properties) -> tuple[str, ...]:
    """The roles that own something in the database, are granted something there, or have settings for it: a restore needs them."""
    found = rows(
        connection,
        "SELECT DISTINCT r.rolname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid WHERE s.refclassid = 'pg_authid'::regclass"
        " AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    names = {name for (name,) in found} | {properties.owner}
    names.update(grant.grantee for grant in properties.grants or () if grant.grantee)
    names.update(setting.role for setting in properties.settings if setting.role)
    return tuple(sorted(names))


def _definitions(operation: Operation, connection: Connection, names: t.Sequence[str], options: BackupOptions) -> tuple[Role, ...]:
    roles = family(connection, names)
    if not options.role_passwords:
        return roles
    complete = with_verifiers(connection, roles)
    if complete is None:
        operation.warnings.append(
            "The roles' passwords are not in the backup, since only a superuser may read what checks them: connect as one (dbops_user), or set"
            " dbops_backup_role_passwords to false."
        )
    for role in complete or ():
        operation.redactor.add(role.verifier)
    return complete or roles


def _part_of_service(operation: Operation, container: Container) -> ServicePart:
    """Compose says in labels where it has a container from
    (https://github.com/compose-spec/compose-spec/blob/main/spec.md#labels, the reserved ``com.docker.compose`` ones)."""
    try:
        digests = operation.docker.image(container.image_id).digests
    except EngineError:  # its image was removed
        digests = ()
    label = {name.rpartition(".")[2]: text for name, text in container.labels.items() if name.startswith("com.docker.compose.")}
    return ServicePart(
        container=container.name,
        image=container.image,
        image_id=container.image_id,
        digest=next(iter(digests), ""),
        compose_project=label.get("project", ""),
        compose_service=label.get("service", ""),
        compose_files=label.get("config_files", ""),
        env_files=label.get("environment_file", ""),
    )


def _describe_backend(operation: Operation) -> dict[str, str]:
    if not operation.target.backends:
        return {}
    container = operation.target.backend()
    return {
        "container": container.name,
        "image": container.image,
        "image_id": container.image_id,
        "revision": container.labels.get("org.opencontainers.image.revision", ""),
        "version": container.labels.get("org.opencontainers.image.version", ""),
    }
