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
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Restic
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.operation._new_database import create_beside
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import facts_of, make_backup, require_space
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._comparison import (
    differs_from_backup,
    differs_from_file,
    differs_in_contents,
    differs_in_schema,
    refreshed_views,
    require_accepted,
    told,
    written_otherwise,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._loading import measured_loading
from ansible_collections.dbops.postgres.plugins.module_utils.operations._missing_roles import (
    create_roles,
    drop_roles,
    tell_left_out,
    without,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._put_in_place import put_in_place, stamp
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_options import RestoreOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_source import (
    Preparation,
    Source,
    announce,
    find_source,
    require_restorable,
    rows_lost,
    source_facts,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._undo import UNDO, undo
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import collation_version
from ansible_collections.dbops.postgres.plugins.module_utils.server._contents import Contents, read_contents
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import SEEDS
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import search_path_of
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows, count_rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._statistics import analyze, warning
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted, Refused
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


@dataclass(frozen=True)
class Built:
    """What was built beside the live database.

    :param accepted: the differences that were consented to.
    :param views: what was computed anew.
    :param compared: whether what was restored tells how many rows there have to be.
    """

    tables: tuple[TableRows, ...]
    accepted: tuple[str, ...]
    views: tuple[str, ...]
    compared: bool


def restore(operation: Operation, options: RestoreOptions, restic: Restic | None = None) -> Result:
    """The module's work.

    :param restic: where the backup comes from the offsite repository.
    """
    if options.backup == UNDO:
        return undo(operation, options)
    source = find_source(operation, options.backup, options.tools_image, restic)
    exists = _database.exists(operation.maintenance, operation.database)
    if exists:
        _swap.require_swappable(operation.maintenance, operation.database)
    operation.enter("restore: check")
    if source.backup:
        require_same_environment(operation, source.backup, options.from_other_environment)
    preparation = require_restorable(operation, source, options.missing_roles)
    source = replace(source, opened=preparation.opened)
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
        kept = put_in_place(operation, options, building, source.name, "restore")
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
        with measured_loading(operation.progress, source.backup.manifest, building, operation.maintenance_session):
            loaded = load_all_that_goes(tools, source.folder, new, options.jobs)
        failures += loaded.failures
        if loaded.first_try:
            operation.warnings.append(_second_way(new, loaded.first_try))
    elif file:
        tell_left_out(operation, load_file(tools, file, building, operation.work_folder("file"), preparation.changes))
    operation.enter("restore: compare")
    held = None
    if (
        source.backup and source.backup.manifest.contents
    ):  # by the same path as when it was made, since values such as regclass are written by it
        operation.progress.expect(len(source.backup.manifest.tables))
        search_path = search_path_of(source.backup.manifest.properties)
        held = read_contents(new.session, options.jobs, search_path, operation.progress.table_done)
    with operation.session(building) as connection:
        counted = held.tables if held else count_rows(connection, new.search_path)
        if source.backup:
            failures += differs_from_backup(source.backup, counted, connection)
            failures += _differs_by_what_it_says(operation, source.backup, held, connection)
        elif file:
            failures += differs_from_file(file, counted)
        require_accepted(operation, failures, source.name, options.accept_differences)
        views = refreshed_views(connection)
        unanalyzed = analyze(connection, new.search_path)
        if unanalyzed:
            operation.warnings.append(warning(operation.database, unanalyzed))
    _database.apply_properties(operation.maintenance, building, properties)
    seeds = source.backup.manifest.properties.own_setting(SEEDS) if source.backup else ""
    stamp(operation, building, seeds, keep_seeds=False)
    return Built(counted, tuple(failures), tuple(views), bool(source.backup or (file and file.rows)))


def _differs_by_what_it_says(operation: Operation, backup: Backup, held: Contents | None, connection: Connection) -> list[str]:
    """Like ``differs_in_contents``. Where the same may be said in other words or bytes, it is only a warning."""
    changes = differs_in_schema(backup, connection)
    if changes:
        operation.warnings.append("The restored schema is not exactly the one that was backed up: %s" % "; ".join(changes[:20]))
    wrong = differs_in_contents(backup, held, connection) if held else []
    doubt = written_otherwise(backup, connection) if wrong else ""
    if doubt:
        operation.warnings.append(
            "It cannot be told whether the restored values are those that were backed up: %s (%s)." % (doubt, told(wrong))
        )
        return []
    return wrong


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
        return ("count and contents of every table" if source.backup.manifest.contents else "every count") + " compared with the manifest"
    if built.compared:
        return "every count compared with the rows in the file"
    return "a file without a manifest: the counts could not be compared"
