# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup restored into a throwaway server, for whoever wants to see what came back, or to try something on the real rows."""

from __future__ import annotations

import contextlib
import re
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import ToolBox
from ansible_collections.dbops.postgres.plugins.module_utils.archive._load import NewDatabase, load_all_that_goes
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup, Manifest
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._encrypted import opened
from ansible_collections.dbops.postgres.plugins.module_utils.operations._loading import measured_loading
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._proof_server import Plan, roles_of
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox, open_server
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import search_path_of
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import read_server
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import make_roles
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import governs_the_log
from ansible_collections.dbops.postgres.plugins.module_utils.server._statistics import analyze
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted

#: Databases that a server has from the beginning.
TAKEN = ("postgres", "template0", "template1")

#: What pg_restore says of an archive that it cannot read. All else is about the throwaway server, and says nothing about the backup.
_OF_THE_ARCHIVE = re.compile(
    r"input file|archive|unsupported version|could not (?:read|find|uncompress|decompress)|unexpected end|magic", re.IGNORECASE
)


@dataclass(frozen=True)
class Restored:
    """``new``: the database in the throwaway server; ``version``: the server's; ``failures``: what of the archive did not come back;
    ``remark``: how it had to be helped, a phrase, empty where it was not."""

    sandbox: Sandbox
    new: NewDatabase
    version: str
    failures: tuple[str, ...] = ()
    remark: str = ""
    in_memory: bool = False


@contextlib.contextmanager
def measured(seconds: dict[str, float], part: str) -> t.Iterator[None]:
    """Note how long a part took."""
    begun = time.monotonic()
    yield
    seconds[part] = round(time.monotonic() - begun, 3)


@contextlib.contextmanager
def open_restored(
    operation: Operation,
    backup: Backup,
    plan: Plan,
    jobs: int,
    phase: str,
    seconds: dict[str, float],
    as_when_used: bool = False,
) -> t.Iterator[Restored]:
    """Start the server, restore, and remove all of it at the end.

    :param as_when_used: whether somebody is to work there as on the real server: then roles have their settings, and none of any setting changes
        what the log says. Else the database has all of its own, to be compared.

    :param phase: what the phases' names begin with; ``seconds``: of each part, is filled in.
    :raises DbopsError: where it could not be tried, which says nothing about the backup.
    """
    manifest = backup.manifest
    if as_when_used:
        settings = tuple(setting for setting in manifest.properties.settings if not governs_the_log(setting.name))
        manifest = replace(manifest, properties=replace(manifest.properties, settings=settings))
        backup = replace(backup, manifest=manifest)
    if backup.manifest.recipients:
        operation.enter(phase + ": decrypt")
        with measured(seconds, "decrypt"):
            backup = replace(backup, path=opened(operation, backup))
    operation.enter(phase + ": server")
    with contextlib.ExitStack() as stack:
        with measured(seconds, "server"):
            sandbox = stack.enter_context(open_server(operation, plan.machine, "proof"))
            if plan.machine.durable:
                sandbox.write_carelessly()
            new = _new_database(sandbox, backup.manifest, governs_the_log if as_when_used else lambda _name: True)
        tools = _tools(operation, sandbox)
        operation.enter(phase + ": restore")
        with measured(seconds, "restore"):
            failures, remark = _load(operation, sandbox, tools, backup, new, plan, jobs)
        yield Restored(sandbox, new, tools.identity.version, failures, remark, plan.machine.in_memory)


def _new_database(sandbox: Sandbox, manifest: Manifest, without_settings: t.Callable[[str], bool]) -> NewDatabase:
    name = manifest.database if manifest.database not in TAKEN else "dbops_proof"
    properties = replace(manifest.properties, tablespace=sandbox.tablespace)

    def renew() -> None:
        with sandbox.session("postgres") as connection:
            _database.drop(connection, name)
            _database.create(connection, name, properties, file_copy=True)

    with sandbox.session("postgres") as connection:
        make_roles(connection, roles_of(manifest), without_settings)
        _database.create(connection, name, properties, file_copy=True)
    return NewDatabase(name, search_path_of(properties), renew, lambda: sandbox.session(name))


def _tools(operation: Operation, sandbox: Sandbox) -> ToolBox:
    with sandbox.session("postgres") as connection:
        identity = read_server(connection)
    work = operation.work_folder("proof-tools")
    return ToolBox(
        operation.docker, sandbox.container, sandbox.address, operation.run_id, operation.target_label, work, identity, operation.progress
    )


def _load(
    operation: Operation, sandbox: Sandbox, tools: ToolBox, backup: Backup, new: NewDatabase, plan: Plan, jobs: int
) -> tuple[tuple[str, ...], str]:
    """Returns what did not come back, and how it had to be helped.

    :raises DbopsError: where it was not the backup that failed.
    """
    failures: tuple[str, ...] = ()
    remark = ""
    try:
        with measured_loading(operation.progress, backup.manifest, new.name, lambda: sandbox.session("postgres")):
            loaded = load_all_that_goes(tools, backup.path, new, jobs, ("--no-tablespaces",))
        failures = loaded.failures
        if loaded.first_try:
            remark = "pg_restore alone cannot restore it, so its functions were given the database's search_path (%s)" % loaded.first_try
    except (Interrupted, EngineError):
        raise
    except DbopsError as error:
        require_server(operation, sandbox, error, plan.variables)
        failures = (error.message,)
    if failures and plan.note:
        raise EngineError(
            "It could not be restored with image '%s' (%s); the image that it was made with may have what this one lacks: run 'docker pull %s' there."
            % (plan.image, failures[0].rstrip("."), backup.manifest.image)
        )
    with sandbox.session("postgres") as connection:
        _database.apply_properties(connection, new.name, backup.manifest.properties)
    with new.session() as connection:
        analyze(connection, new.search_path)
    return failures, remark


def require_server(operation: Operation, sandbox: Sandbox, error: DbopsError, variables: str) -> None:
    """:raises EngineError: where it was the throwaway server that gave up, not the backup."""
    there = operation.docker.present([sandbox.container])
    said = "%s %s" % (error.message, error.details.get("output", ""))
    if there and there[0].running and _OF_THE_ARCHIVE.search(said):
        return
    raise EngineError(
        "The throwaway server gave up, which says nothing about the backup: %s Give it more room: -e %s_place=disk, or -e %s_memory=8g"
        % (error.message, variables, variables)
    )
