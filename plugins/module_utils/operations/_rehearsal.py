# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real migration on the real rows, but not on the real server: a backup is restored aside, and what the migration does there is measured."""

from __future__ import annotations

import functools
import re
import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import PROVED, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    STATE_TABLES,
    Runner,
    command_of,
    failure_of,
    find_runner,
)
from ansible_collections.dbops.postgres.plugins.module_utils.backend._smoke import Smoke
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._encrypted import require_key
from ansible_collections.dbops.postgres.plugins.module_utils.operations._image import fetch_image
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import (
    LIMIT,
    Planned,
    as_shown,
    extent,
    first_look,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._rehearsal_options import NEWEST_PROVED, RehearsalOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._throwaway_restore import TAKEN, Restored, measured, open_restored
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal import _record
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._masking import without_rows
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import (
    LockTime,
    Rehearsal,
    Timed,
    digest,
    longest,
)
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._samples import INTERVAL, Samples, sampled
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import FAILS, UNKNOWN, WORKS, Version, try_version
from ansible_collections.dbops.postgres.plugins.module_utils.risk import _told
from ansible_collections.dbops.postgres.plugins.module_utils.risk._accepted import parse_acceptances
from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment, assess
from ansible_collections.dbops.postgres.plugins.module_utils.risk._measured import Measured
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _proof_server
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, plan_in
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, read_snapshot, shape
from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import LOG_OPTIONS, without_literals
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text, size_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, timestamp, utc_now

#: What decides how long statements take, taken over from the real server.
_ITS_SETTINGS = (
    *("work_mem", "maintenance_work_mem", "max_parallel_maintenance_workers", "max_parallel_workers", "max_worker_processes"),
    *("shared_buffers", "effective_cache_size", "hash_mem_multiplier"),
    *("max_wal_size", "checkpoint_timeout", "wal_compression", "random_page_cost", "effective_io_concurrency"),
)

#: Which part of a container's memory one of these may be, and its unit in bytes.
_PARTS = {"maintenance_work_mem": (4, 1024), "work_mem": (16, 1024), "shared_buffers": (4, 8192)}

#: How long each statement took, and what is at work, in full.
_TOLD_IN_FULL = ("log_duration=on", "track_activity_query_size=1048576")

#: What a server says that gave up, and not the migration.
_GAVE_UP = re.compile(r"was terminated by signal|PANIC:|No space left on device|out of memory")


@dataclass(frozen=True)
class _Tried:
    """What was seen: the plan as it came to be on the restored rows, without their values, and digests of its statements as they were; the
    samples, the versions, seconds of each part."""

    plan: Plan
    digests: tuple[str, ...]
    samples: Samples
    versions: tuple[Version, ...]
    parts: dict[str, float]


def rehearse(operation: Operation, options: RehearsalOptions) -> Result:
    """The module's work.

    :raises DbopsError: where the migration fails on those rows, or passes a limit; what was seen is in its details.
    """
    accepted = parse_acceptances(options.planning.accepted)
    _database.require(operation.maintenance, operation.database)
    argv = command_of(options.planning.runner, "migrate")
    backend = operation.target.backend()
    fetch_image(operation, options.planning.image)
    runner = find_runner(operation.docker, backend, argv, options.planning.image)
    backup = _choose(operation, options.backup)
    server = _server(operation, backup, options)
    require_key(operation, backup)
    if operation.check_mode:
        return Result(False, [_announcement(backup, runner, server)], _no_facts())
    first = first_look(operation)
    operation.enter("rehearse: checksums")
    verify_files(backup)
    tried = _try(operation, backup, runner, server, options)
    trouble = failure_of(runner, tried.plan.outcome, options.planning.timeout, LIMIT)
    if trouble:
        raise _failed(operation, backup, runner, tried, trouble)
    operation.enter("rehearse: judge")
    with operation.session(read_only=True) as connection:
        assessment = assess(connection, tried.plan, first, accepted, seconds=0, measured=_measured(backup, tried))
        live = shape(read_snapshot(connection))
    exceeded = (*_lost(tried.plan), *_exceeded(tried, assessment, options))
    record = _recorded(operation, backup, runner, tried, exceeded)
    if not tried.plan.empty or exceeded:  # else it would replace that of a migration
        _write(operation, record)
    planned = Planned(tried.plan, runner, assessment)
    told = _told_of(planned, record, backup)
    if shape(tried.plan.before) != live:
        operation.warnings.append(
            "Backup '%s' has another schema than database '%s' has now, so what was rehearsed is not what would be done: back it up anew, then"
            " rehearse." % (backup.manifest.id, operation.database)
        )
    facts = _all_facts(planned, record, tried)
    journal = dict(planned.journal(), rehearsed=record.state, backup=backup.manifest.id, runner_seconds=record.seconds)
    if record.state == _record.FAILED:
        raise DbopsError("\n".join(["The rehearsal was not passed: %s" % " ".join(exceeded), *told]), **facts)
    return Result(False, told, facts, journal=journal)


def _choose(operation: Operation, wanted: str) -> Backup:
    """:raises DbopsError: where there is none, saying how to come by one."""
    backups, _unreadable = operation.archive.catalogue(operation.database)
    if wanted != NEWEST_PROVED:
        named = [backup for backup in backups if backup.name == wanted]
        if not named:
            listed = ", ".join(backup.manifest.id for backup in backups[:5]) or "none"
            raise DbopsError("There is no backup '%s' (dbops_rehearse_backup: proved, or an id). The newest: %s." % (wanted, listed))
        return named[0]
    own = [backup for backup in backups if backup.manifest.server_identifier == operation.server.identifier]
    for backup in own:
        if read_proof(backup).state == PROVED and backup.manifest.reason != BEFORE_RESTORE:
            return backup
    host = operation.evidence.host
    raise DbopsError(
        "There is no backup of database '%s' to rehearse on that was restored and compared. %s"
        % (
            operation.database,
            "Prove the newest: ansible-playbook verify_backups.yml -l %s, or name one: -e dbops_rehearse_backup=%s" % (host, own[0].name)
            if own
            else "Make one: ansible-playbook backup.yml -l %s, then verify_backups.yml -l %s" % (host, host),
        )
    )


def _server(operation: Operation, backup: Backup, options: RehearsalOptions) -> _proof_server.Plan:
    """A server that answers to the real one's names, writes as it does, and tells what is executed and for how long."""
    if backup.manifest.database in TAKEN:
        raise DbopsError("Database '%s' is one that every server has: it cannot be restored beside itself." % backup.manifest.database)
    plan = _proof_server.plan_server(operation, backup.manifest, options.limits)
    found = rows(operation.maintenance, "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(_ITS_SETTINGS),))
    settings = (*plan.machine.options, *_within(plan.machine.memory, found), *LOG_OPTIONS, *_TOLD_IN_FULL)
    shared = "%dk" % (plan.machine.memory // 1024 // 2)
    machine = replace(plan.machine, aliases=operation.target.container.hostnames, options=settings, durable=True, shared_memory=shared)
    return replace(plan, machine=machine)


def _within(memory: int, settings: t.Sequence[tuple[str, str]]) -> t.Iterator[str]:
    """The real server's settings, no larger than a container of ``memory`` bytes can have."""
    for name, text in settings:
        part, unit = _PARTS.get(name, (1, memory or 1))
        most = memory // part // unit if name in _PARTS else 0
        yield "%s=%s" % (name, min(int(text), most) if most else text)


def _announcement(backup: Backup, runner: Runner, server: _proof_server.Plan) -> str:
    return "Would restore backup '%s' (%s of database) into a throwaway server of '%s', %s, and run '%s' of image '%s' there." % (
        backup.manifest.id,
        size_text(backup.manifest.database_size),
        server.image,
        "in memory" if server.machine.in_memory else "on the engine's disk",
        runner.command,
        runner.image,
    )


def _no_facts() -> dict[str, t.Any]:
    return {"plan": {}, "runner": {}, "risk": {}, "rehearsal": {}}


# --- in the throwaway server ----------------------------------------------------------------------------------------------


def _try(operation: Operation, backup: Backup, runner: Runner, server: _proof_server.Plan, options: RehearsalOptions) -> _Tried:
    parts: dict[str, float] = {}
    samples = Samples()
    digests: tuple[str, ...] = ()
    with open_restored(operation, backup, server, options.jobs, "rehearse", parts, as_when_used=True) as restored:
        if restored.failures:
            raise DbopsError(
                "Backup '%s' did not come back as it was made, so nothing was rehearsed on it: %s"
                % (backup.manifest.id, restored.failures[0])
            )
        operation.enter("rehearse: running version")
        running = _running(operation, runner)
        with measured(parts, "versions"):
            without = [try_version(operation, restored.sandbox, version, "running", options.smoke) for version in running]
        try:
            plan = _migrate(operation, restored, runner, options, samples)
        except ServerError as error:
            _require_server(operation, restored, samples)
            raise error from None
        if plan.outcome.rc:
            _require_server(operation, restored, samples)
        if plan.change and not plan.statements:
            raise DbopsError(
                "What the migration did could not be read in the throwaway server's log, so nothing is known of it: run this again."
            )
        digests = tuple(digest(operation.run_id, statement) for statement in plan.statements)
        versions: tuple[Version, ...] = ()
        if plan.outcome.rc == 0:
            operation.enter("rehearse: versions")
            with measured(parts, "versions_after"):
                versions = _versions(operation, restored, running, runner, without, options.smoke)
    return _Tried(without_rows(plan), digests, samples, versions, parts)


def _running(operation: Operation, runner: Runner) -> list[Runner]:
    """The versions that run now, whichever is to come; the first is that of the runner's container."""
    serving = [container for container in operation.target.backends if container.in_service and container.id != runner.container.id]
    found = {container.image_id: container for container in (*serving, runner.container)}
    own = found.pop(runner.container.image_id)
    return [find_runner(operation.docker, container, runner.argv, "") for container in (own, *found.values())]


def _migrate(operation: Operation, restored: Restored, runner: Runner, options: RehearsalOptions, samples: Samples) -> Plan:
    names = (*STATE_TABLES, *options.planning.state_tables)
    with restored.new.session() as connection:
        before = read_snapshot(connection)
    restored.sandbox.write_durably()
    container = "dbops-%s-rehearse" % operation.run_id
    folder = operation.docker.root()
    watch = functools.partial(
        sampled,
        restored.sandbox,
        samples,
        lambda: None if restored.in_memory else _proof_server.free_space(folder),
        lambda: operation.docker.remove("container", container),
    )
    plan = plan_in(operation, restored.sandbox, before, runner, names, options.planning.timeout, phase="rehearse", watch=watch)
    return as_shown(operation, plan)


def _require_server(operation: Operation, restored: Restored, samples: Samples) -> None:
    """:raises EngineError: where it was the throwaway server that gave up, or the disk, which says nothing about the migration."""
    if samples.stopped:
        raise EngineError(
            "The rehearsal was ended, which says nothing about the migration: %s. Free some there, or let it be restored in memory: -e"
            " dbops_rehearse_place=memory" % samples.stopped
        )
    log = operation.docker.logs(restored.sandbox.container.id)
    said = next((line for line in log.splitlines() if _GAVE_UP.search(line) and "|LOG:  statement" not in line), "")
    if said:
        raise EngineError(
            "The throwaway server gave up, which says nothing about the migration: %s. Give it more room: -e dbops_rehearse_memory=8g, or -e"
            " dbops_rehearse_place=disk" % said.rpartition("|")[2].strip().rstrip(".")
        )


def _versions(
    operation: Operation,
    restored: Restored,
    running: t.Sequence[Runner],
    runner: Runner,
    without: t.Sequence[Version],
    smoke: Smoke,
) -> tuple[Version, ...]:
    """The versions that run now with the schema that comes, and the version that comes. One that does not get well with the schema of now
    either lacks something else in there, so nothing is known of it."""
    found = []
    for version, before in zip(running, without):
        found.append(_judged(try_version(operation, restored.sandbox, version, "running", smoke), before))
    if runner.image_id not in {version.image_id for version in running}:
        found.append(_judged(try_version(operation, restored.sandbox, runner, "new", smoke), without[0]))
    return tuple(found)


def _judged(tried: Version, before: Version) -> Version:
    if tried.state != FAILS or before.state != FAILS:
        return tried
    why = "A version that runs now does not get well there before the migration either, where nothing but its database can be reached: %s"
    return replace(tried, state=UNKNOWN, evidence=why % before.evidence)


# --- what it means --------------------------------------------------------------------------------------------------------


def _measured(backup: Backup, tried: _Tried) -> Measured:
    return Measured(backup.manifest.id, tuple(statement.seconds for statement in tried.plan.statements), _longest(tried, Assessment()))


def _lock_times(tried: _Tried) -> tuple[LockTime, ...]:
    """Of tables that were there before: nobody waits for what the migration itself makes."""
    known = tried.plan.objects[0].relations
    spans = [span for span in tried.samples.locks if span.table in known]
    return tuple(LockTime(known[span.table].name, span.what, round(span.begun, 2), round(span.ended, 2)) for span in spans)


def _lost(plan: Plan) -> tuple[str, ...]:
    """A runner that goes on where a row was refused has not migrated that row, here or there."""
    return ("The server refused %s, and the runner went on as if nothing had been." % plan.swallowed.rstrip("."),) if plan.swallowed else ()


def _exceeded(tried: _Tried, assessment: Assessment, options: RehearsalOptions) -> tuple[str, ...]:
    found = []
    if options.max_seconds and tried.samples.seconds > options.max_seconds:
        found.append(
            "It took %s, %s are allowed (dbops_rehearse_max_seconds)."
            % (duration_text(tried.samples.seconds), duration_text(options.max_seconds))
        )
    if options.max_lock_seconds and tried.samples.trouble:
        found.append(
            "Its locks could not be seen to the end (%s), so nothing is known of dbops_rehearse_max_lock_seconds." % tried.samples.trouble
        )
    if options.max_lock_seconds:
        found += [
            "Table %s was locked for %s, %s are allowed (dbops_rehearse_max_lock_seconds)."
            % (table, duration_text(seconds), duration_text(options.max_lock_seconds))
            for table, seconds in _longest(tried, assessment).items()
            if seconds > options.max_lock_seconds
        ]
    if options.max_wal and tried.samples.wal > options.max_wal:
        found.append(
            "It wrote %s into the server's log, %s are allowed (dbops_rehearse_max_wal)."
            % (size_text(tried.samples.wal), size_text(options.max_wal))
        )
    return tuple(found)


def _longest(tried: _Tried, assessment: Assessment) -> dict[str, float]:
    """By table: what was seen, and what the statements under a lock took; no event trigger sees a ``LOCK TABLE``, and no look what is short."""
    seen = [(lock.table, lock.seconds) for lock in _lock_times(tried)]
    return longest([*seen, *((lock.table, lock.seconds) for lock in assessment.locks)])


def _failed(operation: Operation, backup: Backup, runner: Runner, tried: _Tried, trouble: str) -> DbopsError:
    """The very reason why it was rehearsed. It is written down too, so that no gate takes an older one for it."""
    record = _recorded(operation, backup, runner, tried, (trouble + ".",))
    _write(operation, record)
    refused = tried.plan.swallowed
    return DbopsError(
        "The migration fails on the rows of backup '%s': %s. The server refused %s. The database itself was not touched. What only some rows"
        " have stops it there as it would here: mend them or the migration, then rehearse again. What the runner said is not shown, since it may"
        " hold values of rows." % (backup.manifest.id, trouble, refused.rstrip(".") or "nothing"),
        **_all_facts(Planned(tried.plan, runner, Assessment()), record, tried),
    )


def _write(operation: Operation, record: Rehearsal) -> None:
    _record.write_rehearsal(operation.archive.folder, record, operation.work_folder("rehearsal"))


def _recorded(operation: Operation, backup: Backup, runner: Runner, tried: _Tried, exceeded: tuple[str, ...]) -> Rehearsal:
    plan, samples = tried.plan, tried.samples
    before, after = plan.objects
    return Rehearsal(
        state=_record.FAILED if exceeded else _record.PASSED,
        at=timestamp(utc_now()),
        run_id=operation.run_id,
        backup=backup.manifest.id,
        backup_created=backup.manifest.created,
        proved=read_proof(backup).state == PROVED,
        server_identifier=backup.manifest.server_identifier,
        database=operation.database,
        plan_fingerprint=plan.fingerprint,
        shape_before=fingerprint(shape(plan.before)),
        shape_after=fingerprint(shape(plan.after)),
        image=runner.image,
        image_id=plan.runner[0],
        runner=plan.runner[1:],
        seconds=round(samples.seconds, 3),
        statements=tuple(Timed(item.sql, item.seconds, digested) for item, digested in zip(plan.statements, tried.digests)),
        locks=_lock_times(tried),
        rewritten=tuple(sorted(_rewritten(before, after))),
        versions=tried.versions,
        exceeded=exceeded,
        wal=samples.wal,
        temporary=samples.temporary,
        size_before=samples.size_before,
        size_after=samples.size_after,
        not_seen=samples.trouble,
        parts=tried.parts,
    )


def _rewritten(before: t.Any, after: t.Any) -> t.Iterator[str]:
    for oid, relation in before.relations.items():
        now = after.relations.get(oid)
        if now and relation.kind in "rm" and relation.file != now.file:
            yield relation.name


def _all_facts(planned: Planned, record: Rehearsal, tried: _Tried) -> dict[str, t.Any]:
    """Those of a plan, without the gates of a migration, which this is none."""
    facts = planned.facts()
    del facts["gates"]
    return dict(facts, rehearsal=_facts(record, tried))


def _facts(record: Rehearsal, tried: _Tried) -> dict[str, t.Any]:
    """Seconds, bytes; the timeline's moments are seconds since the runner began."""
    facts = asdict(record)
    for name in ("format", "statements", "runner", "database", "run_id"):
        del facts[name]
    facts["locks"] = [dict(asdict(lock), seconds=round(lock.seconds, 2)) for lock in record.locks]
    facts["rewritten"], facts["exceeded"] = list(record.rewritten), list(record.exceeded)
    facts["versions"] = [asdict(version) for version in record.versions]
    facts["statements"] = _statement_spans(tried)
    return facts


def _statement_spans(tried: _Tried) -> list[dict[str, t.Any]]:
    """Which statement was seen at work from when to when, by its number in the plan."""
    numbers: dict[str, int] = {}
    for number, statement in enumerate(tried.plan.statements, 1):
        numbers.setdefault(without_literals(statement.sql.strip()), number)
    spans: list[tuple[int, Span]] = [(numbers.get(without_literals(span.what), 0), span) for span in tried.samples.statements]
    return [{"number": number, "begun": round(span.begun, 2), "ended": round(span.ended, 2)} for number, span in spans if number]


def _told_of(planned: Planned, record: Rehearsal, backup: Backup) -> list[str]:
    age = duration_text((utc_now() - moment(backup.manifest.created)).total_seconds())
    if planned.plan.empty:
        return [
            "Nothing to migrate: what backup '%s' holds, made %s ago, has the schema that image '%s' wants."
            % (record.backup, age, record.image)
        ]
    return [
        "Rehearsed on backup '%s', made %s ago: '%s' of image '%s' took %s there: %s."
        % (record.backup, age, planned.runner.command, record.image, duration_text(record.seconds), extent(planned.plan)),
        "It wrote %s into the server's log, %s of temporary files; the database went from %s to %s.%s"
        % (
            size_text(record.wal),
            size_text(record.temporary),
            size_text(record.size_before),
            size_text(record.size_after),
            " Written anew: %s." % ", ".join(record.rewritten[:10]) if record.rewritten else "",
        ),
        *_slowest(planned.plan),
        *(_version_told(version) for version in record.versions),
        *_told.lines(planned.assessment),
        *(["From some moment on nothing more was seen of its locks: %s." % record.not_seen] if record.not_seen else []),
        "Measured on this host, beside the real server, with nobody else at work in the copy.",
    ]


def _slowest(plan: Plan) -> list[str]:
    timed = [(statement.seconds, number, statement.sql) for number, statement in enumerate(plan.statements, 1) if statement.seconds]
    seconds, number, text = max(timed, default=(0.0, 0, ""))
    if seconds < INTERVAL:
        return []
    return ["The slowest statement is number %d, %s: %s" % (number, duration_text(seconds), " ".join(text.split())[:150])]


def _version_told(version: Version) -> str:
    who = "The version that runs now" if version.version == "running" else "The new version"
    state = {WORKS: "works with the new schema", FAILS: "does NOT work with the new schema"}
    return "%s ('%s') %s: %s" % (
        who,
        version.image,
        state.get(version.state, "may or may not work with the new schema, that is not known"),
        version.evidence,
    )
