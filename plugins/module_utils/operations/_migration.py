# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring the schema up to date with the backend's own runner: plan, back up, run, and prove that what was planned is what happened."""

from __future__ import annotations

import random
import time
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    Runner,
    failure_of,
    last_lines,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import PRODUCTION
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import Queue
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watched_run import Watched, run_watched
from ansible_collections.dbops.postgres.plugins.module_utils.operations._afterwards import Afterwards, Before, look_afterwards, state_before
from ansible_collections.dbops.postgres.plugins.module_utils.operations._approval import (
    approval_facts,
    find_approved,
    require_nothing_else_was_approved,
    require_ready,
    went_without,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import facts_of, make_backup, require_space
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._migration_options import MigrationOptions, require_sensible
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import (
    LIMIT,
    Planned,
    extent,
    make_sound_plan,
)
from ansible_collections.dbops.postgres.plugins.module_utils.preview._conflicts import broken_branches, losses_text
from ansible_collections.dbops.postgres.plugins.module_utils.risk import _told
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import strongest
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, plan_facts, render_plan
from ansible_collections.dbops.postgres.plugins.module_utils.server._blockers import blockers, sees_others
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import (
    Snapshot,
    brief,
    difference,
    fingerprint,
    read_snapshot,
    render,
    tables,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Refused, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup


@dataclass(frozen=True)
class Prepared:
    """A migration that may begin: planned, approved where that is asked for, and nobody is in its way. ``diff``: the plan, to be shown."""

    planned: Planned
    approved: dict[str, t.Any] | None
    diff: dict[str, str]


def migrate(operation: Operation, options: MigrationOptions) -> Result:
    """Plan; in check mode stop there; else do what was planned, and nothing if that is nothing."""
    prepared = prepare(operation, options)
    if prepared.planned.plan.empty:
        return nothing_to_migrate(operation, prepared)
    if operation.check_mode:
        return would_migrate(operation, prepared)
    return carry_out(operation, prepared, options)


def prepare(operation: Operation, options: MigrationOptions) -> Prepared:
    """Plan, and ask everything that may refuse.

    :raises DbopsError: before anything was touched.
    """
    require_sensible(options.locks)
    approved = find_approved(operation, options.approval)
    planned = make_sound_plan(operation, options.planning, approved is not None)
    plan, runner = planned.plan, planned.runner
    prepared = Prepared(planned, approved, {"prepared": render_plan(plan, operation.database, runner.command)})
    if plan.empty:
        require_nothing_else_was_approved(planned, approved)
        return prepared
    require_ready(operation, planned, approved, options.approval)
    _settle_conflicts(operation, plan, runner, options)
    _require_nobody_in_the_way(operation, plan, options.locks.blocker_max_age)
    return prepared


def nothing_to_migrate(operation: Operation, prepared: Prepared) -> Result:
    planned = prepared.planned
    told = "Nothing to migrate: database '%s' has the schema that image '%s' wants." % (operation.database, planned.runner.image)
    return Result(False, [told], planned.facts(), prepared.diff, planned.journal())


def would_migrate(operation: Operation, prepared: Prepared) -> Result:
    planned = prepared.planned
    told = "Would migrate database '%s' with '%s': %s." % (operation.database, planned.runner.command, extent(planned.plan))
    return Result(True, [told, *_told.lines(planned.assessment), *map(str, planned.gates)], planned.facts(), prepared.diff)


def carry_out(
    operation: Operation,
    prepared: Prepared,
    options: MigrationOptions,
    replace_backends: t.Callable[[dict[str, t.Any]], None] | None = None,
) -> Result:
    """Back up, run, and prove that what was planned is what happened.

    :param replace_backends: called with the facts so far as soon as the schema is the new one, in the place of judging the backends of before.
    """
    planned, approved = prepared.planned, prepared.approved
    plan, runner, facts = planned.plan, planned.runner, planned.facts()
    backup = _back_up(operation, options)
    facts["backup"] = facts_of(backup) if backup else None
    sick_before = [] if replace_backends else _health.sick(operation.docker, operation.target.backends)
    before = state_before(operation)
    run = apply(operation, plan, runner, options, backup)
    facts["runner_seconds"] = round(run.seconds, 3)
    refused = run.watched.tell(operation, runner, plan.failed, (statement.sql for statement in plan.statements))
    facts.update(refused.facts())
    if replace_backends:
        replace_backends(facts)
    facts["backend_errors"] = [] if replace_backends else _see_backends_well(operation, options, backup, sick_before)
    with operation.after("Database '%s' had been migrated as planned before that. %s" % (operation.database, _way_back(operation, backup))):
        afterwards = _look_afterwards(operation, planned, run.watched, before, options.analyze)
    facts["afterwards"] = afterwards.facts() if afterwards else {}
    without = went_without(operation, planned, approved, options.approval)
    facts["approval"] = approval_facts(without, approved, options.approval.reason)
    judged = [] if replace_backends else [_told_of_backends(operation, facts["backend_errors"])]
    not_known = [*(afterwards.lines() if afterwards else []), *refused.not_known]
    report = _report(operation, planned, backup, facts, prepared.diff, judged, not_known)
    journal = {**report.journal, **(afterwards.journal() if afterwards else {}), **facts["approval"]}
    return replace(report, journal=journal)


def _look_afterwards(operation: Operation, planned: Planned, watched: Watched, before: Before, analyze: bool) -> Afterwards | None:
    """What cannot be looked at any more does not make a failure of a migration that is done."""
    try:
        return look_afterwards(operation, planned, watched, before, analyze)
    except ServerError as error:
        operation.warnings.append("What the migration has left could not be looked at: %s" % error.message)
        return None


def _require_nobody_in_the_way(operation: Operation, plan: Plan, max_age: float) -> None:
    """Whoever will not be gone soon would keep the migration waiting, and everybody else behind it.

    :raises Refused: naming who it is, and what ends it; in check mode it is only said.
    """
    wanted = locks_wanted(plan)
    if not max_age or not wanted:
        return
    with operation.session(read_only=True) as connection:
        found = blockers(connection, wanted, max_age)
        if not sees_others(connection):
            operation.warnings.append(
                "How long others have been at the tables of the plan is not known, since the role may not see it: it needs pg_read_all_stats."
            )
    if not found:
        return
    told = (
        "Refused to migrate '%s': its tables are in use by what will not be gone soon, and everybody would wait behind the migration. Nothing was"
        " touched.\n%s\nWait for it, or end it: %s To try all the same, for as long as dbops_migrate_lock_retries says: -e"
        " dbops_migrate_blocker_max_age=0"
        % (operation.database, "\n".join(map(str, found[:10])), " ".join(blocker.end for blocker in found[:10]))
    )
    if not operation.check_mode:
        raise Refused(told)
    operation.warnings.append("A run would be refused. " + told)


def locks_wanted(plan: Plan) -> dict[str, str]:
    """The strongest lock on each table that was there before, by its full name."""
    relations = plan.objects[0].relations
    pairs = [pair for statement in plan.statements for pair in statement.held.items()]
    return {relations[oid].name: mode for oid, mode in strongest(pairs).items() if oid in relations}


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


@dataclass(frozen=True)
class Run:
    """The try that succeeded. ``seconds``: of the runner; ``waits``: of tries before it."""

    watched: Watched
    seconds: float


def apply(operation: Operation, plan: Plan, runner: Runner, options: MigrationOptions, backup: Backup | None) -> Run:
    """Run the runner until it succeeds or must not be tried again."""
    if _read(operation) != plan.before:
        raise DbopsError(
            "The schema of database '%s' changed while the migration was being planned: run this again. Nothing was migrated."
            % operation.database
        )
    begun, attempt, locks, queue = time.monotonic(), 0, options.locks, Queue()
    while True:
        attempt += 1
        operation.enter("migrate: run")
        started = time.monotonic()
        try:
            watched = run_watched(operation, runner, "migrate-%d" % attempt, options.planning.timeout, locks.limits)
            queue = queue.and_then(watched.queue)
            watched = replace(watched, queue=queue)
            outcome, waits = watched.outcome, watched.waits
            seconds = time.monotonic() - started
            after = _read(operation)
        except DbopsError as error:  # interrupted, or engine or server failed: say all the same what became of the schema
            raise DbopsError("%s %s" % (error.message, _state_now(operation, plan, backup)), **error.details) from None
        if not failure_of(runner, outcome, options.planning.timeout, LIMIT):
            _require_as_planned(operation, plan, runner, outcome, after, backup)
            operation.warnings += waits + list(watched.holds)
            return Run(watched, seconds)
        pause = locks.pause * random.uniform(0.5, 1.5)  # noqa: S311 # two that met shall not meet again
        late = bool(locks.deadline) and time.monotonic() + pause - begun > locks.deadline
        if not waits or watched.ended or attempt > locks.retries or late or not _may_go_on(plan, after):
            raise _failure(operation, plan, runner, options, watched, after, backup, late)
        operation.warnings += ["Attempt %d gave up: %s." % (attempt, wait) for wait in waits]
        operation.enter("migrate: pause")
        time.sleep(pause)


def _may_go_on(plan: Plan, after: Snapshot) -> bool:
    """A runner that writes down how far it came goes on from there; any other has to begin where the plan began."""
    return after == plan.before or bool(plan.state_changed)


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
    watched: Watched,
    after: Snapshot,
    backup: Backup | None,
    late: bool,
) -> DbopsError:
    changed = difference(plan.before, after)
    why = ["It was stopped because %s." % "; and ".join(watched.waits)] if watched.waits else []
    why += ["It was ended. %s." % "; ".join(watched.holds)] if watched.ended else []
    why += ["It was not tried again: the time for all tries is over (dbops_migrate_lock_deadline)."] if late and watched.waits else []
    why += ["Meanwhile %s." % watched.queue] if watched.queue.most else []
    return DbopsError(
        "The migration failed: %s. %sIt says: %s. %s"
        % (
            failure_of(runner, watched.outcome, options.planning.timeout, LIMIT),
            "".join(text + " " for text in why),
            last_lines(watched.outcome) or "(nothing)",
            _state(operation, plan, after, backup),
        ),
        output=watched.outcome.output,
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
        invalid = [key.partition(" ")[2] for key, text in changed.added.items() if key.startswith("index ") and " INVALID" in text]
        left = (
            "An index was left invalid, which costs writes and serves nobody: DROP INDEX CONCURRENTLY %s; " % invalid[0] if invalid else ""
        )
        return "The schema was left changed: %s. %s%s" % (brief(changed), left, _way_back(operation, backup))
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


def _told_of_backends(operation: Operation, errors: list[str]) -> str:
    healthy = [container.name for container in operation.target.backends if container.in_service]
    return "Backends: %s. New error lines in their logs: %d." % (", ".join(healthy) or "none runs", len(errors))


def _report(
    operation: Operation,
    planned: Planned,
    backup: Backup | None,
    facts: dict[str, t.Any],
    diff: dict[str, str],
    judged: list[str],
    not_known: list[str],
) -> Result:
    plan, runner = planned.plan, planned.runner
    before, after = tables(plan.before), tables(plan.after)
    summary = [
        "Migrated database '%s' with '%s' in %s: %s."
        % (operation.database, runner.command, duration_text(facts["runner_seconds"]), extent(plan)),
        "Tables before: %d, after: %d%s." % (len(before), len(after), _tables_named(before, after)),
        _way_back(operation, backup),
        *judged,
        *not_known,
    ]
    facts = dict(facts, tables_before=before, tables_after=after)
    journal = dict(planned.journal(), backup=backup.manifest.id if backup else None)
    return Result(True, summary + facts["backend_errors"], facts, diff, journal)


def _tables_named(before: list[str], after: list[str]) -> str:
    new, gone = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    parts = (["new: " + ", ".join(new)] if new else []) + (["gone: " + ", ".join(gone)] if gone else [])
    return " (%s)" % "; ".join(parts) if parts else ""
