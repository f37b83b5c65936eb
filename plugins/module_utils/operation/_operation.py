# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operation under way: its target, lock, sessions, phases, work folders, and what it reports."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import tempfile
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._age import Age
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import ToolBox
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_RUN, LABEL_TARGET, Docker
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Request
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import Target
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import OperationLock
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Server, session
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


#: How long a session of an operation that only looks waits for a lock: it must not hang behind what it is there to show.
_LOOKING_LOCK_TIMEOUT = "2s"


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
    progress: Progress = field(default_factory=Progress)
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
        self.progress.enter(phase)
        if phase:
            self.lock.set_phase(phase)

    def session(self, database: str = "", read_only: bool = False) -> contextlib.AbstractContextManager[Connection]:
        """A session in the target database (or another one of the same server); in check mode it cannot write."""
        reads = read_only or not self.request.writes
        return session(self.target.address, database or self.database, self.application, reads, self.lock_timeout)

    def maintenance_session(self) -> contextlib.AbstractContextManager[Connection]:
        """A session beside ``maintenance``, for another thread."""
        return self.session(self.target.maintenance_database)

    def work_folder(self, purpose: str) -> str:
        """A private folder for one purpose, gone when the operation ends; not in the backup folder where nothing may be written."""
        if purpose in self._folders:
            return self._folders[purpose]
        temporary = not self.request.writes
        name = "%s-%s" % (self.server.identifier, purpose)
        path = tempfile.mkdtemp(prefix="dbops-%s-%s-" % (self.run_id, name)) if temporary else self.archive.work_folder(self.run_id, name)
        self._folders[purpose] = path
        return path

    def tools(self) -> ToolBox:
        return ToolBox(
            self.docker,
            self.target.container,
            self.target.address,
            self.run_id,
            self.target_label,
            self.work_folder("tools"),
            self.server,
            self.progress,
        )

    def age(self) -> Age:
        return Age(self.request.encryption, self.docker, self.run_id, self.labels)

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
