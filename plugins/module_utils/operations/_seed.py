# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner's seed, once for each version of it."""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    Runner,
    command_of,
    failure_of,
    find_runner,
    last_lines,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watched_run import Watched, run_watched
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import facts_of, make_backup, require_space
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import SEEDING, SEEDS
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import transaction
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, changes, count_rows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup


@dataclass(frozen=True)
class SeedOptions:
    """``again``: run although this very seed ran before. ``timeout`` in seconds."""

    command: tuple[str, ...]
    image: str = ""
    again: bool = False
    jobs: int = 2
    timeout: float = 600


def seed(operation: Operation, options: SeedOptions) -> Result:
    """Run the seed unless this version of it ran before, and tell which rows it added."""
    _database.require(operation.maintenance, operation.database)
    backend = operation.target.backend()
    fetch_image(operation, options.image)
    runner = find_runner(operation.docker, backend, command_of(options.command, "seed"), options.image)
    mark = seed_fingerprint(runner)
    seeds = read_seeds(operation)
    require_no_half_seed(operation, options)
    facts: dict[str, t.Any] = {"seed": mark, "ran_before": mark in seeds, "rows_added": {}, "backup": None}
    if mark in seeds and not options.again:
        return Result(
            False,
            [
                "Nothing to seed: '%s' of image '%s' ran on database '%s' before (dbops_seed_again=true runs it again)."
                % (runner.command, runner.image, operation.database)
            ],
            facts,
            _diff(seeds, seeds),
        )
    diff = _diff(seeds, [*seeds, mark])
    if operation.check_mode:
        return Result(
            True, ["Would seed database '%s' with '%s' of image '%s'." % (operation.database, runner.command, runner.image)], facts, diff
        )
    backup = None
    if options.again or operation.is_production:
        require_space(operation)
        backup = make_backup(operation, BackupOptions("before_seed", options.jobs))
        facts["backup"] = facts_of(backup)
    facts["rows_added"], watched = _run(operation, runner, options, backup)
    refused = watched.tell(operation, runner)
    facts.update(refused.facts())
    _remember(operation, [*seeds, mark])
    added = ", ".join("%s %+d" % item for item in facts["rows_added"].items()) or "no rows"
    summary = ["Seeded database '%s' with '%s': %s." % (operation.database, runner.command, added)]
    summary += ["Backup before it: '%s'." % backup.manifest.id] if backup else []
    summary += refused.not_known
    return Result(
        True, summary, facts, diff, {"seed": mark, "image": runner.image, "image_id": runner.image_id, "rows_added": facts["rows_added"]}
    )


def require_no_half_seed(operation: Operation, options: SeedOptions) -> None:
    """:raises DbopsError: where the end of an earlier run was not seen: its rows may be there, and would come twice."""
    begun = _database.read_own(operation.maintenance, SEEDING).get(operation.database, "")
    if begun and not options.again:
        raise DbopsError(
            "A seed of database '%s' did not come to its end (run %s), and may have left rows behind. Look at them: either restore the"
            " backup made before it, or run the seed with -e dbops_seed_again=true." % (operation.database, begun)
        )


def _remember(operation: Operation, seeds: list[str]) -> None:
    """In one transaction: the seed ran, and none is under way."""
    connection = operation.maintenance
    with transaction(connection):
        _database.set_own(connection, operation.database, SEEDS, ",".join(dict.fromkeys(seeds)))
        _database.set_own(connection, operation.database, SEEDING, "")


def seed_fingerprint(runner: Runner) -> str:
    """16 hexadecimal digits for the image and the command; a new image is a new seed."""
    return hashlib.sha256(json.dumps([runner.image_id, list(runner.argv)]).encode()).hexdigest()[:16]


def read_seeds(operation: Operation) -> list[str]:
    text = _database.read_own(operation.maintenance, SEEDS).get(operation.database, "")
    return text.split(",") if text else []


def _run(operation: Operation, runner: Runner, options: SeedOptions, backup: Backup | None) -> tuple[dict[str, int], Watched]:
    operation.enter("seed: count")
    before = _count(operation)
    operation.enter("seed: run")
    _database.set_own(operation.maintenance, operation.database, SEEDING, operation.run_id)
    try:
        watched = run_watched(operation, runner, "seed", options.timeout)
    except DbopsError as error:  # interrupted, or the engine failed: which rows it left cannot be told
        raise DbopsError("%s It may have left rows behind.%s" % (error.message, _way_back(operation, backup)), **error.details) from None
    with operation.after("The seed had run before that.%s" % _way_back(operation, backup)):
        operation.enter("seed: compare")
        gained = changes(before, _count(operation))
    trouble = failure_of(runner, watched.outcome, options.timeout, "dbops_seed_timeout")
    if trouble:
        if not gained:
            _database.set_own(operation.maintenance, operation.database, SEEDING, "")
        raise _failure(operation, watched.outcome, trouble, gained, backup)
    return gained, watched


def _way_back(operation: Operation, backup: Backup | None) -> str:
    return " To go back: %s" % operation.restore_command(backup.manifest.id) if backup else ""


def _failure(operation: Operation, outcome: Outcome, trouble: str, gained: dict[str, int], backup: Backup | None) -> DbopsError:
    left = (
        "No table has more or fewer rows than before."
        if not gained
        else "It left rows behind: %s." % ", ".join("%s %+d" % item for item in gained.items())
    )
    return DbopsError(
        "The seed failed: %s. It says: %s. %s%s" % (trouble, last_lines(outcome) or "(nothing)", left, _way_back(operation, backup)),
        output=outcome.output,
        rows_added=gained,
        backup=facts_of(backup) if backup else None,
    )


def _count(operation: Operation) -> tuple[TableRows, ...]:
    with operation.session(read_only=True) as connection:
        return count_rows(connection)


def _diff(before: list[str], after: list[str]) -> dict[str, str]:
    return {
        "before_header": "seeds",
        "after_header": "seeds",
        "before": "".join("%s\n" % mark for mark in before),
        "after": "".join("%s\n" % mark for mark in dict.fromkeys(after)),
    }
