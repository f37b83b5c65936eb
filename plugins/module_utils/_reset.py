# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fresh database in the place of a disposable one: built in a sandbox by the backend's own runner, then swapped in by rename.

The runner works in the sandbox, where the database has its usual name, so any runner can build it and none can touch the live one.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils import _backend, _database, _dump, _swap
from ansible_collections.dbops.postgres.plugins.module_utils._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils._measure import count_text
from ansible_collections.dbops.postgres.plugins.module_utils._operation import MARKER, SEEDS, Operation, Result, timestamp, utc_now
from ansible_collections.dbops.postgres.plugins.module_utils._row_counts import TableRows, count_rows, differences
from ansible_collections.dbops.postgres.plugins.module_utils._runner import (
    Runner,
    command_of,
    failure_of,
    find_runner,
    last_lines,
    run_in_sandbox,
)
from ansible_collections.dbops.postgres.plugins.module_utils._sandbox import Sandbox, open_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils._schema import Snapshot, difference, fingerprint, read_snapshot, render
from ansible_collections.dbops.postgres.plugins.module_utils._seed import seed_fingerprint


@dataclass(frozen=True)
class ResetOptions:
    """``seed``: the seed command, empty for none. ``keep``: how many replaced databases are kept. Times in seconds."""

    runner: tuple[str, ...]
    seed: tuple[str, ...] = ()
    image: str = ""
    jobs: int = 2
    timeout: float = 600
    restart: str = "auto"
    health_timeout: float = 60
    session_timeout: float = 10
    keep: int = 1


@dataclass(frozen=True)
class Fresh:
    """What was built in the sandbox; ``folder`` holds its dump, empty in check mode."""

    schema: Snapshot
    tables: tuple[TableRows, ...]
    seeds: str
    folder: str


def reset(operation: Operation, options: ResetOptions) -> Result:
    """The guard has made sure that this database is disposable."""
    _database.require(operation.maintenance, operation.database)
    _swap.require_swappable(operation.maintenance, operation.database)
    with operation.session(read_only=True) as connection:
        before = count_rows(connection)
    backend = operation.target.backend()
    migrate = find_runner(operation.docker, backend, command_of(options.runner, "migrate"), options.image)
    seed = find_runner(operation.docker, backend, command_of(options.seed, "seed"), options.image) if options.seed else None
    fresh = _build_in_sandbox(operation, options, migrate, seed)
    diff = {"before": _listed(before), "after": _listed(fresh.tables)}
    facts: dict[str, t.Any] = {
        "rows_before": _as_map(before),
        "rows_after": _as_map(fresh.tables),
        "schema_after": fingerprint(fresh.schema),
        "image": migrate.image,
        "replaced": None,
        "dropped": [],
    }
    if operation.check_mode:
        return Result(
            True,
            ["Would reset database '%s' to %s, built by image '%s'." % (operation.database, _extent(fresh.tables), migrate.image)],
            facts,
            diff,
        )
    building = _swap.building_name(operation.database, operation.run_id)
    try:
        _build(operation, options, fresh, building)
        sick_before = _backend.sick(operation.docker, operation.target.backends)
        operation.enter("reset: swap")
        facts["replaced"] = _swap.swap(
            operation.maintenance, operation.database, building, "reset", operation.run_id, timestamp(utc_now()), options.session_timeout
        )
    except BaseException:
        _swap.drop_building(operation.maintenance, building)
        raise
    restarted = _see_backends_well(operation, options, facts["replaced"], sick_before)
    facts["dropped"] = _swap.drop_kept(operation.maintenance, operation.database, options.keep)
    journal = {"schema_after": facts["schema_after"], "image": migrate.image, "image_id": migrate.image_id, "replaced": facts["replaced"]}
    return Result(True, _report(operation, migrate, fresh, facts, restarted), facts, diff, journal)


def _build_in_sandbox(operation: Operation, options: ResetOptions, migrate: Runner, seed: Runner | None) -> Fresh:
    operation.enter("reset: sandbox")
    with open_sandbox(operation) as sandbox:
        for purpose, runner in (("migrate", migrate), ("seed", seed)):
            if runner:
                operation.enter("reset: " + purpose)
                _run(operation, sandbox, runner, purpose, options.timeout)
        with sandbox.session() as connection:
            schema, tables = read_snapshot(connection), count_rows(connection)
        folder = ""
        if not operation.check_mode:
            operation.enter("reset: dump")
            folder = operation.work_folder("fresh")
            tools = _dump.ToolBox(
                operation.docker,
                sandbox.container,
                sandbox.address,
                operation.run_id,
                operation.target_label,
                operation.work_folder("sandbox-tools"),
            )
            _dump.dump(tools, operation.database, "", folder, options.jobs, "1")
        return Fresh(schema, tables, seed_fingerprint(seed) if seed else "", folder)


def _run(operation: Operation, sandbox: Sandbox, runner: Runner, purpose: str, timeout: float) -> None:
    outcome = run_in_sandbox(
        operation.docker, runner, "dbops-%s-%s" % (operation.run_id, purpose), operation.labels, sandbox.network, timeout
    )
    trouble = failure_of(runner, outcome, timeout, "dbops_reset_timeout")
    if trouble:
        raise DbopsError(
            "The fresh database could not be built: %s. It says: %s. Database '%s' is untouched."
            % (trouble, last_lines(outcome) or "(nothing)", operation.database),
            output=outcome.output,
        )


def _build(operation: Operation, options: ResetOptions, fresh: Fresh, building: str) -> None:
    """Load what the sandbox made into a new database of the real server, and compare."""
    operation.enter("reset: build")
    properties = _database.read_properties(operation.maintenance, operation.database)
    _database.create(operation.maintenance, building, properties)
    _dump.restore(operation.tools(), fresh.folder, building, options.jobs)
    with operation.session(building) as connection:
        wrong = differences(fresh.tables, count_rows(connection)) + render(difference(fresh.schema, read_snapshot(connection)))
        connection.cursor().execute("ANALYZE")
    if wrong:
        raise DbopsError(
            "The fresh database is not what was built in the sandbox: %s. Database '%s' is untouched."
            % ("; ".join(wrong[:10]), operation.database),
            differences=wrong,
        )
    _database.apply_properties(operation.maintenance, building, properties)
    _database.set_own(operation.maintenance, building, MARKER, operation.evidence.marker)
    _database.set_own(operation.maintenance, building, SEEDS, fresh.seeds)


def _see_backends_well(operation: Operation, options: ResetOptions, kept: str, sick_before: list[str]) -> list[str]:
    operation.enter("reset: backend")
    backends = operation.target.backends
    operation.warnings += ["Backend '%s' was not healthy before the reset either." % name for name in sick_before]
    with operation.after_swap(kept):
        restarted = _backend.bring_back(operation.docker, backends, options.restart, options.health_timeout)
        sick = _backend.unhealthy(operation.docker, backends, options.health_timeout, sick_before)
        if sick:
            raise DbopsError(
                "Database '%s' was reset, but not every backend is well after it: %s" % (operation.database, " ".join(sick)), replaced=kept
            )
    return restarted


def _report(operation: Operation, migrate: Runner, fresh: Fresh, facts: dict[str, t.Any], restarted: list[str]) -> list[str]:
    healthy = [container.name for container in operation.target.backends if container.in_service]
    lines = [
        "Reset database '%s': now %s, built by image '%s'." % (operation.database, _extent(fresh.tables), migrate.image),
        "What it was is kept as '%s'. To undo: %s" % (facts["replaced"], operation.restore_command("undo"))
        if facts["replaced"] not in facts["dropped"]
        else "What it was is not kept, as asked (dbops_reset_keep).",
        "Healthy: %s%s." % (", ".join(healthy) or "no backend runs", " (restarted: %s)" % ", ".join(restarted) if restarted else ""),
    ]
    return lines + ["Dropped the replaced database '%s'." % name for name in facts["dropped"]]


def _listed(tables: t.Sequence[TableRows]) -> str:
    return "".join("%s: %s\n" % (table.name, count_text(table.rows, "row")) for table in tables) or "(no tables)\n"


def _as_map(tables: t.Sequence[TableRows]) -> dict[str, int]:
    return {table.name: table.rows for table in tables}


def _extent(tables: t.Sequence[TableRows]) -> str:
    return "%s in %s" % (count_text(sum(table.rows for table in tables), "row"), count_text(len(tables), "table"))
