# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fresh database in the place of a disposable one: built in a sandbox by the backend's own runner, then swapped in by rename.

The runner works in the sandbox, where the database has its usual name, so any runner can build it and none can touch the live one.
"""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump
from ansible_collections.dbops.postgres.plugins.module_utils.archive._load import load_all_that_goes
from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    Runner,
    command_of,
    failure_of,
    find_runner,
    last_lines,
    run_in_sandbox,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operation._new_database import create_beside
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.operations._seed import seed_fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.preview._baseline import (
    Baseline,
    baseline_name,
    copy_baseline,
    fingerprint_of,
    keep_baseline,
    read_baseline,
)
from ansible_collections.dbops.postgres.plugins.module_utils.preview._kept_tables import (
    KeptTable,
    carry_over,
    find,
    require_in_both,
    with_kept_rows,
)
from ansible_collections.dbops.postgres.plugins.module_utils.preview._usage import last_use
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._runner_log import mark_begin, mark_end, read_between_marks
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._sandbox import open_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import collation_version
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import MARKER, SEEDS
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import search_path_of
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, count_rows, differences
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import Snapshot, difference, fingerprint, read_snapshot, render
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import LOG_OPTIONS, failures_text, read_failures
from ansible_collections.dbops.postgres.plugins.module_utils.server._statistics import analyze, warning
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now


@dataclass(frozen=True)
class ResetOptions:
    """``seed``: the seed command, empty for none. ``keep``: how many replaced databases are kept. Times in seconds.

    ``rebuild``: make the baseline anew although nothing of what made it has changed. ``keep_tables``: tables whose rows are carried
    over. ``idle``: minutes without use after which a reset may take place, 0 for at any time.
    """

    runner: tuple[str, ...]
    seed: tuple[str, ...] = ()
    image: str = ""
    jobs: int = 2
    timeout: float = 600
    restart: str = "auto"
    health_timeout: float = 60
    session_timeout: float = 10
    keep: int = 1
    rebuild: bool = False
    keep_tables: tuple[str, ...] = ()
    idle: float = 0


@dataclass(frozen=True)
class Fresh:
    """What was built in the sandbox; ``folder`` holds its dump, empty in check mode."""

    schema: Snapshot
    tables: tuple[TableRows, ...]
    folder: str


@dataclass(frozen=True)
class Replacement:
    """What takes the live database's place; ``fresh`` where the baseline has to be made anew."""

    baseline: Baseline
    fresh: Fresh | None
    properties: _database.Properties
    kept_tables: tuple[KeptTable, ...]


@dataclass(frozen=True)
class Builder:
    """What makes a fresh database, and the fingerprint of all that."""

    migrate: Runner
    seed: Runner | None
    fingerprint: str

    @property
    def seeds(self) -> str:
        return seed_fingerprint(self.seed) if self.seed else ""


def reset(operation: Operation, options: ResetOptions) -> Result:
    """The guard has made sure that this database is disposable."""
    _database.require(operation.maintenance, operation.database)
    used = last_use(operation, options.idle) if options.idle > 0 else ""
    if used:
        return _skipped(operation, options, used)
    _swap.require_swappable(operation.maintenance, operation.database)
    with operation.session(read_only=True) as connection:
        kept_tables = find(connection, options.keep_tables)
        before = count_rows(connection)
    properties = _database.read_properties(operation.maintenance, operation.database)
    builder = _find_builder(operation, options, properties)
    baseline, fresh = _current_baseline(operation, options, builder), None
    if baseline is None:
        fresh = _build_in_sandbox(operation, options, builder)
        baseline = _describe(operation, builder, fresh)
    require_in_both(kept_tables, baseline.tables)
    after = with_kept_rows(baseline.tables, before, kept_tables)
    how = "built by image '%s'" % baseline.image
    if fresh is None:
        how = "a copy of the baseline that image '%s' made at %s" % (baseline.image, baseline.made)
    if kept_tables:
        how += ", with the rows of %s carried over" % ", ".join(table.name for table in kept_tables)
    diff = {"before": _listed(before), "after": _listed(after)}
    facts: dict[str, t.Any] = {
        "in_use": "",
        "rows_before": _as_map(before),
        "rows_after": _as_map(after),
        "schema_after": baseline.schema,
        "image": baseline.image,
        "baseline_rebuilt": fresh is not None,
        "kept_tables": [table.name for table in kept_tables],
        "replaced": None,
        "dropped": [],
    }
    if operation.check_mode:
        line = "Would reset database '%s' to %s, %s." % (operation.database, _extent(after), how)
        return Result(True, [line], facts, diff)
    sick_before, facts["replaced"] = _replace(operation, options, Replacement(baseline, fresh, properties, kept_tables))
    health = _see_backends_well(operation, options, facts["replaced"], sick_before)
    facts["dropped"] = _swap.drop_kept(operation.maintenance, operation.database, options.keep)
    journal = {name: facts[name] for name in ("schema_after", "image", "baseline_rebuilt", "kept_tables", "replaced")}
    return Result(True, _report(operation, after, how, facts, health), facts, diff, dict(journal, image_id=builder.migrate.image_id))


def _skipped(operation: Operation, options: ResetOptions, used: str) -> Result:
    """A reset that nobody asked for by hand waits until nobody is in the way."""
    return Result(
        False,
        [
            "Not reset: database '%s' was used within the last %g minutes (dbops_preview_reset_idle): %s."
            % (operation.database, options.idle, used)
        ],
        {"in_use": used, "replaced": None, "dropped": []},
        journal={"in_use": used},
    )


def _describe(operation: Operation, builder: Builder, fresh: Fresh) -> Baseline:
    return Baseline(
        operation.database,
        builder.fingerprint,
        fingerprint(fresh.schema),
        builder.seeds,
        builder.migrate.image,
        timestamp(utc_now()),
        fresh.tables,
    )


def _find_builder(operation: Operation, options: ResetOptions, properties: _database.Properties) -> Builder:
    backend = operation.target.backend()
    fetch_image(operation, options.image)
    migrate = find_runner(operation.docker, backend, command_of(options.runner, "migrate"), options.image)
    seed = find_runner(operation.docker, backend, command_of(options.seed, "seed"), options.image) if options.seed else None
    sorting = collation_version(operation.maintenance, operation.database)
    return Builder(migrate, seed, fingerprint_of(migrate, seed, properties, (operation.target.container.image_id, sorting.actual)))


def _current_baseline(operation: Operation, options: ResetOptions, builder: Builder) -> Baseline | None:
    """The baseline, unless something of what made it has changed since."""
    baseline = read_baseline(operation.maintenance, operation.database)
    # PostgreSQL copies no template that was made by another version of the collation.
    aged = collation_version(operation.maintenance, baseline_name(operation.database)).differs
    return baseline if baseline and baseline.fingerprint == builder.fingerprint and not options.rebuild and not aged else None


def _build_in_sandbox(operation: Operation, options: ResetOptions, builder: Builder) -> Fresh:
    operation.enter("reset: sandbox")
    with open_sandbox(operation, LOG_OPTIONS) as sandbox:
        for purpose, runner in (("migrate", builder.migrate), ("seed", builder.seed)):
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
                operation.server,
            )
            _dump.dump(tools, operation.database, "", folder, options.jobs, "1")
        return Fresh(schema, tables, folder)


def _run(operation: Operation, sandbox: Sandbox, runner: Runner, purpose: str, timeout: float) -> None:
    with sandbox.session("postgres") as connection:
        mark_begin(connection)
        outcome = run_in_sandbox(
            operation.docker, runner, "dbops-%s-%s" % (operation.run_id, purpose), operation.labels, sandbox.network, timeout
        )
        mark_end(connection)
    trouble = failure_of(runner, outcome, timeout, "dbops_preview_reset_timeout")
    if trouble:
        raise DbopsError(
            "The fresh database could not be built: %s. It says: %s." % (trouble, last_lines(outcome) or "(nothing)"),
            output=outcome.output,
        )
    lost = [failed for failed in read_failures(read_between_marks(operation, sandbox)) if not failed.caught]
    if lost:
        operation.warnings.append(
            "'%s' went on although the server refused something of it in the sandbox: %s. Look whether the rest is what you want."
            % (runner.command, failures_text(lost))
        )


def _replace(operation: Operation, options: ResetOptions, new: Replacement) -> tuple[list[str], str]:
    """A copy of the baseline (made anew first, where there is a fresh one) becomes the live database.

    :returns: the backends that were not well before, and the name under which the replaced database is kept.
    """
    building = _swap.building_name(operation.database, operation.run_id)
    try:
        if new.fresh:
            _load(operation, options, new.fresh, building, new.properties)
            keep_baseline(operation.maintenance, operation.database, building, new.baseline)
        with ThreadPoolExecutor(1) as beside:  # both take their time, and neither needs the other
            asked = beside.submit(_health.sick, operation.docker, operation.target.backends)
            _copy(operation, new.baseline, building, new.properties)
            if new.kept_tables:
                operation.enter("reset: keep tables")
                carry_over(operation, new.kept_tables, building, options.jobs)
            sick_before = asked.result()
        operation.enter("reset: swap")
        kept = _swap.swap(
            operation.maintenance, operation.database, building, "reset", operation.run_id, timestamp(utc_now()), options.session_timeout
        )
    except BaseException:
        _swap.drop_building(operation.maintenance, building)
        raise
    return sick_before, kept


def _load(operation: Operation, options: ResetOptions, fresh: Fresh, building: str, properties: _database.Properties) -> None:
    """Load what the sandbox made into a new database of the real server, and compare."""
    operation.enter("reset: build")
    new = create_beside(operation, building, properties)
    loaded = load_all_that_goes(operation.tools(), fresh.folder, new, options.jobs)
    with operation.session(building) as connection:
        wrong = (
            list(loaded.failures)
            + differences(fresh.tables, count_rows(connection, new.search_path))
            + render(difference(fresh.schema, read_snapshot(connection)))
        )
        unanalyzed = analyze(connection, new.search_path)
    if unanalyzed:
        operation.warnings.append(warning(operation.database, unanalyzed))
    if wrong:
        raise DbopsError(
            "The fresh database is not what was built in the sandbox: %s." % "; ".join(wrong[:10]),
            differences=wrong,
        )


def _copy(operation: Operation, baseline: Baseline, copy: str, properties: _database.Properties) -> None:
    """What goes live: the baseline's contents, and what belongs to the database itself."""
    operation.enter("reset: copy")
    copy_baseline(operation.maintenance, operation.database, copy, properties)
    with operation.session(copy, read_only=True) as connection:
        wrong = differences(baseline.tables, count_rows(connection, search_path_of(properties)))
        wrong += [] if fingerprint(read_snapshot(connection)) == baseline.schema else ["its schema is another one"]
    if wrong:
        raise DbopsError(
            "The baseline '%s' was changed after it was made: %s. Add -e dbops_preview_reset_rebuild=true to make it anew."
            % (baseline_name(operation.database), "; ".join(wrong[:10])),
            differences=wrong,
        )
    _database.apply_properties(operation.maintenance, copy, properties)
    _database.set_own(operation.maintenance, copy, MARKER, operation.evidence.marker)
    _database.set_own(operation.maintenance, copy, SEEDS, baseline.seeds)


def _see_backends_well(operation: Operation, options: ResetOptions, kept: str, sick_before: list[str]) -> str:
    """Returns which backends are healthy, in the words for the user."""
    backends = operation.target.backends
    operation.warnings += ["Backend '%s' was not healthy before the reset either." % name for name in sick_before]
    with operation.after_swap(kept):
        operation.enter("reset: backend")
        recovery = _health.bring_back(operation.docker, backends, options.restart, options.health_timeout, sick_before)
        if recovery.unhealthy:
            raise DbopsError(
                "Database '%s' was reset, but not every backend is well after it: %s" % (operation.database, " ".join(recovery.unhealthy)),
                replaced=kept,
            )
    if not any(container.in_service for container in backends):
        return "no backend runs"
    healthy = ", ".join(recovery.healthy) or "none so far"
    return healthy + (" (restarted: %s)" % ", ".join(recovery.restarted) if recovery.restarted else "")


def _report(operation: Operation, after: t.Sequence[TableRows], how: str, facts: dict[str, t.Any], health: str) -> list[str]:
    lines = [
        "Reset database '%s': now %s, %s." % (operation.database, _extent(after), how),
        "What it was is kept as '%s'. To undo: %s" % (facts["replaced"], operation.restore_command("undo"))
        if facts["replaced"] not in facts["dropped"]
        else "What it was is not kept, as asked (dbops_preview_reset_keep).",
        "Healthy: %s." % health,
    ]
    return lines + ["Dropped the replaced database '%s'." % name for name in facts["dropped"]]


def _listed(tables: t.Sequence[TableRows]) -> str:
    return "".join("%s: %s\n" % (table.name, count_text(table.rows, "row")) for table in tables) or "(no tables)\n"


def _as_map(tables: t.Sequence[TableRows]) -> dict[str, int]:
    return {table.name: table.rows for table in tables}


def _extent(tables: t.Sequence[TableRows]) -> str:
    return "%s in %s" % (count_text(sum(table.rows for table in tables), "row"), count_text(len(tables), "table"))
