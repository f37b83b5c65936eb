# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration would do, and what that means for this database; written down, so that somebody can approve exactly that."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    Runner,
    command_of,
    failure_of,
    find_runner,
    last_lines,
)
from ansible_collections.dbops.postgres.plugins.module_utils.gates._evidence import evaluate
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import OVERRULED, Gate, asks_its_checklist, wanted
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning_options import PlanningOptions
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import PASSED, longest, read_rehearsal
from ansible_collections.dbops.postgres.plugins.module_utils.risk import _told
from ansible_collections.dbops.postgres.plugins.module_utils.risk._accepted import parse_acceptances
from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment, assess
from ansible_collections.dbops.postgres.plugins.module_utils.risk._measured import Measured
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, make_plan, plan_facts
from ansible_collections.dbops.postgres.plugins.module_utils.server import _activity, _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, shape
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import without_passwords
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

#: The variable that sets the runner's time limit.
LIMIT = "dbops_migrate_timeout"

#: Hexadecimal digits of a fingerprint that a person types.
SHORT = 16

#: Of a plan in check mode, which no migration knows.
_HOW_TO_NOTE = "It is not in the journal, so nobody can approve it: plan without --check for that."

#: Statements, and characters of each, that a person reads on a screen.
_MOST, _WIDEST = 30, 150


@dataclass(frozen=True)
class Planned:
    """A sound plan, the runner that it was made with, what it means, and how the gates stand."""

    plan: Plan
    runner: Runner
    assessment: Assessment
    gates: tuple[Gate, ...] = ()

    def facts(self) -> dict[str, t.Any]:
        """For a result."""
        runner = {"command": list(self.runner.argv), "image": self.runner.image, "image_id": self.runner.image_id}
        return {
            "plan": plan_facts(self.plan),
            "runner": runner,
            "risk": _told.facts(self.assessment),
            "gates": [asdict(gate) for gate in self.gates],
        }

    def journal(self) -> dict[str, t.Any]:
        """For the journal: what a migration is recognised by later, and whose word stood for which gate."""
        overruled = {gate.name: gate.reason for gate in self.gates if gate.state == OVERRULED}
        return {
            "plan_fingerprint": self.plan.fingerprint,
            "schema_before": fingerprint(self.plan.before),
            "schema_after": fingerprint(self.plan.after),
            "schema_shape_after": fingerprint(shape(self.plan.after)),
            "risk": self.assessment.level.word,
            "image": self.runner.image,
            "image_id": self.runner.image_id,
            "runner": list(self.runner.argv),
            "backend": self.runner.container.name,
            **({"overruled": overruled} if overruled else {}),
        }


def make_sound_plan(operation: Operation, options: PlanningOptions, approved: bool | None = None) -> Planned:
    """Plan, judge what it means, and see how the gates stand.

    :param approved: whether a plan was named that somebody has approved; ``None`` where that is not asked yet.
    :raises DbopsError: where the runner already fails in the sandbox; the target was not touched then.
    """
    accepted = parse_acceptances(options.accepted)
    wanted(options.gates, asks_its_checklist(operation.request.environment, operation.is_production))  # said before anything is planned
    _database.require(operation.maintenance, operation.database)
    backend, argv = operation.target.backend(), command_of(options.runner, "migrate")
    fetch_image(operation, options.image)
    runner = find_runner(operation.docker, backend, argv, options.image)
    first = first_look(operation)
    plan = as_shown(operation, make_plan(operation, runner, options.state_tables, options.timeout, twice=True))
    _require_sound(plan, runner, options.timeout)
    if plan.swallowed:
        operation.warnings.append(
            "'%s' went on although the server refused something of it in the sandbox: %s. Look whether the rest is what you want."
            % (runner.command, plan.swallowed)
        )
    if plan.empty:
        return Planned(plan, runner, Assessment())
    operation.enter("plan: judge")
    with operation.session(read_only=True) as connection:
        assessment = assess(connection, plan, first, accepted, options.look_up_seconds, measured=_rehearsed(operation, plan))
    return Planned(plan, runner, assessment, tuple(evaluate(operation, plan, approved, options.gates)))


def _rehearsed(operation: Operation, plan: Plan) -> Measured | None:
    """What the last rehearsal has measured, where it was of this very migration."""
    record = read_rehearsal(operation.archive.folder, operation.database)
    if record is None or record.state != PASSED or not record.covers(plan):
        return None
    return Measured(record.backup, record.seconds_of(plan), longest((lock.table, lock.seconds) for lock in record.locks))


def as_shown(operation: Operation, plan: Plan) -> Plan:
    """Without secrets from the beginning: what is written down has the fingerprint of what was planned."""

    def shown(text: str) -> str:
        return operation.redactor.text(without_passwords(text))

    return replace(
        plan,
        statements=tuple(replace(item, sql=shown(item.sql)) for item in plan.statements),
        again=tuple(replace(item, sql=shown(item.sql)) for item in plan.again),
        failed=tuple(replace(item, sql=shown(item.sql)) for item in plan.failed),
        left_open=tuple(map(shown, plan.left_open)),
        runner=tuple(map(operation.redactor.text, plan.runner)),
    )


def first_look(operation: Operation) -> _activity.Look | None:
    """What goes on in the tables is what changes between this look and the one after the plan."""
    try:
        with operation.session(read_only=True) as connection:
            return _activity.look(connection)
    except Interrupted:
        raise
    except DbopsError:
        return None


def _require_sound(plan: Plan, runner: Runner, timeout: float) -> None:
    trouble = failure_of(runner, plan.outcome, timeout, LIMIT)
    if trouble:
        raise DbopsError(
            "The migration would fail: in a sandbox with the same schema %s. It says: %s. The database was not touched."
            % (trouble, last_lines(plan.outcome) or "(nothing)"),
            output=plan.outcome.output,
            plan=plan_facts(plan),
        )
    if plan.empty and plan.swallowed:
        raise DbopsError(
            "'%s' ends without an error, but does nothing: in a sandbox with the same schema the server refused %s. Mend the migration, or"
            " what it needs, then run this again. The database was not touched." % (runner.command, plan.swallowed),
            output=plan.outcome.output,
            plan=plan_facts(plan),
        )


def plan_migration(operation: Operation, options: PlanningOptions) -> Result:
    """The module's work: nothing is changed, the plan is written into the journal."""
    planned = make_sound_plan(operation, options)
    plan, runner = planned.plan, planned.runner
    if plan.empty:
        told = ["Nothing to migrate: database '%s' has the schema that image '%s' wants." % (operation.database, runner.image)]
        return Result(False, told, dict(planned.facts(), apply=""), journal=planned.journal())
    short = plan.fingerprint[:SHORT]
    apply = "" if operation.check_mode else apply_command(operation, short, options.image)  # what is not noted, nobody can approve
    told = [
        "Image '%s' would migrate database '%s' with '%s': %s." % (runner.image, operation.database, runner.command, extent(plan)),
        *_numbered(plan),
        *_told.lines(planned.assessment),
        *map(str, planned.gates),
        "The plan's fingerprint is %s. %s" % (short, "To do exactly this: " + apply if apply else _HOW_TO_NOTE),
    ]
    return Result(False, told, dict(planned.facts(), apply=apply), journal=planned.journal())


def _numbered(plan: Plan) -> list[str]:
    """The statements, as findings call them by number; the report and the result have all of them, in full."""
    flat = [" ".join(statement.sql.split()) for statement in plan.statements]
    told = ["%3d  %s" % (number, text[:_WIDEST] + "..." * (len(text) > _WIDEST)) for number, text in enumerate(flat[:_MOST], 1)]
    return told + (["     and %s more" % count_text(len(flat) - _MOST, "statement")] if len(flat) > _MOST else [])


def apply_command(operation: Operation, short: str, image: str = "") -> str:
    """``image``: where another one than the running backend's was planned."""
    playbook = "deploy.yml" if operation.request.operation == "deploy" else "migrate.yml"
    return "ansible-playbook %s -l %s%s -e dbops_migrate_plan=%s" % (playbook, operation.evidence.host, _with(image), short)


def plan_command(operation: Operation, image: str = "") -> str:
    return "ansible-playbook plan.yml -l %s%s" % (operation.evidence.host, _with(image))


def _with(image: str) -> str:
    return " -e dbops_image=%s" % image if image else ""


def extent(plan: Plan) -> str:
    """How much it is, in half a sentence."""
    change = plan.change
    parts = [count_text(len(plan.statements), "statement")]
    parts += ["%d objects added" % len(change.added)] if change.added else []
    parts += ["%d removed" % len(change.removed)] if change.removed else []
    parts += ["%d changed" % len(change.changed)] if change.changed else []
    parts += ["%d of them write rows" % len(plan.data_statements)] if plan.data_statements else []
    return ", ".join(parts)
