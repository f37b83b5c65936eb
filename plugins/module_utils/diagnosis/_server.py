# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the server: from gathered facts to findings."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._connection import check_connection, hba_refuses
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import Facts, Finding, Wait, refusal_kind
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text

#: Transaction ids are 32 bits: at about 2.1 billion the server stops taking writes, from 1.6 billion on it vacuums in a hurry
#: (https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND).
_WRAPS_AT = 2**31
_AGE_RED = 1_600_000_000
_AGE_YELLOW = 1_000_000_000

#: Ends sessions that have done nothing for a while.
_END_IDLE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid()"
    " AND state_change < now() - interval '5 minutes'"
)

#: What keeps VACUUM from freezing rows.
_OLDEST = (
    "SELECT pid, xact_start, left(query, 60) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY age(backend_xmin) DESC LIMIT 3"
)

#: How a server is told on its command line to be read-only.
_READ_ONLY_OPTION = re.compile(r"default_transaction_read_only\s*=\s*(?:on|true|yes|1)", re.IGNORECASE)


def check_connections(facts: Facts) -> list[Finding]:
    """We are in, by a connection that is kept for superusers; others may not be. Or the database's own limit is reached."""
    server = facts.server
    if not server:
        return []
    database = server.database(facts.database_name)
    refused = [branch.name for branch in facts.branches if branch.has and branch.has.tried and branch.has.tried.kind == "full"]
    limited = database and database.limit > 0 and database.sessions >= database.limit
    if not limited and not refused and server.connections < server.max_connections - server.reserved:
        return []
    what = (
        "database '%s' (its limit is %d)" % (facts.database_name, database.limit)
        if database and limited
        else "the server (max_connections is %d)" % server.max_connections
    )
    who = "; ".join("%d by %s" % (number, name) for name, number in server.sessions_by[:4])
    return [
        Finding(
            "too_many_connections",
            "the sessions",
            "Every ordinary connection of %s is in use: %d of them. Most by: %s." % (what, server.connections, who),
            "New connections are refused until others end.",
            (
                "# ends sessions that have done nothing for five minutes:",
                facts.psql(_END_IDLE, facts.expected.maintenance_database),
                "# and then: fewer connections in the pool of whoever holds most",
            ),
        )
    ]


def check_database(facts: Facts) -> list[Finding]:
    """Is the database there, and open?"""
    server, name = facts.server, facts.database_name
    if not server:
        return []
    database = server.database(name)
    looked = "the server's databases"
    if server.databases and database is None:
        names = [item.name for item in server.databases if not item.template]
        close = difflib.get_close_matches(name, names, 1)
        found = "There is no database '%s' on this server. There is: %s." % (name, ", ".join(names) or "none")
        do = [
            facts.playbook("restore", "-e dbops_restore_backup=latest", "-e dbops_confirm=restore:%s" % name),
            "# or name the right one in the inventory: dbops_database%s" % (" (is it '%s'?)" % close[0] if close else ""),
        ]
        return [Finding("database_missing", looked, found, "The applications are refused, whatever their address says.", tuple(do))]
    if database and not database.open:
        mine = server.swapping
        found = "Database '%s' is closed to connections%s." % (name, ", left so by the interrupted run %s" % mine if mine else "")
        do = [facts.playbook("backup") + "   # any operation opens it again, first of all"] if mine else []
        do += (
            [facts.psql('ALTER DATABASE "%s" ALLOW_CONNECTIONS true' % name.replace('"', '""'), facts.expected.maintenance_database)]
            if not mine
            else []
        )
        return [Finding("database_blocked", looked, found, "Nobody can connect to it.", tuple(do))]
    return []


def check_read_only(facts: Facts) -> list[Finding]:
    server, item = facts.server, facts.container
    if not server or not item:
        return []
    looked = "whether the server takes writes"
    if server.in_recovery:
        return [
            Finding(
                "server_read_only",
                looked,
                "The server in container '%s' is a standby (in recovery)." % item.name,
                "Nothing can be written there; reading works.",
                (
                    "# point the inventory and the applications at the primary, or, if the primary is lost for good:",
                    facts.psql("SELECT pg_promote()", facts.expected.maintenance_database),
                ),
            )
        ]
    places = list(server.read_only)
    if any(_READ_ONLY_OPTION.search(word) for word in item.command):
        places.append(("the command of container '%s'" % item.name, ""))
    found = []
    for where, undo in places:
        name = facts.expected.maintenance_database
        lines = (
            [
                "%s && %s" % (_writing(facts.psql(undo, name)), facts.psql("SELECT pg_reload_conf()", name))
                if undo.startswith("ALTER SYSTEM")
                else _writing(facts.psql(undo, name))
            ]
            if undo
            else ["# take -c default_transaction_read_only=on out of the Compose file, then: docker compose up --detach"]
        )
        found.append(
            Finding(
                "server_read_only",
                looked,
                "New transactions are read-only: default_transaction_read_only is on in %s." % where,
                "Every write fails with 'cannot execute ... in a read-only transaction'; reading works.",
                (*lines, "# sessions that are open keep it until they connect anew: restart the backends"),
            )
        )
    return found


def _writing(line: str) -> str:
    """The same line, in a session that may write."""
    return line.replace("docker exec ", "docker exec --env PGOPTIONS='-c default_transaction_read_only=off' ", 1)


def check_wraparound(facts: Facts) -> list[Finding]:
    found = []
    for database in facts.server.databases if facts.server else ():
        if database.age >= _AGE_YELLOW:
            left = max(0, _WRAPS_AT - database.age)
            text = "Database '%s' has rows that are %d million transactions old; the server stops taking writes in about %d million." % (
                database.name,
                database.age // 10**6,
                left // 10**6,
            )
            found.append(
                Finding(
                    "wraparound" if database.age >= _AGE_RED else "wraparound_near",
                    "the age of each database",
                    text,
                    "Old rows have to be frozen by VACUUM before transaction ids run out; something keeps it from doing so.",
                    (
                        facts.psql(
                            _OLDEST,
                            database.name,
                        )
                        + "   # end what is very old",
                        "docker exec %s vacuumdb --username %s --freeze --jobs 2 --dbname %s"
                        % (facts.container.name if facts.container else "NAME", facts.user, database.name),
                    ),
                )
            )
    return found


def check_locks(facts: Facts) -> list[Finding]:
    server = facts.server
    if not server:
        return []
    found = [_wait(facts, wait) for wait in server.waits]
    blockers = {wait.blocker_pid for wait in server.waits}
    for pid, who, seconds in server.idle:
        if pid not in blockers:
            found.append(
                Finding(
                    "idle_in_transaction",
                    "the sessions",
                    "Session %d (%s) has had a transaction open and done nothing for %s." % (pid, who, duration_text(seconds)),
                    "It keeps its locks, and VACUUM from removing dead rows; a migration would wait for it.",
                    (
                        facts.psql("SELECT pg_terminate_backend(%d)" % pid, facts.expected.maintenance_database),
                        "# and find out why the application forgot to end it; idle_in_transaction_session_timeout ends such sessions by itself",
                    ),
                )
            )
    for gid, seconds in server.prepared:
        if seconds >= facts.expected.patience:
            quoted = "ROLLBACK PREPARED '%s'" % gid.replace("'", "''")
            found.append(
                Finding(
                    "prepared_transaction",
                    "the prepared transactions",
                    "Transaction '%s' was prepared %s ago and neither committed nor rolled back." % (gid, duration_text(seconds)),
                    "It keeps its locks, through restarts too.",
                    ("# COMMIT PREPARED or ROLLBACK PREPARED, as its manager decides; for example:", facts.psql(quoted)),
                )
            )
    return found


def _wait(facts: Facts, wait: Wait) -> Finding:
    others = " (and %s behind it)" % count_text(wait.waiting - 1, "other") if wait.waiting > 1 else ""
    who = (
        "session %d (%s), %s since %s"
        % (wait.blocker_pid, wait.blocker, wait.blocker_state or "active", duration_text(wait.blocker_seconds))
        if wait.blocker_pid
        else wait.blocker
    )
    found = "Session %d%s has waited %s for a lock that is held by %s." % (wait.pid, others, duration_text(wait.seconds), who)
    do = (
        (facts.psql("SELECT pg_terminate_backend(%d)" % wait.blocker_pid, facts.expected.maintenance_database),)
        if wait.blocker_pid
        else (facts.psql("SELECT gid, prepared, owner FROM pg_prepared_xacts"), "# then COMMIT PREPARED or ROLLBACK PREPARED it")
    )
    return Finding(
        "lock_blocked",
        "who waits for whose lock",
        found,
        "Whatever needs the same table waits as well, readers too.",
        do,
        ("waiting: " + wait.query,),
    )


def check_collations(facts: Facts) -> list[Finding]:
    found = []
    for database in facts.server.databases if facts.server else ():
        if (
            database.name != facts.database_name
            or not database.collation
            or not database.collation_now
            or database.collation == database.collation_now
        ):
            continue
        found.append(
            Finding(
                "collation_mismatch",
                "the collation's version",
                "Database '%s' was made with version %s of its collation, the image has %s."
                % (database.name, database.collation, database.collation_now),
                "Indexes on text may be in the wrong order: rows are not found, and duplicates get in.",
                (
                    "# every database of the server, while people go on working; with --check it is shown:",
                    facts.playbook("recollate", "--check --diff"),
                    facts.playbook("recollate"),
                ),
            )
        )
    return found


def check_leftovers(facts: Facts) -> list[Finding]:
    server = facts.server
    if not server:
        return []
    found = []
    if server.leftovers:
        found.append(
            Finding(
                "leftovers",
                "what interrupted runs have left",
                "An interrupted operation has left: %s." % "; ".join(server.leftovers[:5]),
                "It takes room, and nothing uses it.",
                (facts.playbook("backup") + "   # every operation that changes something cleans up first",),
            )
        )
    if server.seeding:
        found.append(
            Finding(
                "seed_interrupted",
                "the marks of seeds",
                "A seed of database '%s' did not come to its end (run %s)." % (facts.database_name, server.seeding),
                "Some of its rows may be there; they would come twice.",
                ("# look at the rows; then restore the backup made before it, or:", facts.playbook("seed", "-e dbops_seed_again=true")),
            )
        )
    if server.running:
        found.append(
            Finding(
                "operation_running",
                "the operation lock",
                "An operation is at work on it now: %s." % server.running,
                "What you see may be its doing, and other operations wait or are refused.",
                ("# wait for it to end",),
            )
        )
    return found


#: How the server says that no line of pg_hba.conf lets somebody in.
_HBA_SIGNS = ("no pg_hba.conf entry", "pg_hba.conf rejects")


def check_access_of_backends(facts: Facts) -> list[Finding]:
    """The server let us in, but not its backends: by a try with their addresses, or by what one that ails said last.

    The server's own log is evidence and no reason: what it says of the last hour may be mended since.
    """
    item = facts.container
    if not item or not facts.ours or facts.ours.refusal:
        return []
    refused = [
        branch.name for branch in facts.branches if branch.has and branch.has.tried and refusal_kind(branch.has.tried.refusal) == "hba"
    ]
    last = [line for branch in facts.branches if _ails(branch.container) for line in facts.log(branch.name).last_errors[-1:]]
    said = [line for line in last if any(sign in line for sign in _HBA_SIGNS)]
    if not refused and not said:
        return []
    evidence = said or [line for line in [facts.log(item.name).mentions(*_HBA_SIGNS)] if line]
    return [hba_refuses(facts, item, "the backends' logs, and connections with their own addresses", tuple(evidence[:1]))]


def _ails(container: t.Any) -> bool:
    return bool(container) and (container.health == "unhealthy" or not container.running)


CHECKS: tuple[t.Callable[[Facts], list[Finding]], ...] = (
    check_connection,
    check_connections,
    check_access_of_backends,
    check_database,
    check_read_only,
    check_wraparound,
    check_locks,
    check_collations,
    check_leftovers,
)
