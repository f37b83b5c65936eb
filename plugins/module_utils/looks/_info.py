# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What state a database is in, without changing anything."""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.looks import _survey
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import facts_of
from ansible_collections.dbops.postgres.plugins.module_utils.operations._seed import read_seeds
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import plan_facts, render_plan
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import Holder
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, tables
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import sessions
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text, size_text

#: Seconds that the runner may take in the sandbox.
_PLAN_TIMEOUT = 600


def inform(operation: Operation, plan_with: tuple[str, ...]) -> Result:
    """Read everything; with a runner's command, also plan what is pending."""
    _database.require(operation.maintenance, operation.database)
    snapshot = _survey.read_schema(operation)
    backups, unreadable = operation.archive.catalogue(operation.database)
    history = [entry for entry in _journal.read(operation.archive.folder) if entry.get("operation") != _journal.BRANCH]
    facts: dict[str, t.Any] = {
        "server": asdict(operation.server),
        "marker": operation.evidence.marker,
        "doubts": _guard.doubts(operation.evidence),
        "pinned": operation.request.server_id == operation.server.identifier,
        "size": _database.size(operation.maintenance, operation.database),
        "sessions": [asdict(item) for item in sessions(operation.maintenance, operation.database)],
        "schema_fingerprint": fingerprint(snapshot),
        "tables": tables(snapshot),
        "seeds": read_seeds(operation),
        "backups": [facts_of(backup) for backup in backups],
        "unreadable_backups": unreadable,
        "replaced_databases": _survey.kept_databases(operation),
        "running_operation": _survey.running_operation(operation),
        "last_operation": history[-1] if history else None,
        "backends": [
            {"name": item.name, "image": item.image, "status": item.status, "health": item.health} for item in operation.target.backends
        ],
        "plan": None,
    }
    diff = None
    if plan_with:
        runner = _survey.migration_runner(operation, plan_with)
        plan, trouble = _survey.plan_with(operation, runner, (), _PLAN_TIMEOUT, "a limit of database_info")
        facts["plan"] = dict(plan_facts(plan), rc=plan.outcome.rc, trouble=trouble)
        diff = {"prepared": render_plan(plan, operation.database, runner.command)}
    return Result(False, _summary(operation, facts), facts, diff)


def _summary(operation: Operation, facts: dict[str, t.Any]) -> list[str]:
    server = operation.server
    lines = [
        "Database '%s' in container '%s': PostgreSQL %s, server %s (%s), %s, marked %s."
        % (
            operation.database,
            operation.target.container.name,
            server.version,
            server.identifier,
            "pinned" if facts["pinned"] else "not pinned",
            size_text(facts["size"]),
            "'%s'" % operation.evidence.marker if operation.evidence.marker else "not at all",
        ),
        "Schema %s, %d tables, %d sessions." % (facts["schema_fingerprint"][:12], len(facts["tables"]), len(facts["sessions"])),
        "Backups: %d%s." % (len(facts["backups"]), ", the newest '%s'" % facts["backups"][0]["id"] if facts["backups"] else ""),
    ]
    if facts["running_operation"]:
        lines.append("Busy: %s." % Holder(**facts["running_operation"]))
    if facts["plan"] and facts["plan"]["trouble"]:
        lines.append("The pending migration could not be planned: %s." % facts["plan"]["trouble"])
    elif facts["plan"]:
        lines.append("Pending migration: %s." % ("none" if facts["plan"]["empty"] else "%d statements" % len(facts["plan"]["statements"])))
    if facts["sessions"]:
        oldest = facts["sessions"][0]
        lines.append("Oldest session: pid %d of '%s', %s." % (oldest["pid"], oldest["application"], duration_text(oldest["seconds"])))
    return lines
