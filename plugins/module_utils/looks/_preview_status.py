# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The branches that share a preview database: what each needs of its schema, what the schema has, and who migrated it.

Each look adds a line to the journal for a branch that is new or has changed, so that it is known afterwards what a branch that is
gone had needed.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.backend._branches import Branch
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, command_of
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.preview._conflicts import all_branches, losses_text, runner_of
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._expected_schemas import (
    Trial,
    Trials,
    file_name,
    find_out,
    known,
    open_trials,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot, fingerprint, read_snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema_needs import broken_by, fit, leftovers
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import aligned, count_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

#: Lines of the journal that are looked through for branches that are gone.
_HISTORY = 20000

#: The states, worst first.
CONFLICT, UNKNOWN, BEHIND, AHEAD, SAME, GONE = "conflict", "unknown", "behind", "ahead", "same", "gone"


@dataclass(frozen=True)
class Standing:
    """One branch. Times are UTC, RFC 3339.

    :param state: ``same``; ``behind``: its migration would add what it lacks; ``ahead``: the schema has more than it knows;
        ``conflict``: it lacks or cannot use what is there, or its migration would break another branch; ``unknown``: its own
        migration fails; ``gone``: it has no container any more.
    :param why: sentences.
    :param expects: fingerprint of the schema that it needs; ``file``: where that lies in the backup folder.
    :param migrated: when a migration with this branch's backend last changed the database, empty for never.
    """

    branch: str
    container: str
    image: str
    image_id: str
    revision: str
    status: str
    state: str
    why: tuple[str, ...] = ()
    expects: str = ""
    file: str = ""
    seen: str = ""
    migrated: str = ""

    def to_json(self) -> dict[str, t.Any]:
        return dict(asdict(self), why=list(self.why))


def preview_status(operation: Operation, command: tuple[str, ...]) -> Result:
    """Look at every branch; ``command`` is the one that migrates."""
    _database.require(operation.maintenance, operation.database)
    argv = command_of(command, "migrate")
    with operation.session(read_only=True) as connection:
        shared = read_snapshot(connection)
    history = _journal.read(operation.archive.folder, _HISTORY)
    branches = all_branches(operation)
    runners = {branch.name: runner_of(operation, branch, argv) for branch in branches}
    judged, needs = _judge(operation, shared, branches, runners)
    now = timestamp(utc_now())
    standings = [replace(item, seen=now, migrated=_last_migration(history, item.container)) for item in judged]
    rows = _ledger(history, operation.database)
    lost = [_gone(row, history) for name, row in rows.items() if name not in {item.branch for item in standings}]
    lost_needs = [schema for schema in (known(operation, item.file) for item in lost if item.file) if schema]
    left = leftovers(shared, list(needs.values()), lost_needs)
    _write_ledger(operation, rows, standings, fingerprint(shared))
    ordered = sorted(standings, key=lambda item: ((CONFLICT, UNKNOWN, BEHIND, AHEAD, SAME).index(item.state), item.branch))
    facts = {
        "branches": [item.to_json() for item in ordered + lost],
        "shared_schema": fingerprint(shared),
        "leftovers": left,
    }
    return Result(False, _report(operation, ordered, lost, left), facts)


def _judge(
    operation: Operation, shared: Snapshot, branches: t.Sequence[Branch], runners: t.Mapping[str, Runner]
) -> tuple[list[Standing], dict[str, Snapshot]]:
    """The standings, and what each image needs. A sandbox is opened only where something has to be tried."""
    by_image = {runner.image_id: runner for runner in runners.values()}
    found = {image_id: known(operation, file_name(operation, runner)) for image_id, runner in by_image.items()}
    needs = {image_id: Trial(schema, "") for image_id, schema in found.items() if schema is not None}
    plans: dict[str, Trial] = {}
    unfinished = [image_id for image_id in by_image if image_id not in needs or fit(shared, needs[image_id].schema).lacking]
    if unfinished:
        operation.enter("branches: sandbox")
        with open_trials(operation) as trials:
            _try_images(trials, [by_image[image_id] for image_id in unfinished], needs, plans)
    standings = [_standing(branch, runners[branch.name], shared, branches, needs, plans, operation) for branch in branches]
    return standings, {image_id: trial.schema for image_id, trial in needs.items() if not trial.trouble}


def _try_images(trials: Trials, runners: t.Sequence[Runner], needs: dict[str, Trial], plans: dict[str, Trial]) -> None:
    for runner in runners:
        if runner.image_id not in needs:
            needs[runner.image_id] = find_out(trials, runner)
        if fit(trials.live, needs[runner.image_id].schema).lacking:
            plans[runner.image_id] = trials.on_live(runner)


def _standing(
    branch: Branch,
    runner: Runner,
    shared: Snapshot,
    branches: t.Sequence[Branch],
    needs: t.Mapping[str, Trial],
    plans: t.Mapping[str, Trial],
    operation: Operation,
) -> Standing:
    trial = needs[runner.image_id]
    container = branch.container
    facts = Standing(branch.name, container.name, container.image, container.image_id, branch.revision, container.status, UNKNOWN)
    if trial.trouble:
        return replace(facts, why=("What it needs is not known: %s." % trial.trouble,))
    facts = replace(facts, expects=fingerprint(trial.schema), file=file_name(operation, runner))
    here = fit(shared, trial.schema)
    plan = plans.get(runner.image_id)
    why = list(here.unfit)
    if plan and plan.trouble:
        why.append("its migration would fail: %s" % plan.trouble)
    elif plan:
        why += ["its migration does not bring %s" % key for key in fit(plan.schema, trial.schema).lacking[:5]]
        others = {other.name: needs[other.container.image_id] for other in branches if other.container.image_id != runner.image_id}
        broken = {name: broken_by(shared, plan.schema, other.schema) for name, other in others.items() if not other.trouble}
        broken = {name: losses for name, losses in broken.items() if losses}
        why += ["its migration would break %s" % losses_text(broken)] if broken else []
    if why:
        return replace(facts, state=CONFLICT, why=tuple(why))
    if here.lacking:
        return replace(facts, state=BEHIND, why=("its migration would add %s" % _some(here.lacking),))
    if here.further:
        return replace(facts, state=AHEAD, why=("the schema has %s more" % count_text(len(here.further), "object"),))
    return replace(facts, state=SAME)


def _some(keys: t.Sequence[str], most: int = 4) -> str:
    """The names of tables and columns first; what belongs to a new table is not named again."""
    tables = [key for key in keys if key.startswith("table ")]
    columns = [key for key in keys if key.startswith("column ") and key.partition(" ")[2].rpartition(".")[0] not in {k[6:] for k in tables}]
    named = tables + columns or list(keys)
    return ", ".join(named[:most]) + (", and %d more" % (len(named) - most) if len(named) > most else "")


# --- the ledger -----------------------------------------------------------------------------------------------------------


def _ledger(history: t.Iterable[dict[str, t.Any]], database: str) -> dict[str, dict[str, t.Any]]:
    """The newest line of each branch."""
    return {entry["branch"]: entry for entry in history if entry.get("operation") == _journal.BRANCH and entry.get("database") == database}


def _write_ledger(operation: Operation, rows: t.Mapping[str, dict[str, t.Any]], standings: t.Iterable[Standing], shared: str) -> None:
    """A line for each branch that is not in the ledger as it is now, or not seen since yesterday. Nothing in check mode."""
    if operation.check_mode or not os.path.isdir(operation.archive.folder):
        return
    for item in standings:
        entry = dict(item.to_json(), operation=_journal.BRANCH, database=operation.database, shared=shared)
        known_row = rows.get(item.branch, {})
        same = all(known_row.get(name) == entry[name] for name in entry if name != "seen")
        if not same or known_row.get("seen", "")[:10] != item.seen[:10]:
            _journal.append(operation.archive.folder, operation.redactor.data(entry))


def _gone(row: dict[str, t.Any], history: t.Sequence[dict[str, t.Any]]) -> Standing:
    names = Standing.__dataclass_fields__
    facts = {name: text for name, text in row.items() if name in names}
    return replace(Standing(**facts), status="gone", state=GONE, why=(), migrated=_last_migration(history, row["container"]))


def _last_migration(history: t.Iterable[dict[str, t.Any]], container: str) -> str:
    times = [
        entry.get("finished", "")
        for entry in history
        if entry.get("operation") in _journal.MIGRATES and entry.get("changed") and entry.get("backend") == container
    ]
    return times[-1] if times else ""


# --- the table ------------------------------------------------------------------------------------------------------------


def _report(operation: Operation, standings: t.Sequence[Standing], lost: t.Sequence[Standing], left: t.Sequence[str]) -> list[str]:
    counts = [(state, sum(item.state == state for item in standings)) for state in (CONFLICT, UNKNOWN, BEHIND, AHEAD, SAME)]
    counted = ", ".join("%d %s" % (number, state) for state, number in counts if number) or "no backend was found"
    lines = ["%s on database '%s': %s." % (_branches_text(len(standings)), operation.database, counted)]
    table = [("BRANCH", "STATE", "IMAGE", "REVISION", "LAST MIGRATION", "LAST SEEN", "CONTAINER")]
    for item in [*standings, *lost]:
        row = (item.branch[:40], item.state, item.image, item.revision[:12] or "-", item.migrated or "-", item.seen, item.status)
        table.append(row)
    lines += aligned(table) if len(table) > 1 else []
    for item in standings:
        lines += ["%s: %s" % (item.branch[:40], why) for why in item.why]
    if left:
        lines.append("Left over from branches that are gone (the next reset clears it): %s." % _some(left, 20))
    behind = [item for item in standings if item.state == BEHIND]
    if behind:
        lines.append(
            "To migrate once for all: ansible-playbook migrate.yml -l %s -e dbops_preview_branch=%s"
            % (operation.evidence.host, behind[0].branch)
        )
    return lines


def _branches_text(number: int) -> str:
    return "1 branch" if number == 1 else "%d branches" % number
