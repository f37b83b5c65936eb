# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment marker inside the database, which a dump of its contents does not carry."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import MARKER


def enroll(operation: Operation) -> Result:
    """Write the marker that the inventory wants; the guard has asked for consent where that is needed."""
    _database.require(operation.maintenance, operation.database)
    wanted, present = operation.request.environment, operation.evidence.marker
    changed = present != wanted
    if changed and not operation.check_mode:
        _database.set_own(operation.maintenance, operation.database, MARKER, wanted)
    done = "is marked" if not changed else "would be marked" if operation.check_mode else "is now marked"
    summary = ["Database '%s' %s '%s'%s." % (operation.database, done, wanted, " (before: '%s')" % present if changed and present else "")]
    identifier = operation.server.identifier
    if operation.request.server_id != identifier:
        summary.append(
            "Pin its server in the inventory, in the variables of '%s': dbops_server_id: \"%s\"" % (operation.evidence.host, identifier)
        )
    diff = {"before": "%s: %s\n" % (operation.database, present or "not marked"), "after": "%s: %s\n" % (operation.database, wanted)}
    return Result(
        changed,
        summary,
        {"marker": wanted, "marker_before": present, "server_id": identifier, "pinned": operation.request.server_id == identifier},
        diff,
    )
