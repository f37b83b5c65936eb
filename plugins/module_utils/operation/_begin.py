# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How every operation begins and ends: target, guard, lock, clean-up of what dead runs left, and what was lost where it fails."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._clean_up import clean_up
from ansible_collections.dbops.postgres.plugins.module_utils.operation._lost import what_was_lost
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import REPLACES, Request
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import resolve
from ansible_collections.dbops.postgres.plugins.module_utils.operation._witnesses import gather_evidence, mark_as_production
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import ASIDE, Holder, OperationLock, read_holder
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import read_server, session, value
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy, DbopsError, Interrupted, Refused
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


@contextlib.contextmanager
def begin(request: Request, redactor: Redactor, run_id: str, progress: Progress | None = None) -> t.Iterator[Operation]:
    """Find the target, ask the guard, take the lock, clean up after dead runs; then the operation may work.

    :raises DbopsError: before anything was touched, where any of that says no.
    """
    docker = Docker(request.docker_host)
    target = resolve(docker, request.target, redactor)
    application = "dbops %s %s" % (request.operation, run_id)
    read_only = not request.writes
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
            lock=OperationLock(lock_session, target.database, holder, ASIDE.get(request.operation, "")),
            maintenance=maintenance,
            started_at=started_at,
            live=_database.identity(maintenance, target.database),
            progress=progress or Progress(),
        )
        operation.lock.announce()
        try:
            if request.writes:
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


def _prepare(operation: Operation) -> None:
    """What comes before any change: the lock, the backup folder, the clean-up, the production marker."""
    if operation.server.in_recovery:
        raise DbopsError(
            "The server in container '%s' is a standby (in recovery), where nothing can be changed: use the primary."
            % operation.target.container.name
        )
    operation.progress.enter("waiting for the lock")
    operation.lock.take(operation.request.lock_wait)
    operation.progress.enter("preparing")
    operation.archive.require_writable()
    if operation.request.risk is not _guard.Risk.ASIDE or read_holder(operation.maintenance, operation.database) is None:
        operation.warnings += ["Clean-up after an interrupted run: %s." % done for done in clean_up(operation)]
    if (
        operation.request.environment == _guard.PRODUCTION
        and not operation.evidence.marker
        and _database.exists(operation.maintenance, operation.database)
    ):
        mark_as_production(operation)
