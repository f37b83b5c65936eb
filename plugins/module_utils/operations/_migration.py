# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the schema up to date with the backend's own runner: plan, back up, run, and prove that what was planned is what happened."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    Runner,
    failure_of,
    last_lines,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import GateOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import PRODUCTION
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import Watched, require_positive, run_watched
from ansible_collections.dbops.postgres.plugins.module_utils.operations._approval import (
    ApprovalOptions,
    approval_facts,
    find_approved,
    require_nothing_else_was_approved,
    require_ready,
    went_without,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import facts_of, make_backup, require_space
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import (
    LIMIT,
    Planned,
    PlanningOptions,
    extent,
    make_sound_plan,
)
from ansible_collections.dbops.postgres.plugins.module_utils.preview._conflicts import broken_branches, losses_text
from ansible_collections.dbops.postgres.plugins.module_utils.risk import _told
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, plan_facts, render_plan
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import (
    Snapshot,
    brief,
    difference,
    fingerprint,
    read_snapshot,
    render,
    tables,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup


@dataclass(frozen=True)
class MigrationOptions:
    """Seconds for every time limit. ``lock_retries``: how often the run is tried again after waiting too long for a lock.

    ``conflicts``: ``stop`` or ``warn`` where the plan would break another branch on a database that is not production.
    """

    runner: tuple[str, ...]
    image: str = ""
    backup: bool = True
    jobs: int = 2
    timeout: float = 600
    lock_timeout: float = 1
    lock_retries: int = 5
    lock_pause: float = 5
    state_tables: tuple[str, ...] = ()
    health_timeout: float = 60
    conflicts: str = "stop"
    accepted: tuple[t.Mapping[str, t.Any], ...] = ()
    look_up_seconds: float = 10
    approval: ApprovalOptions = field(default_factory=ApprovalOptions)
    gates: GateOptions = field(default_factory=GateOptions)

    @property
    def planning(self) -> PlanningOptions:
        return PlanningOptions(self.runner, self.image, self.timeout, self.state_tables, self.accepted, self.look_up_seconds, self.gates)


def migrate(operation: Operation, options: MigrationOptions) -> Result:
    """Plan; in check mode stop there; else do what was planned, and nothing if that is nothing."""
    require_positive(options.lock_timeout)
    approved = find_approved(operation, options.approval)
    planned = make_sound_plan(operation, options.planning, approved is not None)
    plan, runner = planned.plan, planned.runner
    diff = {"prepared": render_plan(plan, operation.database, runner.command)}
    facts = planned.facts()
    if plan.empty:
        require_nothing_else_was_approved(planned, approved)
        return Result(
            False,
            ["Nothing to migrate: database '%s' has the schema that image '%s' wants." % (operation.database, runner.image)],
            facts,
            diff,
            planned.journal(),
        )
    require_ready(operation, planned, approved, options.approval)
    _settle_conflicts(operation, plan, runner, options)
    if operation.check_mode:
        return Result(
            True,
            [
                "Would migrate database '%s' with '%s': %s." % (operation.database, runner.command, extent(plan)),
                *_told.lines(planned.assessment),
                *map(str, planned.gates),
            ],
            facts,
            diff,
        )
    backup = _back_up(operation, options)
    facts["backup"] = facts_of(backup) if backup else None
    sick_before = _health.sick(operation.docker, operation.target.backends)
    seconds, watched = apply(operation, plan, runner, options, backup)
    facts["runner_seconds"] = round(seconds, 3)
    refused = watched.tell(operation, runner, plan.failed, (statement.sql for statement in plan.statements))
    facts.update(refused.facts())
    facts["backend_errors"] = _see_backends_well(operation, options, backup, sick_before)
    without = went_without(operation, planned, approved, options.approval)
    report = _report(operation, planned, backup, facts, diff, refused.not_known)
    return replace(report, journal={**report.journal, **approval_facts(without, approved, options.approval.reason)})


def _settle_conflicts(operation: Operation, plan: Plan, runner: Runner, options: MigrationOptions) -> None:
    """Other branches work on the same preview database: what the plan takes away from them stops it, unless that is wanted."""
    if operation.request.environment == PRODUCTION:
        return
    broken = broken_branches(operation, runner, plan.before, plan.after)
    if broken and options.conflicts == "stop":
        raise DbopsError(
            "The migration would break what other branches on database '%s' use: %s. Nothing was migrated. Settle it with them, or migrate"
            " all the same with -e dbops_preview_conflicts=warn." % (operation.database, losses_text(broken)),
            conflicts=broken,
            plan=plan_facts(plan),
        )
    if broken:
        operation.warnings.append("The migration breaks what other branches use: %s." % losses_text(broken))


def _back_up(operation: Operation, options: MigrationOptions) -> Backup | None:
    """Left out only where that was asked for, and never where the database counts as production."""
    if not options.backup and not operation.is_production:
        return None
    if not options.backup:
        operation.warnings.append(
            "dbops_migrate_backup is ignored: database '%s' counts as production, so it is backed up first." % operation.database
        )
    require_space(operation)
    return make_backup(operation, BackupOptions("before_migration", options.jobs))


def apply(operation: Operation, plan: Plan, runner: Runner, options: MigrationOptions, backup: Backup | None) -> tuple[float, Watched]:
    """Run the runner until it succeeds or must not be tried again; returns the run that succeeded, and its seconds."""
    if _read(operation) != plan.before:
        raise DbopsError(
            "The schema of database '%s' changed while the migration was being planned: run this again. Nothing was migrated."
            % operation.database
        )
    attempt = 0
    while True:
        attempt += 1
        operation.enter("migrate: run")
        started = time.monotonic()
        try:
            watched = run_watched(operation, runner, "migrate-%d" % attempt, options.timeout, options.lock_timeout)
            outcome, waits = watched.outcome, watched.waits
            seconds = time.monotonic() - started
            after = _read(operation)
        except DbopsError as error:  # interrupted, or engine or server failed: say all the same what became of the schema
            raise DbopsError("%s %s" % (error.message, _state_now(operation, plan, backup)), **error.details) from None
        if not failure_of(runner, outcome, options.timeout, LIMIT):
            _require_as_planned(operation, plan, runner, outcome, after, backup)
            operation.warnings += waits
            return seconds, watched
        if not waits or attempt > options.lock_retries or after != plan.before:
            raise _failure(operation, plan, runner, options, outcome, after, backup, waits)
        operation.warnings += ["Attempt %d gave up: %s." % (attempt, wait) for wait in waits]
        operation.enter("migrate: pause")
        time.sleep(options.lock_pause)


def _read(operation: Operation) -> Snapshot:
    with operation.session(read_only=True) as connection:
        return read_snapshot(connection)


def _require_as_planned(operation: Operation, plan: Plan, runner: Runner, outcome: Outcome, after: Snapshot, backup: Backup | None) -> None:
    """A runner that says it succeeded is not believed: the schema has to be the planned one."""
    if after == plan.after:
        return
    missing = difference(after, plan.after)
    raise DbopsError(
        "'%s' ended without an error, but the schema of database '%s' is not the planned one (it is %s, planned was %s); to be as planned it would need: %s. %s"
        % (
            runner.command,
            operation.database,
            fingerprint(after)[:12],
            fingerprint(plan.after)[:12],
            brief(missing),
            _way_back(operation, backup),
        ),
        output=outcome.output,
        differences=render(missing),
        backup=facts_of(backup) if backup else None,
    )


def _failure(
    operation: Operation,
    plan: Plan,
    runner: Runner,
    options: MigrationOptions,
    outcome: Outcome,
    after: Snapshot,
    backup: Backup | None,
    waits: list[str],
) -> DbopsError:
    changed = difference(plan.before, after)
    waited = " It was stopped because %s." % "; and ".join(waits) if waits else ""
    return DbopsError(
        "The migration failed: %s.%s It says: %s. %s"
        % (
            failure_of(runner, outcome, options.timeout, LIMIT),
            waited,
            last_lines(outcome) or "(nothing)",
            _state(operation, plan, after, backup),
        ),
        output=outcome.output,
        differences=render(changed),
        schema_unchanged=not changed,
        backup=facts_of(backup) if backup else None,
    )


def _state_now(operation: Operation, plan: Plan, backup: Backup | None) -> str:
    try:
        return _state(operation, plan, _read(operation), backup)
    except DbopsError as error:
        return "The schema could not be read afterwards (%s). %s" % (error.message, _way_back(operation, backup))


def _state(operation: Operation, plan: Plan, after: Snapshot, backup: Backup | None) -> str:
    """S5: the schema is as it was, shown by its fingerprint, or what exactly changed and how to go back."""
    changed = difference(plan.before, after)
    if changed:
        return "The schema was left changed: %s. %s" % (brief(changed), _way_back(operation, backup))
    state = "The schema is as it was (fingerprint %s before and after)." % fingerprint(after)[:12]
    if plan.data_statements:
        state += " The migration also writes rows, which a fingerprint does not show. " + _way_back(operation, backup)
    return state


def _way_back(operation: Operation, backup: Backup | None) -> str:
    if backup is None:
        return "No backup was made before it (dbops_migrate_backup)."
    return "To go back to the backup made before it: %s" % operation.restore_command(backup.manifest.id)


def _see_backends_well(operation: Operation, options: MigrationOptions, backup: Backup | None, sick_before: list[str]) -> list[str]:
    """The backends pass their health checks with the new schema; returns the error lines in their logs since the start."""
    operation.enter("migrate: health")
    docker, backends = operation.docker, operation.target.backends
    operation.warnings += ["Backend '%s' was not healthy before the migration either." % name for name in sick_before]
    with operation.after("Database '%s' had been migrated as planned before that. %s" % (operation.database, _way_back(operation, backup))):
        sick = _health.unhealthy(docker, backends, options.health_timeout, sick_before)
        errors = _health.new_error_lines(docker, backends, timestamp(operation.started_at))
    if sick:
        raise DbopsError(
            "Database '%s' was migrated as planned, but the backend is not well after it: %s %s"
            % (operation.database, " ".join(sick), _way_back(operation, backup)),
            backend_errors=errors,
            backup=facts_of(backup) if backup else None,
        )
    return errors


def _report(
    operation: Operation,
    planned: Planned,
    backup: Backup | None,
    facts: dict[str, t.Any],
    diff: dict[str, str],
    not_known: list[str],
) -> Result:
    plan, runner = planned.plan, planned.runner
    before, after = tables(plan.before), tables(plan.after)
    healthy = [container.name for container in operation.target.backends if container.in_service]
    errors = facts["backend_errors"]
    summary = [
        "Migrated database '%s' with '%s' in %s: %s."
        % (operation.database, runner.command, duration_text(facts["runner_seconds"]), extent(plan)),
        "Tables before: %d, after: %d%s." % (len(before), len(after), _tables_named(before, after)),
        _way_back(operation, backup),
        "Backends: %s. New error lines in their logs: %d." % (", ".join(healthy) or "none runs", len(errors)),
        *not_known,
    ]
    facts = dict(facts, tables_before=before, tables_after=after)
    journal = dict(planned.journal(), backup=backup.manifest.id if backup else None)
    return Result(True, summary + errors, facts, diff, journal)


def _tables_named(before: list[str], after: list[str]) -> str:
    new, gone = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    parts = (["new: " + ", ".join(new)] if new else []) + (["gone: " + ", ".join(gone)] if gone else [])
    return " (%s)" % "; ".join(parts) if parts else ""
