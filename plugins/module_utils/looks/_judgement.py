# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was seen of a database to a traffic light: what is the matter, in a sentence, and the command to type. Pure.

Each threshold is a name with its source. What is not known is not judged; that it could not be read is a finding of its own.
"""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.looks._observed import Finding, Light, Limits, Observed, Place
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text

#: Share of the connections in use (check_postgres, action "backends", its defaults).
CONNECTIONS = (0.90, 0.95)

#: Share of a sequence that is used up (check_postgres, action "sequence", its defaults).
SEQUENCE = (0.85, 0.95)

#: Share of the volume that is free (Prometheus' node-mixin, fsSpaceAvailable*Threshold).
FREE_SPACE = (0.05, 0.03)

#: Days until the volume is full at the present growth: time to order a disk; time to do something this week. Ours.
DAYS_LEFT = (30, 7)

#: Seconds that a session waits for a lock: what a user notices; what a user gives up after. Ours.
LOCK_WAIT = (5, 60)

#: A transaction this many times as old as ``transaction_seconds`` is red. Ours.
TRANSACTION_RED = 12

#: A backup this many times as old as it may be is red, on production: the run before was missed too. Ours.
BACKUP_RED = 2

#: Dead rows, in terms of the number at which autovacuum starts: it looks once a minute, so only twice as many tell that it does not keep up. Ours.
DEAD_ROWS = 2

#: Age, in terms of the one at which the server forces a vacuum: twice as old, that vacuum does not come to its end. Red begins at the
#: server's own failsafe (https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-VACUUM-FAILSAFE-AGE).
FORCED_AGE = 2

#: Ids before a wraparound (https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND).
ID_SPACE = 2**31

#: Restarts of a backend by the engine, the last one less than an hour ago. Ours.
RESTARTS, RESTARTED_SECONDS = 3, 3600

#: Where a message tells no command: how it begins, and where to look.
_WHERE_TO_LOOK = (
    ("There is no container", "docker ps --all"),
    ("There is no database", "docker exec -it {container} psql -U {user} -l"),
    ("Cannot connect", "docker logs --tail 50 {container}"),
)

_COMMAND = re.compile(r"'((?:docker|systemctl|ansible-playbook|install|apt-get) [^']*)'|: ((?:install|chown|ansible-playbook) .*)$")


def judge(seen: Observed, limits: Limits) -> list[Finding]:
    """Everything that is the matter, worst first, and what is equally bad in the order of the judges."""
    found = [finding for judged in _JUDGES for finding in judged(seen, limits)]
    return sorted(found, key=lambda finding: -finding.light)


def worst(findings: t.Iterable[Finding]) -> Light:
    return max((finding.light for finding in findings), default=Light.GREEN)


# --- what to type ---------------------------------------------------------------------------------------------------------


def command_in(message: str) -> str:
    """The command that a message tells to type, where it tells one."""
    match = _COMMAND.search(message)
    return (match.group(1) or match.group(2)) if match else ""


def _psql(place: Place, statement: str) -> str:
    """On the target: a statement in the database."""
    argv = ["docker", "exec", "-it", place.container, "psql", "-U", place.user, "-d", place.database, "-c", statement]
    return " ".join(map(_word, argv))


def _word(text: str) -> str:
    """As a person would quote it for a shell."""
    return '"%s"' % text if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def _playbook(place: Place, name: str, *further: str) -> str:
    return " ".join(["ansible-playbook", name + ".yml", "-l", shlex.quote(place.host), *further])


def _graded(measured: float, thresholds: tuple[float, float]) -> Light:
    """``thresholds``: where yellow and where red begin; falling ones are for what should be high."""
    yellow, red = thresholds
    rising = red >= yellow
    if (measured >= red) if rising else (measured < red):
        return Light.RED
    return Light.YELLOW if ((measured >= yellow) if rising else (measured < yellow)) else Light.GREEN


def _quoted(names: t.Sequence[str], most: int = 3) -> str:
    more = " and %d more" % (len(names) - most) if len(names) > most else ""
    return ", ".join("'%s'" % name for name in names[:most]) + more


# --- the judges -----------------------------------------------------------------------------------------------------------


def _unread(seen: Observed, _limits: Limits) -> list[Finding]:
    """What the server itself is red for; a part of the look is yellow."""
    found = []
    for part, reason in seen.unread.items():
        whole = part in ("server", "database")
        light = Light.RED if whole and not seen.running else Light.YELLOW
        sentence = reason if whole else "The %s could not be read: %s" % (part, reason)
        sentence += " It may be so only while the %s that runs swaps it." % seen.running["operation"] if whole and seen.running else ""
        found.append(Finding(part, light, sentence, command_in(reason) or _where_to_look(seen.place, reason)))
    return found


def _where_to_look(place: Place, reason: str) -> str:
    command = next((command for sign, command in _WHERE_TO_LOOK if reason.startswith(sign)), "")
    return command.format(container=shlex.quote(place.container), user=shlex.quote(place.user))


def _swap(seen: Observed, _limits: Limits) -> list[Finding]:
    if not seen.blocked_by:
        return []
    sentence = "Database '%s' is closed: the interrupted run %s had blocked it for a swap. The next operation opens it." % (
        seen.place.database,
        seen.blocked_by,
    )
    return [Finding("swap", Light.RED, sentence, _playbook(seen.place, "backup"))]


def _witnesses(seen: Observed, _limits: Limits) -> list[Finding]:
    evidence = seen.evidence
    if evidence is None:
        return []
    found, wrong = [], ""
    if evidence.pinned_server_id and evidence.pinned_server_id != evidence.server_id:
        wrong = _guard.wrong_server(evidence)
        found.append(Finding("environment", Light.RED, wrong))
    if seen.place.is_production:
        if evidence.marker not in ("", evidence.environment):
            sentence = "The inventory says '%s', the database is marked '%s': one of them is wrong, and until then nothing is changed." % (
                evidence.environment,
                evidence.marker,
            )
            found.append(Finding("environment", Light.RED, sentence, _playbook(seen.place, "enroll", "--check")))
        return found
    doubts = [sentence for sentence in _guard.doubts(evidence) if sentence != wrong]
    return found + [Finding("environment", Light.YELLOW, sentence, command_in(sentence)) for sentence in doubts]


def _standby(seen: Observed, _limits: Limits) -> list[Finding]:
    if not (seen.server or {}).get("in_recovery"):
        return []
    return [Finding("server", Light.YELLOW, "The server is a standby (in recovery): operations need the primary.")]


def _backends(seen: Observed, _limits: Limits) -> list[Finding]:
    found = []
    for backend in seen.backends:
        logs = "docker logs --tail 50 %s" % backend.name
        if backend.status == "restarting" or (backend.restarts >= RESTARTS and backend.seconds < RESTARTED_SECONDS):
            sentence = "Backend '%s' does not stay up: the engine has restarted it %d times." % (backend.name, backend.restarts)
            found.append(Finding("backends", Light.RED, sentence, logs))
        elif backend.status != "running":
            light = Light.RED if seen.place.is_production else Light.YELLOW
            sentence = "Backend '%s' is %s, not running." % (backend.name, backend.status)
            found.append(Finding("backends", light, sentence, "docker start %s" % backend.name))
        elif backend.health == "unhealthy":
            found.append(Finding("backends", Light.RED, "Backend '%s' does not pass its health check." % backend.name, logs))
    return found


def _connections(seen: Observed, _limits: Limits) -> list[Finding]:
    known = seen.connections
    light = _graded(known.used / max(1, known.limit), CONNECTIONS) if known else Light.GREEN
    if known is None or light is Light.GREEN:
        return []
    sentence = "%d of %d connections of the %s are in use: beyond that, clients are refused." % (known.used, known.limit, known.by)
    query = "SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC"
    return [Finding("connections", light, sentence, _psql(seen.place, query))]


def _disk(seen: Observed, _limits: Limits) -> list[Finding]:
    if seen.free is None or not seen.volume:
        return []
    found = []
    light = _graded(seen.free / seen.volume, FREE_SPACE)
    if light is not Light.GREEN:
        sentence = "The volume with the server's data has %s of %s left." % (size_text(seen.free), size_text(seen.volume))
        found.append(Finding("disk", light, sentence, "docker system df"))
    days = seen.days_left
    light = _graded(days, DAYS_LEFT) if days is not None else Light.GREEN
    if light is not Light.GREEN:
        sentence = "At the present growth the volume with the server's data is full in %s." % duration_text((days or 0) * 86400)
        found.append(Finding("disk", light, sentence, "docker system df"))
    if seen.size is not None and seen.free < seen.size:
        sentence = "There is no room for a second copy of the database (%s, %s free), which restore and reset need." % (
            size_text(seen.size),
            size_text(seen.free),
        )
        found.append(Finding("disk", Light.YELLOW, sentence, "docker system df"))
    return found


def _slots(seen: Observed, _limits: Limits) -> list[Finding]:
    """By the server's own verdict: ``extended`` is past max_wal_size, ``unreserved`` about to be lost, ``lost`` of no use any more."""
    found = []
    for slot in seen.slots:
        drop = _psql(seen.place, "SELECT pg_drop_replication_slot('%s')" % slot.name)
        holds = "Replication slot '%s' holds %s of WAL" % (slot.name, size_text(slot.held))
        if slot.wal_status in ("unreserved", "lost"):
            sentence = "Replication slot '%s' has lost WAL that its reader needs (%s): the reader has to be set up anew." % (
                slot.name,
                slot.wal_status,
            )
            found.append(Finding("slots", Light.RED, sentence, drop))
        elif not slot.active and seen.free is not None and slot.held > seen.free:
            found.append(Finding("slots", Light.RED, holds + ", more than is free, and nobody reads it: the disk will be full.", drop))
        elif not slot.active and slot.held:
            found.append(Finding("slots", Light.YELLOW, holds + ", and nobody reads it: it grows until the disk is full.", drop))
        elif slot.wal_status == "extended":
            found.append(Finding("slots", Light.YELLOW, holds + ", more than max_wal_size: its reader lags behind."))
    return found


def _ages(seen: Observed, _limits: Limits) -> list[Finding]:
    found = []
    for age in seen.ages:
        light = _graded(age.age, (max(FORCED_AGE * age.forced, 1), max(age.failsafe, FORCED_AGE * age.forced)))
        if light is not Light.GREEN:
            sentence = "Database '%s' has used %d %% of its %s: at 100 %% the whole server stops writing." % (
                age.database,
                100 * age.age / ID_SPACE,
                age.kind,
            )
            argv = ["docker", "exec", "-it", seen.place.container, "vacuumdb", "-U", seen.place.user, "--freeze", age.database]
            found.append(Finding("wraparound", light, sentence, " ".join(map(shlex.quote, argv))))
    return found


def _sequences(seen: Observed, _limits: Limits) -> list[Finding]:
    found = []
    for sequence in seen.sequences:
        share = sequence.last / max(1, sequence.limit)
        light = _graded(share, SEQUENCE)
        if light is not Light.GREEN:
            sentence = "Sequence %s has used %d %% of its %d numbers: after the last one every insert fails." % (
                sequence.name,
                100 * share,
                sequence.limit,
            )
            found.append(Finding("sequences", light, sentence))
    return found


def _waits(seen: Observed, _limits: Limits) -> list[Finding]:
    if not seen.waits:
        return []
    longest = seen.waits[0]
    light = _graded(longest.seconds, LOCK_WAIT)
    if light is Light.GREEN:
        return []
    blockers = [pid for pid in longest.blockers if pid]
    sentence = "%s for a lock, the longest for %s (process %d), behind %s." % (
        count_text(len(seen.waits), "session") + (" waits" if len(seen.waits) == 1 else " wait"),
        duration_text(longest.seconds),
        longest.pid,
        "process " + ", ".join(map(str, blockers)) if blockers else "a prepared transaction",
    )
    return [Finding("locks", light, sentence, _terminate(seen.place, blockers[0]) if blockers else "")]


def _terminate(place: Place, pid: int) -> str:
    return _psql(place, "SELECT pg_terminate_backend(%d)" % pid)


def _transaction(seen: Observed, limits: Limits) -> list[Finding]:
    longest = seen.transaction
    most = limits.transaction_seconds
    light = _graded(longest.seconds, (most, most * TRANSACTION_RED)) if longest else Light.GREEN
    if longest is None or light is Light.GREEN:
        return []
    if not longest.pid:
        sentence = "The prepared transaction '%s' is %s old: it keeps its locks and keeps VACUUM back." % (
            longest.application,
            duration_text(longest.seconds),
        )
        statement = "ROLLBACK PREPARED '%s'" % longest.application.replace("'", "''")
        return [Finding("transactions", light, sentence, _psql(seen.place, statement))]
    sentence = "A transaction is open for %s (process %d, '%s' of user '%s', %s): it keeps VACUUM and migrations back." % (
        duration_text(longest.seconds),
        longest.pid,
        longest.application,
        longest.user,
        longest.state or "active",
    )
    return [Finding("transactions", light, sentence, _terminate(seen.place, longest.pid))]


def _moved(place: Place, newest: str, light: Light) -> Finding:
    """An empty server that has taken the place of the one with the data looks healthy, and the next migration fits it."""
    sentence = (
        "All backups of database '%s' were made on another server than the one that answers: was its data volume replaced? Newest: '%s'."
        % (place.database, newest)
    )
    consent = ["-e", "dbops_confirm=restore:%s" % place.database] if place.is_production else []
    return Finding("backups", light, sentence, _playbook(place, "restore", "-e", "dbops_restore_backup=" + newest, *consent))


def _backups(seen: Observed, limits: Limits) -> list[Finding]:
    known = seen.backups
    if known is None:
        return []
    found = []
    backup = _playbook(seen.place, "backup")
    severe = Light.RED if seen.place.is_production else Light.YELLOW
    most = limits.backup_hours * 3600
    if known.elsewhere:
        found.append(_moved(seen.place, known.elsewhere, severe))
    elif limits.backup_hours and not known.count:
        found.append(Finding("backups", severe, "There is no backup of database '%s'." % seen.place.database, backup))
    elif limits.backup_hours and known.age > most:
        light = severe if known.age > BACKUP_RED * most else Light.YELLOW
        sentence = "The newest backup, '%s', is %s old; one is due every %g h." % (
            known.newest,
            duration_text(known.age),
            limits.backup_hours,
        )
        found.append(Finding("backups", light, sentence, backup))
    if not known.intact:
        sentence = "The newest backup, '%s', is damaged: a file is missing, has another size, or is a link." % known.newest
        found.append(Finding("backups", severe, sentence, backup))
    if known.restorable_trouble:
        found.append(Finding("restorable", severe, known.restorable_trouble))
    if known.unreadable:
        sentence = "%s in the backup folder cannot be read as a backup: %s." % (
            count_text(len(known.unreadable), "folder"),
            _quoted(known.unreadable),
        )
        found.append(Finding("backups", Light.YELLOW, sentence))
    return found


def _proofs(seen: Observed, limits: Limits) -> list[Finding]:
    known = seen.backups
    if known is None or not known.count:
        return []
    severe = Light.RED if seen.place.is_production else Light.YELLOW
    if known.proof_trouble:
        sentence = "The newest backup, '%s', is not what it was when it was made: %s." % (known.newest, known.proof_trouble.rstrip("."))
        return [Finding("proof", severe, sentence, _playbook(seen.place, "backup"))]
    most = limits.proof_hours * 3600
    if not most or (known.proved_age is not None and known.proved_age <= most):
        return []
    how_old = (
        "none is" if known.proved_age is None else "the newest that is, '%s', is %s old" % (known.proved, duration_text(known.proved_age))
    )
    sentence = "No backup of the last %g h was proved by restoring it; %s." % (limits.proof_hours, how_old)
    long_ago = known.proved_age is None or known.proved_age > BACKUP_RED * most
    return [Finding("proof", severe if long_ago else Light.YELLOW, sentence, _playbook(seen.place, "verify_backups"))]


def _copies(seen: Observed, limits: Limits) -> list[Finding]:
    known, most = seen.backups, limits.offsite_hours * 3600
    if known is None or not known.count or not most or (known.offsite_age is not None and known.offsite_age <= most):
        return []
    how_old = (
        "none has"
        if known.offsite_age is None
        else "the newest that has, '%s', is %s old" % (known.offsite, duration_text(known.offsite_age))
    )
    sentence = "No backup of the last %g h has a copy elsewhere; %s." % (limits.offsite_hours, how_old)
    long_ago = known.offsite_age is None or known.offsite_age > BACKUP_RED * most
    severe = Light.RED if seen.place.is_production and long_ago else Light.YELLOW
    return [Finding("offsite", severe, sentence, _playbook(seen.place, "copy_backups"))]


def _migrations(seen: Observed, _limits: Limits) -> list[Finding]:
    found = []
    pending = seen.pending
    show = _playbook(seen.place, "migrate", "--check", "--diff")
    if pending.state == "pending":
        sentence = "A migration is pending: the running image wants %s." % count_text(pending.statements, "statement")
        found.append(Finding("migration", Light.YELLOW, sentence, show))
    elif pending.trouble:
        found.append(Finding("migration", Light.YELLOW, "Whether a migration is pending is not known. " + pending.trouble, show))
    failed = seen.failed_operation
    if failed:
        sentence = "The last %s failed, %s." % (failed["operation"], failed["finished"])
        found.append(Finding("operation", Light.YELLOW, sentence, command_in(failed["message"]), failed["message"]))
    return found


def _leftovers(seen: Observed, _limits: Limits) -> list[Finding]:
    if not seen.leftovers:
        return []
    sentence = "An interrupted run left %s half-built; the next operation removes it." % _quoted(seen.leftovers)
    return [Finding("leftovers", Light.YELLOW, sentence, _playbook(seen.place, "backup"))]


def _indexes(seen: Observed, _limits: Limits) -> list[Finding]:
    return [
        Finding(
            "indexes",
            Light.YELLOW,
            "Index %s is invalid, left by a CREATE INDEX CONCURRENTLY that failed: it costs writes and serves no query." % name,
            _psql(seen.place, "REINDEX INDEX CONCURRENTLY %s" % name),
        )
        for name in seen.invalid_indexes
    ]


def _vacuum(seen: Observed, _limits: Limits) -> list[Finding]:
    found = []
    for table in seen.unvacuumed:
        vacuum = _psql(seen.place, "VACUUM (ANALYZE) %s" % table.name)
        if table.dead > table.threshold * (DEAD_ROWS if table.autovacuum else 1):
            why = "autovacuum does not keep up" if table.autovacuum else "autovacuum is switched off for it"
            sentence = "Table %s has %d dead rows, autovacuum starts at %d: %s." % (table.name, table.dead, table.threshold, why)
            found.append(Finding("vacuum", Light.YELLOW, sentence, vacuum))
        elif table.age > FORCED_AGE * table.forced_age:
            sentence = "Table %s was not frozen for %d transactions, a vacuum is forced from %d on: it does not come to its end." % (
                table.name,
                table.age,
                table.forced_age,
            )
            found.append(Finding("vacuum", Light.YELLOW, sentence, vacuum))
    return found


_SHOWS_FIRST = "With --check it shows what would be rebuilt, and looks for rows that the new order does not allow."


def _collations(seen: Observed, _limits: Limits) -> list[Finding]:
    known = seen.collations
    if known is None:
        return []
    found = []
    if known.recorded and known.actual and known.recorded != known.actual:
        sentence = "The image sorts text by collation version %s, the database was made with %s: its indexes on text may be wrong." % (
            known.actual,
            known.recorded,
        )
        found.append(Finding("collation", Light.YELLOW, sentence, _playbook(seen.place, "recollate"), _SHOWS_FIRST))
    if known.others:
        sentence = "%s in use changed with the image: indexes that use them may be wrong." % count_text(known.others, "collation")
        found.append(Finding("collation", Light.YELLOW, sentence, _playbook(seen.place, "recollate"), _SHOWS_FIRST))
    return found


#: In the order of what hurts most.
_JUDGES: tuple[t.Callable[[Observed, Limits], list[Finding]], ...] = (
    _unread,
    _swap,
    _witnesses,
    _disk,
    _slots,
    _ages,
    _connections,
    _backends,
    _sequences,
    _backups,
    _proofs,
    _copies,
    _waits,
    _transaction,
    _migrations,
    _standby,
    _indexes,
    _vacuum,
    _collations,
    _leftovers,
)
