# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every operation has in common: run id, guard, lock, clean-up of what a dead run left, phases, work folders."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import secrets
import shutil
import tempfile
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils import _database, _guard, _swap
from ansible_collections.dbops.postgres.plugins.module_utils._archive import Archive, remove_folder
from ansible_collections.dbops.postgres.plugins.module_utils._docker import LABEL_RUN, LABEL_TARGET, Docker
from ansible_collections.dbops.postgres.plugins.module_utils._dump import ToolBox
from ansible_collections.dbops.postgres.plugins.module_utils._errors import Busy, DbopsError, Interrupted, Refused, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils._lock import Holder, OperationLock, is_alive
from ansible_collections.dbops.postgres.plugins.module_utils._postgres import Server, read_server, session, value
from ansible_collections.dbops.postgres.plugins.module_utils._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils._target import Target, TargetOptions, host_of, resolve

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils._postgres import Connection

#: The own setting that holds the environment marker.
MARKER = "environment"

#: The own setting that lists the seeds whose rows a database holds. It belongs to the contents: a restore takes it from the backup.
SEEDS = "seeds"

#: The own setting that a database has while a seed runs on it; it stays where the seed's end was not seen, or left rows behind.
SEEDING = "seeding"

#: How long a session of an operation that only looks waits for a lock: it must not hang behind what it is there to show.
_LOOKING_LOCK_TIMEOUT = "2s"

#: The operations that put another database in the place of the live one.
REPLACES = ("restore", "reset")

_TEMPORARY = re.compile(r"^dbops-([0-9]{8}T[0-9]{6}_[0-9a-f]{6})-")


@dataclass(frozen=True)
class Caller:
    """Who started this, as the controller says; ``selection`` is ``None`` where no playbook of ours did."""

    host: str = ""
    operator: str = ""
    controller: str = ""
    revision: str = ""
    selection: _guard.Selection | None = None


@dataclass(frozen=True)
class Request:
    """An operation as it was asked for: the shared options of all modules."""

    operation: str
    risk: _guard.Risk
    target: TargetOptions
    caller: Caller
    environment: str = _guard.PRODUCTION
    server_id: str = ""
    shared_server: bool = False
    backup_dir: str = ""
    confirm: str = ""
    lock_wait: float = 0
    docker_host: str = ""
    check_mode: bool = False


@dataclass(frozen=True)
class Inquiry:
    """A question, before anything was asked. ``started``: RFC 3339 in UTC; ``redactor`` learns the secrets that are seen on the way."""

    request: Request
    redactor: Redactor
    run_id: str
    started: str


@dataclass
class Operation:
    """An operation under way. ``maintenance`` is an autocommit session in the maintenance database.

    ``live``: the OID that the database had at the start, 0 where there was none. ``lost``: what had gone when it failed.
    """

    request: Request
    run_id: str
    docker: Docker
    redactor: Redactor
    target: Target
    server: Server
    evidence: _guard.Evidence
    archive: Archive
    lock: OperationLock
    maintenance: Connection
    started_at: datetime.datetime
    live: int = 0
    warnings: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _clock: float = field(default_factory=time.monotonic)
    _phase: str = ""
    _folders: dict[str, str] = field(default_factory=dict)
    lost: str = ""

    @property
    def database(self) -> str:
        return self.target.database

    @property
    def check_mode(self) -> bool:
        return self.request.check_mode

    @property
    def lock_timeout(self) -> str:
        """How long a statement may wait for a lock; empty, without limit."""
        return _LOOKING_LOCK_TIMEOUT if self.request.risk is _guard.Risk.READ else ""

    @property
    def is_production(self) -> bool:
        """Whether this database has to be treated as production: it is, until all witnesses agree that it is not."""
        return bool(_guard.doubts(self.evidence))

    def restore_command(self, what: str) -> str:
        """The line that restores a backup's id, or ``undo``."""
        return _guard.restore_command(self.evidence, what)

    @contextlib.contextmanager
    def after(self, done: str, **details: t.Any) -> t.Iterator[None]:
        """An error (or an interruption) from here on says as well what had been done by then, and the way back."""
        try:
            yield
        except DbopsError as error:
            raise DbopsError("%s %s" % (error.message, done), **dict(error.details, **details)) from None

    def after_swap(self, kept: str) -> contextlib.AbstractContextManager[None]:
        undo = " What it was is kept as '%s'. To undo: %s" % (kept, self.restore_command("undo")) if kept else ""
        return self.after("The database had been swapped before that." + undo, swapped=True)

    @property
    def swap_begun(self) -> bool:
        return any(phase.endswith(": swap") for phase in self._measured_phases())

    @property
    def application(self) -> str:
        return "dbops %s %s" % (self.request.operation, self.run_id)

    @property
    def target_label(self) -> str:
        return "%s/%s" % (self.server.identifier, self.database)

    @property
    def labels(self) -> dict[str, str]:
        return {LABEL_RUN: self.run_id, LABEL_TARGET: self.target_label}

    def enter(self, phase: str) -> None:
        """Begin a phase: a second terminal can read it, and its seconds are in the result. Fails where the lock is lost."""
        self.phases = self._measured_phases()
        self._phase, self._clock = phase, time.monotonic()
        if phase:
            self.lock.set_phase(phase)

    def session(self, database: str = "", read_only: bool = False) -> contextlib.AbstractContextManager[Connection]:
        """A session in the target database (or another one of the same server); in check mode it cannot write."""
        reads = read_only or not _writes(self.request)
        return session(self.target.address, database or self.database, self.application, reads, self.lock_timeout)

    def work_folder(self, purpose: str) -> str:
        """A private folder for one purpose, gone when the operation ends; not in the backup folder where nothing may be written."""
        if purpose in self._folders:
            return self._folders[purpose]
        temporary = not _writes(self.request)
        name = "%s-%s" % (self.server.identifier, purpose)
        path = tempfile.mkdtemp(prefix="dbops-%s-%s-" % (self.run_id, name)) if temporary else self.archive.work_folder(self.run_id, name)
        self._folders[purpose] = path
        return path

    def tools(self) -> ToolBox:
        return ToolBox(self.docker, self.target.container, self.target.address, self.run_id, self.target_label, self.work_folder("tools"))

    def give_away(self, purpose: str) -> None:
        """The work folder of this purpose has become something else: a backup."""
        self._folders.pop(purpose)

    @property
    def folders(self) -> tuple[str, ...]:
        return tuple(self._folders.values())

    def close(self) -> None:
        for path in self.folders:
            shutil.rmtree(path, ignore_errors=True)

    @property
    def seconds(self) -> float:
        """How long it has taken by now, also where the host's clock was set meanwhile."""
        return time.monotonic() - self._begun

    def facts(self) -> dict[str, t.Any]:
        """What the result and the journal say of every operation."""
        return {
            "run_id": self.run_id,
            "operation": self.request.operation,
            "host": self.request.caller.host,
            "database": self.database,
            "environment": self.request.environment,
            "container": self.target.container.name,
            "server_id": self.server.identifier,
            "server_version": self.server.version,
            "started": timestamp(self.started_at),
            "duration_seconds": round(self.seconds, 3),
            "phases": self._measured_phases(),
        }

    def _measured_phases(self) -> dict[str, float]:
        """Seconds by phase, the present one included."""
        measured = dict(self.phases)
        if self._phase:
            measured[self._phase] = round(measured.get(self._phase, 0) + time.monotonic() - self._clock, 3)
        return measured


@dataclass
class Result:
    """What an operation reports. ``summary``: a few lines for a person; ``facts``: JSON types, for the module's result and the journal."""

    changed: bool
    summary: list[str]
    facts: dict[str, t.Any] = field(default_factory=dict)
    diff: dict[str, str] | None = None
    journal: dict[str, t.Any] = field(default_factory=dict)


@contextlib.contextmanager
def begin(request: Request, redactor: Redactor, run_id: str) -> t.Iterator[Operation]:
    """Find the target, ask the guard, take the lock, clean up after dead runs; then the operation may work.

    :raises DbopsError: before anything was touched, where any of that says no.
    """
    docker = Docker(request.docker_host)
    target = resolve(docker, request.target, redactor)
    application = "dbops %s %s" % (request.operation, run_id)
    read_only = not _writes(request)
    with session(target.address, target.maintenance_database, application, read_only) as maintenance, session(
        target.address, target.maintenance_database, application + " lock", read_only
    ) as lock_session:
        _require_ones_own(request, maintenance)
        server = read_server(maintenance)
        evidence = gather_evidence(request, maintenance, server)
        _guard.decide(request.operation, request.risk, evidence, request.confirm, request.caller.selection, request.check_mode)
        started_at = utc_now()
        holder = Holder(
            request.operation,
            run_id,
            request.caller.host,
            request.caller.operator,
            request.caller.controller,
            timestamp(started_at),
            "starting",
        )
        operation = Operation(
            request=request,
            run_id=run_id,
            docker=docker,
            redactor=redactor,
            target=target,
            server=server,
            evidence=evidence,
            archive=Archive(request.backup_dir),
            lock=OperationLock(lock_session, target.database, holder),
            maintenance=maintenance,
            started_at=started_at,
            live=_database.identity(maintenance, target.database),
        )
        operation.lock.announce()
        try:
            if _writes(request):
                _prepare(operation)
            yield operation
            operation.enter("")
        except (Busy, Refused, Interrupted):
            raise
        except Exception:
            operation.lost = what_was_lost(operation)
            raise
        finally:
            operation.close()


def state_after_failure(request: Request, operation: Operation | None, error: DbopsError) -> str:
    """What a restore or a reset that failed has to say of the live database, looked up anew; empty where the error tells it itself."""
    told = "rejected" in error.details or "swapped" in error.details
    if request.operation not in REPLACES or request.check_mode or isinstance(error, (Refused, Busy)) or told:
        return ""
    if operation is None:
        return "The live database is untouched: nothing was begun."
    target = operation.target
    try:
        with session(target.address, target.maintenance_database, operation.application, read_only=True) as connection:
            live = _database.identity(connection, operation.database)
            name = _database.name_of(connection, operation.live)
    except DbopsError:
        if not operation.swap_begun:
            return "The live database is untouched: the swap had not begun."
        return "Whether the live database is still the same cannot be asked: the server does not answer."
    if live == operation.live:
        return "The live database is untouched: '%s' is still the one with OID %d." % (operation.database, live) if live else ""
    if name and not live:
        return "Somebody renamed '%s' while this ran: it is called '%s' now, and untouched." % (operation.database, name)
    return "" if live else "There is no database '%s' any more: somebody dropped it while this ran." % operation.database


def what_was_lost(operation: Operation) -> str:
    """What an operation stands on and is not there any more when it fails: the likeliest cause. Empty where all of it is there.

    To be asked before the work folders are removed.
    """
    for folder in operation.folders:
        if not os.path.isdir(folder):
            return "The folder '%s' was removed while this ran: run this again." % folder
    containers = (operation.target.container, *operation.target.backends)
    try:
        found = {container.id: container for container in operation.docker.present(containers)}
        gone = [container.name for container in containers if container.id not in found]
        if gone:
            return "Container '%s' was removed while this ran: see that it is there, then run this again." % gone[0]
        return _container_lost(found[operation.target.container.id], operation.target) or _server_lost(operation)
    except DbopsError as error:
        return error.message


def _server_lost(operation: Operation) -> str:
    """A server says goodbye some time before its container has stopped."""
    target = operation.target
    try:
        with session(target.address, target.maintenance_database, operation.application, read_only=True):
            return ""
    except ServerError as error:
        return (
            "The server in container '%s' takes no connections any more: see with 'docker logs --tail 50 %s' whether somebody stops or"
            " restarts it, then run this again. PostgreSQL says: %s"
            % (target.container.name, target.container.name, error.details.get("postgresql", error.message))
        )


def _container_lost(now: Container, target: Target) -> str:
    if now.status == "paused":
        return "Container '%s' is paused: 'docker unpause %s', then run this again." % (now.name, now.name)
    if not now.running:
        return (
            "Container '%s' has stopped while this ran (exit status %d): see why with 'docker logs --tail 50 %s', start it with"
            " 'docker start %s', then run this again." % (now.name, now.exit_code, now.name, now.name)
        )
    if now.started != target.container.started:
        return "Container '%s' was restarted while this ran: run this again." % now.name
    if host_of(now) != target.address.host:
        return "Container '%s' has another address than when this began: run this again." % now.name
    return ""


def _require_ones_own(request: Request, maintenance: Connection) -> None:
    """What new databases are made from, and where the lock lives, belong to the server."""
    database = request.target.database
    template = value(maintenance, "SELECT datistemplate FROM pg_database WHERE datname = %s", (database,))
    if template and request.risk is not _guard.Risk.READ:
        raise DbopsError("'%s' is a template, from which new databases are made: name your own database with dbops_database." % database)
    if database == request.target.maintenance_database and request.operation in REPLACES:
        raise DbopsError(
            "'%s' cannot be replaced, since others are renamed from it: name your own database with dbops_database,"
            " or another maintenance database with dbops_maintenance_database." % database
        )


def gather_evidence(request: Request, maintenance: Connection, server: Server) -> _guard.Evidence:
    """Ask the server what it and its databases say of themselves."""
    markers = _database.read_own(maintenance, MARKER)
    return _guard.Evidence(
        host=request.caller.host or request.target.container or request.target.compose_service,
        database=request.target.database,
        environment=request.environment,
        marker=markers.get(request.target.database, ""),
        server_id=server.identifier,
        pinned_server_id=request.server_id,
        production_databases=tuple(
            sorted(name for name, marker in markers.items() if marker == _guard.PRODUCTION and name != request.target.database)
        ),
        shared_server=request.shared_server,
    )


def _writes(request: Request) -> bool:
    return not request.check_mode and request.risk is not _guard.Risk.READ


def _prepare(operation: Operation) -> None:
    """What comes before any change: the lock, the backup folder, the clean-up, the production marker."""
    if operation.server.in_recovery:
        raise DbopsError(
            "The server in container '%s' is a standby (in recovery), where nothing can be changed: use the primary."
            % operation.target.container.name
        )
    operation.lock.take(operation.request.lock_wait)
    operation.archive.require_writable()
    operation.warnings += ["Clean-up after an interrupted run: %s." % done for done in clean_up(operation)]
    if (
        operation.request.environment == _guard.PRODUCTION
        and not operation.evidence.marker
        and _database.exists(operation.maintenance, operation.database)
    ):
        _mark_as_production(operation)


def _mark_as_production(operation: Operation) -> None:
    """Always safe, so it needs no consent; without the right to do it the operation goes on and says so."""
    try:
        with session(operation.target.address, operation.target.maintenance_database, operation.application) as connection:
            _database.set_own(connection, operation.database, MARKER, _guard.PRODUCTION)
    except ServerError as error:  # not an interruption: that one ends the run
        operation.warnings.append("Database '%s' could not be marked as production: %s" % (operation.database, error.message))


def facts_before(request: Request, run_id: str, started: str, seconds: float) -> dict[str, t.Any]:
    """What can be said of a run that has not reached its database. ``started``: RFC 3339 in UTC; ``seconds`` have passed since."""
    return {
        "run_id": run_id,
        "operation": request.operation,
        "host": request.caller.host,
        "database": request.target.database,
        "started": started,
        "duration_seconds": round(seconds, 3),
    }


def clean_up(operation: Operation) -> list[str]:
    """Remove what dead runs left for this database; what a living run (a check, say) made stays. Returns what was done."""

    def alive(run_id: str) -> bool:
        return is_alive(operation.maintenance, run_id)

    done = []
    for kind, identifier, run_id in operation.docker.labelled(LABEL_TARGET, operation.target_label):
        if run_id != operation.run_id and not alive(run_id):
            operation.docker.remove(kind, identifier)
            done.append("removed a %s of run %s" % (kind, run_id))
    done += _swap.finish_interrupted(operation.maintenance, operation.database)
    for path in operation.archive.leftovers(alive) + temporary_leftovers(alive):
        if "-%s-" % operation.server.identifier in os.path.basename(path):  # of another server's runs this one cannot tell who lives
            remove_folder(path)
            done.append("removed the folder '%s'" % path)
    return done


def temporary_leftovers(alive: t.Callable[[str], bool]) -> list[str]:
    """Work folders of dead runs in the system's folder for temporary files, as far as they are this user's."""
    found = []
    parent = tempfile.gettempdir()
    for name in sorted(os.listdir(parent)):
        match = _TEMPORARY.match(name)
        path = os.path.join(parent, name)
        if match and os.path.isdir(path) and not os.path.islink(path) and os.stat(path).st_uid == os.getuid() and not alive(match.group(1)):
            found.append(path)
    return found


def new_run_id() -> str:
    """Sorts by time; safe in names of files, containers and databases."""
    return "%s_%s" % (utc_now().strftime("%Y%m%dT%H%M%S"), secrets.token_hex(3))


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def timestamp(at: datetime.datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime.datetime:
    """The inverse of ``timestamp``."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
