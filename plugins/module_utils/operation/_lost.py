# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation stood on and is not there any more when it fails, and what is left of the live database."""

from __future__ import annotations

import os

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import REPLACES, Request
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import Target, host_of
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import session
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy, DbopsError, Refused, ServerError


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
