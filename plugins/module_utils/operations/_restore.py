# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put a backup's contents in the place of a database: restore beside it, compare, swap by rename, prove the backend well, or swap back."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive._archive_file import as_text
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._load import NewDatabase, load_all_that_goes
from ansible_collections.dbops.postgres.plugins.module_utils.archive._load_file import load_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._plain_file import inspect_file
from ansible_collections.dbops.postgres.plugins.module_utils.backend import _health
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._new_database import create_beside
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import BackupOptions, facts_of, make_backup, require_space
from ansible_collections.dbops.postgres.plugins.module_utils.operations._comparison import (
    differs_from_backup,
    differs_from_file,
    refreshed_views,
    require_accepted,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._missing_roles import (
    create_roles,
    drop_roles,
    tell_left_out,
    without,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_source import (
    Preparation,
    Source,
    announce,
    find_source,
    require_restorable,
    rows_lost,
    source_facts,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import collation_version
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import MARKER, SEEDS
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, count_rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._statistics import analyze, warning
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted, Refused
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

UNDO = "undo"

#: How a restored copy is called that did not get the backend well; undo must not bring it back.
REJECTED = "rejected"


@dataclass(frozen=True)
class RestoreOptions:
    """``backup``: ``latest``, an id, a UTC time, ``undo``, or an absolute path. Times in seconds.

    ``keep``: how many replaced databases are kept, all where that is negative.
    """

    backup: str
    backup_first: bool = True
    jobs: int = 2
    restart: str = "auto"
    health_timeout: float = 60
    session_timeout: float = 10
    keep: int = -1
    from_other_environment: bool = False
    accept_differences: str = ""
    missing_roles: str = "refuse"
    tools_image: str = ""


@dataclass(frozen=True)
class Built:
    """What was built beside the live database. ``accepted``: the differences that were consented to; ``views``: what was computed anew."""

    tables: tuple[TableRows, ...]
    accepted: tuple[str, ...]
    views: tuple[str, ...]


def restore(operation: Operation, options: RestoreOptions) -> Result:
    """The module's work."""
    if options.backup == UNDO:
        return undo(operation, options)
    source = find_source(operation, options.backup, options.tools_image)
    exists = _database.exists(operation.maintenance, operation.database)
    if exists:
        _swap.require_swappable(operation.maintenance, operation.database)
    operation.enter("restore: check")
    if source.backup:
        require_same_environment(operation, source.backup, options.from_other_environment)
    preparation = require_restorable(operation, source, options.missing_roles)
    if source.made > operation.started_at:
        operation.warnings.append(
            "'%s' was made in the future (%s): is the clock of this host right?" % (source.name, timestamp(source.made))
        )
    sorted_by = collation_version(operation.maintenance, operation.database)
    saves = exists and options.backup_first
    if saves:
        require_space(operation)
    lost = rows_lost(operation, source) if exists else {}
    facts: dict[str, t.Any] = {"source": source_facts(operation, source), "rows_lost": lost, "replaced": None, "backup_before": None}
    diff = _diff(operation, source, lost)
    if operation.check_mode:
        return Result(True, announce(operation, source, lost), facts, diff)
    building = _swap.building_name(operation.database, operation.run_id)
    try:
        create_roles(operation, preparation.create)
        built = _build(operation, source, preparation, options, building)
        kept = _put_in_place(operation, options, building, source.name, "restore")
    except BaseException:
        _swap.drop_building(operation.maintenance, building)
        drop_roles(operation, preparation.create)
        raise
    facts.update(replaced=kept, tables=[asdict(table) for table in built.tables], accepted_differences=list(built.accepted))
    saved = _save_replaced(operation, options, kept) if saves and kept else None
    facts["backup_before"] = facts_of(saved) if saved else None
    dropped = _swap.drop_kept(operation.maintenance, operation.database, options.keep) if saved or not saves else []
    summary = _report(operation, source, built, kept, facts, dropped)
    if sorted_by.differs:
        summary.append(
            "The database was made with version %s of its collation, the image has %s: the restored one was built with the present version,"
            " so its indexes are right." % (sorted_by.recorded, sorted_by.actual)
        )
    return Result(
        True,
        summary,
        facts,
        diff,
        {"source": source.name, "replaced": kept, "rows_lost": lost, "accepted_differences": list(built.accepted)},
    )


def _save_replaced(operation: Operation, options: RestoreOptions, kept: str) -> Backup | None:
    """Back up what was replaced, from the database that is kept: nobody writes there any more, and nobody waits for it.

    The restore stands, also where this fails: the kept database itself is still there then, and nothing is dropped.
    """
    try:
        with _swap.opened(operation.maintenance, kept):
            return make_backup(operation, BackupOptions(BEFORE_RESTORE, options.jobs, of=kept))
    except Interrupted:
        with operation.after_swap(kept):
            raise
    except DbopsError as error:
        operation.warnings.append(
            "The restore is done, but the backup of what it replaced failed: %s Nothing of it is lost: it is kept as '%s'; do not drop that"
            " before you have saved it. To go back to it: %s" % (error.message, kept, operation.restore_command("undo"))
        )
        return None


def require_same_environment(operation: Operation, backup: Backup, wanted: bool) -> None:
    """A preview's rows do not become production's by a wrong path. Elsewhere another database's backup is a warning."""
    made, asked = backup.manifest, operation.request
    if (made.database, made.environment) == (operation.database, asked.environment):
        return
    what = (made.id, made.database, made.environment, made.host, operation.database)
    if asked.environment == _guard.PRODUCTION and made.environment != _guard.PRODUCTION and not wanted:
        raise Refused(
            "Refused: backup '%s' is of database '%s' (%s, host '%s'), and '%s' is production. Nothing was touched. If that is what you want,"
            " add: -e dbops_restore_from_other_environment=true" % what
        )
    operation.warnings.append("Backup '%s' is of database '%s' (%s, host '%s'), not of '%s'." % what)


def undo(operation: Operation, options: RestoreOptions) -> Result:
    """Put the database back that the last restore or reset replaced."""
    _database.require(operation.maintenance, operation.database)
    kept = [item for item in _swap.kept_databases(operation.maintenance, operation.database) if item.by != REJECTED]
    if not kept:
        raise DbopsError("There is nothing to undo: no replaced database of '%s' is kept on this server." % operation.database)
    previous = kept[0]
    diff = {"before": "%s is as it is now\n" % operation.database, "after": "%s is what '%s' holds\n" % (operation.database, previous.name)}
    facts: dict[str, t.Any] = {
        "source": {"name": previous.name, "kind": "replaced database", "made": previous.at},
        "rows_lost": {},
        "replaced": None,
        "backup_before": None,
    }
    if operation.check_mode:
        return Result(
            True,
            ["Would put '%s' (replaced by %s at %s) back as '%s'." % (previous.name, previous.by, previous.at, operation.database)],
            facts,
            diff,
        )
    _swap.require_swappable(operation.maintenance, operation.database)
    sorted_by = collation_version(operation.maintenance, previous.name)
    if sorted_by.differs:
        operation.warnings.append(
            "'%s' was made with version %s of its collation, the image has %s: its indexes on text may be in the wrong order. Run diagnose.yml"
            " for the lines that put that right." % (previous.name, sorted_by.recorded, sorted_by.actual)
        )
    _stamp(operation, previous.name, "", keep_seeds=True)
    facts["replaced"] = _put_in_place(operation, options, previous.name, previous.name, "undo")
    summary = [
        "Database '%s' is again what it was before the %s of %s." % (operation.database, previous.by, previous.at),
        "What it was until now is kept as '%s' (to go back to that: the same command once more)." % facts["replaced"],
    ]
    return Result(True, summary, facts, diff, {"source": previous.name, "replaced": facts["replaced"]})


def _build(operation: Operation, source: Source, preparation: Preparation, options: RestoreOptions, building: str) -> Built:
    """Restore into a new database and compare."""
    operation.enter("restore: create")
    properties = without(_properties(operation, source), preparation.changes.roles, operation.target.address.user)
    new = create_beside(operation, building, properties)
    operation.enter("restore: load")
    tools = operation.tools()
    failures: list[str] = []
    file = source.file
    if preparation.as_text:
        file = inspect_file(as_text(tools, source.archive, operation.work_folder("file"), "archive.sql", source.tools_image))
    if source.backup and not preparation.as_text:
        loaded = load_all_that_goes(tools, source.backup.path, new, options.jobs)
        failures += loaded.failures
        if loaded.first_try:
            operation.warnings.append(_second_way(new, loaded.first_try))
    elif file:
        tell_left_out(operation, load_file(tools, file, building, operation.work_folder("file"), preparation.changes))
    operation.enter("restore: compare")
    with operation.session(building) as connection:
        counted = count_rows(connection, new.search_path)
        if source.backup:
            failures += differs_from_backup(operation, source.backup, counted, connection)
        elif file:
            failures += differs_from_file(file, counted)
        require_accepted(operation, failures, source.name, options.accept_differences)
        views = refreshed_views(connection)
        unanalyzed = analyze(connection, new.search_path)
        if unanalyzed:
            operation.warnings.append(warning(operation.database, unanalyzed))
    _database.apply_properties(operation.maintenance, building, properties)
    seeds = source.backup.manifest.properties.own_setting(SEEDS) if source.backup else ""
    _stamp(operation, building, seeds, keep_seeds=False)
    return Built(counted, tuple(failures), tuple(views))


def _second_way(new: NewDatabase, first_try: str) -> str:
    return (
        "This backup cannot be restored by pg_restore alone: %s It was restored with the search_path of the database (%s) in force for its"
        " functions. For the next backup, give those that name no schema a search_path of their own: ALTER FUNCTION ... SET search_path = ..."
        % (first_try, new.search_path)
    )


def _properties(operation: Operation, source: Source) -> _database.Properties:
    """What belongs to the database itself: the live one's where there is one, else the manifest's."""
    if _database.exists(operation.maintenance, operation.database):
        return _database.read_properties(operation.maintenance, operation.database)
    if source.backup:
        return source.backup.manifest.properties
    template = _database.read_properties(operation.maintenance, operation.request.target.maintenance_database)
    return replace(template, owner=operation.target.address.user, grants=None, settings=(), comment="", connection_limit=-1)


def _stamp(operation: Operation, database: str, seeds: str, keep_seeds: bool) -> None:
    """The marker of the database that is replaced, or production's; the seeds are those that the contents have had."""
    marker = operation.evidence.marker or (_guard.PRODUCTION if operation.request.environment == _guard.PRODUCTION else "")
    _database.set_own(operation.maintenance, database, MARKER, marker)
    if not keep_seeds:
        _database.set_own(operation.maintenance, database, SEEDS, seeds)


def _put_in_place(operation: Operation, options: RestoreOptions, replacement: str, name: str, by: str) -> str:
    """Swap, see the backends well, or swap back; returns under which name the old database is kept."""
    operation.enter("restore: swap")
    sick_before = _health.sick(operation.docker, operation.target.backends)
    kept = swap_in(operation, replacement, by, options.session_timeout)
    operation.warnings += ["Backend '%s' was not healthy before either: look at it." % container for container in sick_before]
    with operation.after_swap(kept):
        operation.enter("restore: backend")
        recovery = _health.bring_back(operation.docker, operation.target.backends, options.restart, options.health_timeout, sick_before)
        operation.warnings += ["Backend '%s' was restarted." % container for container in recovery.restarted]
    if not recovery.unhealthy:
        return kept
    if not kept:
        raise DbopsError(
            "'%s' was restored as '%s', but the backend is not well: %s" % (name, operation.database, " ".join(recovery.unhealthy))
        )
    with operation.after_swap(kept):
        rejected = swap_in(operation, kept, REJECTED, options.session_timeout)
    still = _health.bring_back(operation.docker, operation.target.backends, options.restart, options.health_timeout).unhealthy
    raise DbopsError(
        "The backend did not get well with '%s', so the database was swapped back and is what it was before. %s The rejected copy is kept as '%s'. %s"
        % (
            name,
            " ".join(recovery.unhealthy),
            rejected,
            "With the old database it is not well either: %s" % " ".join(still) if still else "With the old database it is well again.",
        ),
        rejected=rejected,
    )


def swap_in(operation: Operation, replacement: str, by: str, session_timeout: float) -> str:
    """The swap itself; returns the old database's new name."""
    return _swap.swap(operation.maintenance, operation.database, replacement, by, operation.run_id, timestamp(utc_now()), session_timeout)


def _diff(operation: Operation, source: Source, lost: dict[str, int]) -> dict[str, str]:
    before = ["%s as it is now" % operation.database] + [
        "%s: %s newer than the backup" % (table, count_text(number, "row")) for table, number in sorted(lost.items())
    ]
    after = ["%s as it was at %s (%s)" % (operation.database, timestamp(source.made), source.name)]
    return {"before": "\n".join(before) + "\n", "after": "\n".join(after) + "\n"}


def _report(operation: Operation, source: Source, built: Built, kept: str, facts: dict[str, t.Any], dropped: list[str]) -> list[str]:
    lines = [
        "Database '%s' is now as it was at %s: '%s', %s in %s, %s."
        % (
            operation.database,
            timestamp(source.made),
            source.name,
            count_text(sum(table.rows for table in built.tables), "row"),
            count_text(len(built.tables), "table"),
            _proof(source, built),
        )
    ]
    if built.views:
        lines.append(
            "Materialized views were computed anew from the restored tables, so they may be newer than at that time: %s."
            % ", ".join(built.views)
        )
    if kept and kept not in dropped:
        lines.append("What it was is kept as '%s'. To undo: %s" % (kept, operation.restore_command("undo")))
    if facts["backup_before"]:
        lines.append("Backup of what it was: '%s'." % facts["backup_before"]["id"])
    others = [item for item in _swap.kept_databases(operation.maintenance, operation.database) if item.name != kept]
    if others:
        lines.append(
            "Older replaced databases take room: %s." % ", ".join("'%s' (%s)" % (item.name, size_text(item.size)) for item in others)
        )
    return lines + ["Dropped the replaced database '%s'." % name for name in dropped]


def _proof(source: Source, built: Built) -> str:
    if built.accepted:
        return "with the differences that were consented to"
    if source.backup:
        return "every count compared with the manifest"
    if source.file and source.file.rows:
        return "every count compared with the rows in the file"
    return "a file without a manifest: the counts could not be compared"
