# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a database: everything that can be read, as far as it can be reached, and a verdict. Reads only."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import asdict, dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup, verify_shape
from ansible_collections.dbops.postgres.plugins.module_utils.archive._offsite_copy import read_offsite_copy
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, INVALID, PROVED, Proof, read_proof
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.looks import _survey
from ansible_collections.dbops.postgres.plugins.module_utils.looks._judgement import judge, worst
from ansible_collections.dbops.postgres.plugins.module_utils.looks._observed import Backend, Backups, Limits, Observed, Pending, Place
from ansible_collections.dbops.postgres.plugins.module_utils.operation._begin import begin
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry, Request
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import not_restorable
from ansible_collections.dbops.postgres.plugins.module_utils.operations._restore_source import data_volume
from ansible_collections.dbops.postgres.plugins.module_utils.preview import _baseline
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database, _swap, _vitals
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, timestamp, utc_now

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection


#: The growth is that of the last days, if there are backups of at least one day.
_GROWTH_DAYS, _LEAST_GROWTH_DAYS = 30, 1

#: A message in the journal may be long; whoever looks needs its beginning.
_MESSAGE_LENGTH = 300

#: So many backups tell how size and duration go.
_LAST_BACKUPS = 30

History = t.List[t.Dict[str, t.Any]]


@dataclass(frozen=True)
class StatusOptions:
    """``plan``: ``auto`` (in the sandbox unless the journal shows that nothing is pending), ``always`` or ``never``."""

    runner: tuple[str, ...]
    state_tables: tuple[str, ...] = ()
    plan: str = "auto"
    limits: Limits = field(default_factory=Limits)
    plan_timeout: float = 45
    retention: t.Mapping[str, t.Any] | None = None


def look(inquiry: Inquiry, options: StatusOptions) -> Result:
    """Never fails for what is the matter with the database: that is the answer."""
    request = inquiry.request
    seen = Observed(_place(request))
    history, seen = _read_journal(request, seen)
    try:
        with begin(request, inquiry.redactor, inquiry.run_id) as operation:
            seen = _ask(operation, seen, history, options)
    except Interrupted:
        raise
    except DbopsError as error:
        seen = _not_read(seen, "server", error)
    seen = _part(seen, "backups", lambda: {"backups": _read_backups(request, seen, options, utc_now())})
    return _answer(seen, options.limits)


def _answer(seen: Observed, limits: Limits) -> Result:
    findings = judge(seen, limits)
    light = worst(findings)
    facts = {
        "light": light.word,
        "findings": [finding.to_json() for finding in findings],
        "state": dict(asdict(seen), days_left=seen.days_left),
    }
    summary = ["Database '%s' of host '%s' is %s." % (seen.place.database, seen.place.host, light.word)]
    summary += ["%s: %s%s" % (item.light.word, item.sentence, " Type: " + item.command if item.command else "") for item in findings]
    return Result(False, summary, facts)


def _place(request: Request) -> Place:
    """As far as the inventory tells."""
    target = request.target
    container = target.container or "%s-%s-1" % (target.compose_project, target.compose_service)  # as Compose names it
    return Place(request.caller.host or container, target.database, container, target.user or "postgres", request.environment)


def _not_read(seen: Observed, part: str, error: DbopsError) -> Observed:
    return replace(seen, unread=dict(seen.unread, **{part: error.message}))


def _part(seen: Observed, part: str, read: t.Callable[[], dict[str, t.Any]]) -> Observed:
    """One part of the look; that it cannot be read keeps nobody from reading the others."""
    try:
        return replace(seen, **read())
    except Interrupted:
        raise
    except DbopsError as error:
        return _not_read(seen, part, error)


# --- what lies on the target's disk ---------------------------------------------------------------------------------------


def _read_journal(request: Request, seen: Observed) -> tuple[History, Observed]:
    try:
        history = [entry for entry in _journal.read(request.backup_dir) if entry.get("database") == request.target.database]
    except DbopsError as error:
        return [], _not_read(seen, "journal", error)
    return history, replace(seen, last_migration=last_migration(history), failed_operation=failed_operation(history))


def last_migration(history: History) -> dict[str, t.Any] | None:
    """The newest migration that changed something, or else that ran."""
    done = [entry for entry in history if entry.get("operation") in _journal.MIGRATES and entry.get("result") == "ok"]
    changed = [entry for entry in done if entry.get("changed")] or done
    names = ("finished", "operator", "controller", "revision", "image", "run_id", "changed")
    return {name: changed[-1].get(name, "") for name in names} if changed else None


def failed_operation(history: History) -> dict[str, t.Any] | None:
    """The newest operation, where it failed; what was refused, or named a backup that cannot be restored, has touched nothing."""
    ended = [entry for entry in history if entry.get("result") in ("ok", "failed") and not _never_began(entry)]
    if not ended or ended[-1]["result"] == "ok":
        return None
    entry = ended[-1]
    message = str(entry.get("message", ""))
    message = message[:_MESSAGE_LENGTH] + "…" if len(message) > _MESSAGE_LENGTH else message
    return {"operation": entry.get("operation", ""), "finished": entry.get("finished", ""), "message": message}


def _never_began(entry: dict[str, t.Any]) -> bool:
    """A restore that ended while it looked at what it was given: a mistake at the keyboard is no state of the database. Nor is a plan."""
    if entry.get("operation") == "plan":
        return True
    return entry["result"] == "failed" and entry.get("operation") == "restore" and set(entry.get("phases") or ()) <= {"restore: check"}


def nothing_pending(history: History, runner: Runner, schema: str) -> bool:
    """Whether the newest migration was this image's with this command, and left the very schema that is there now.

    Not where another database has taken its place since, or where the last run failed: what a runner keeps in tables may differ then.
    """
    for entry in reversed(history):
        if entry.get("result") in ("ok", "failed") and entry.get("operation") in ("restore", "reset"):
            return False
        if entry.get("result") in ("ok", "failed") and entry.get("operation") in _journal.MIGRATES:
            left = (entry["result"], entry.get("image_id"), entry.get("runner"), entry.get("schema_after"))
            return left == ("ok", runner.image_id, list(runner.argv), schema)
    return False


def _read_backups(request: Request, seen: Observed, options: StatusOptions, now: datetime.datetime) -> Backups:
    limits = options.limits
    server = seen.server["identifier"] if seen.server else request.server_id
    backups, unreadable = Archive(request.backup_dir).catalogue(request.target.database)
    own = [backup for backup in backups if not server or backup.manifest.server_identifier == server]
    if not own:
        return Backups(
            unreadable=tuple(unreadable), elsewhere=backups[0].manifest.id if backups else "", retention=_policy_text(options.retention)
        )
    newest = own[0].manifest
    proofs = [(backup, read_proof(backup)) for backup in own]
    proved, proof = next(((backup, proof) for backup, proof in proofs if proof.state == PROVED), (None, Proof()))
    sent, copy = next(((backup, copy) for backup, copy in ((backup, read_offsite_copy(backup)) for backup in own) if copy), (None, None))
    made = moment(newest.created)
    due = timestamp(made + datetime.timedelta(hours=limits.backup_hours)) if limits.backup_hours else ""
    return Backups(
        count=len(own),
        newest=newest.id,
        created=newest.created,
        age=max(0.0, (now - made).total_seconds()),
        size=newest.size,
        intact=_is_intact(own[0]),
        due=due,
        growth=growth([(moment(backup.manifest.created), backup.manifest.database_size) for backup in own]),
        unreadable=tuple(unreadable),
        offsite=sent.manifest.id if sent else "",
        offsite_at=copy.at if copy else "",
        offsite_age=max(0.0, (now - moment(sent.manifest.created)).total_seconds()) if sent else None,
        offsite_repository=copy.repository if copy else "",
        restorable=newest.restorable.state,
        restorable_trouble=not_restorable(own[0]),
        proved=proof.backup,
        proved_at=proof.at,
        proved_age=max(0.0, (now - moment(proved.manifest.created)).total_seconds()) if proved else None,
        restore_seconds=proof.seconds.get("server", 0) + proof.seconds["restore"] if "restore" in proof.seconds else None,
        proof_trouble="; ".join(proofs[0][1].failures[:3]) if proofs[0][1].state in (FAILED, INVALID) else "",
        history=tuple(_in_history(backup) for backup in reversed(own[:_LAST_BACKUPS])),
        retention=_policy_text(options.retention),
    )


def _in_history(backup: Backup) -> dict[str, t.Any]:
    made = backup.manifest
    seconds = (moment(made.finished) - moment(made.created)).total_seconds()
    return {"id": made.id, "created": made.created, "size": made.size, "seconds": max(0.0, seconds)}


def _policy_text(retention: t.Mapping[str, t.Any] | None) -> str:
    """In the words of the inventory; empty where nothing is ever removed."""
    kept = {name: number for name, number in sorted((retention or {}).items()) if name.startswith("keep_") and number}
    return ", ".join("%s %s" % item for item in kept.items())


def _is_intact(backup: Backup) -> bool:
    """By name and size only: reading all of it is for ``backup_info`` with ``verify``."""
    try:
        verify_shape(backup)
    except (DbopsError, OSError):
        return False
    return True


def growth(sizes: t.Sequence[tuple[datetime.datetime, int]]) -> float | None:
    """Bytes a day between the oldest and the newest of the last days; ``None`` where they are less than a day apart.

    :param sizes: when the database had how many bytes, newest first.
    """
    if not sizes:
        return None
    newest, size = sizes[0]
    since = newest - datetime.timedelta(days=_GROWTH_DAYS)
    oldest, size_then = [item for item in sizes if item[0] >= since][-1]
    days = (newest - oldest).total_seconds() / 86400
    return (size - size_then) / days if days >= _LEAST_GROWTH_DAYS else None


# --- what the engine and the server tell ----------------------------------------------------------------------------------


def _ask(operation: Operation, seen: Observed, history: History, options: StatusOptions) -> Observed:
    target = operation.target
    place = replace(seen.place, container=target.container.name, user=target.address.user)
    backends = tuple(_backend(container, utc_now()) for container in target.backends)
    seen = replace(seen, place=place, server=asdict(operation.server), evidence=operation.evidence, backends=backends)
    seen = _part(seen, "server's state", lambda: _of_server(operation))
    seen = _part(seen, "disk", lambda: _of_disk(operation))
    try:
        _database.require(operation.maintenance, operation.database)
    except DbopsError as error:
        return _not_read(seen, "database", error)
    if seen.blocked_by:
        return seen
    seen = _part(seen, "database", lambda: _of_database(operation))
    if "database" in seen.unread:
        return seen
    seen = _part(seen, "schema", lambda: {"schema": fingerprint(_survey.read_schema(operation))})
    return replace(seen, pending=_pending(operation, seen, history, options))


def _backend(container: Container, now: datetime.datetime) -> Backend:
    try:
        started = moment(container.started[:19] + "Z")
    except ValueError:
        started = now
    seconds = max(0.0, (now - started).total_seconds())
    return Backend(container.name, container.image, container.status, container.health or "", container.restarts, seconds)


def _of_server(operation: Operation) -> dict[str, t.Any]:
    """In a session of its own: an error in it must not end the operation's."""
    name = operation.database
    with operation.session(operation.target.maintenance_database, read_only=True) as connection:
        _vitals.set_limit(connection)
        known = {
            "uptime": _vitals.uptime(connection),
            "connections": _vitals.connections(connection, name),
            "transaction": _vitals.longest_transaction(connection, name),
            "waits": tuple(_vitals.waits(connection, name)),
            "slots": tuple(_vitals.slots(connection)),
            "ages": tuple(_vitals.ages(connection)),
            "leftovers": tuple(_swap.leftovers(connection, name)),
            "blocked_by": _swap.blocked_by(connection, name),
            "running": _survey.running_operation(operation),
            "kept": _kept(operation, connection),
        }
        if _database.exists(connection, name):
            known["size"] = _database.size(connection, name)
        return known


def _kept(operation: Operation, connection: Connection) -> tuple[dict[str, t.Any], ...]:
    """What is kept beside the database: those it replaced, and its baseline."""
    kept = [dict(item, kind="replaced") for item in _survey.kept_databases(operation)]
    name = _baseline.baseline_name(operation.database)
    if _database.exists(connection, name):
        kept.append({"name": name, "of": operation.database, "kind": "baseline", "size": _database.size(connection, name)})
    return tuple(kept)


def _of_disk(operation: Operation) -> dict[str, t.Any]:
    volume = data_volume(operation)
    return {"free": volume.free, "volume": volume.size} if volume else {}


def _of_database(operation: Operation) -> dict[str, t.Any]:
    with operation.session(read_only=True) as connection:
        _vitals.set_limit(connection)
        return {
            "invalid_indexes": tuple(_vitals.invalid_indexes(connection)),
            "unvacuumed": tuple(_vitals.unvacuumed_tables(connection)),
            "sequences": tuple(_vitals.sequences(connection)),
            "collations": _vitals.collations(connection),
        }


def _pending(operation: Operation, seen: Observed, history: History, options: StatusOptions) -> Pending:
    """By the journal where it is sure, else by running the runner in a sandbox."""
    if options.plan == "never" or not operation.request.target.backends:
        return Pending()
    try:
        runner = _survey.migration_runner(operation, options.runner)
        if options.plan == "auto" and seen.schema and nothing_pending(history, runner, seen.schema):
            return Pending("none", "journal")
        plan, trouble = _survey.plan_with(operation, runner, options.state_tables, options.plan_timeout, "dbops_plan_timeout")
    except Interrupted:
        raise
    except DbopsError as error:
        return Pending(trouble=error.message)
    if trouble:
        return Pending(source="sandbox", trouble="In a sandbox with the same schema %s." % trouble)
    return Pending("none" if plan.empty else "pending", "sandbox", len(plan.statements))
