# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server and its databases say of themselves, for the guard; and the marker that says it."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Request
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import MARKER
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Server, session
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


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


def mark_as_production(operation: Operation) -> None:
    """Always safe, so it needs no consent; without the right to do it the operation goes on and says so."""
    try:
        with session(operation.target.address, operation.target.maintenance_database, operation.application) as connection:
            _database.set_own(connection, operation.database, MARKER, _guard.PRODUCTION)
    except ServerError as error:  # not an interruption: that one ends the run
        operation.warnings.append("Database '%s' could not be marked as production: %s" % (operation.database, error.message))
