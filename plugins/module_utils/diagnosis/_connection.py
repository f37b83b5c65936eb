# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why the server cannot be talked to: what a refused connection says, and what the container shows of it."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container


def check_connection(facts: Facts) -> list[Finding]:
    """Why the server does not let operations in."""
    tried, item = facts.ours, facts.container
    if tried is None or not tried.refusal or item is None:
        return []
    kind = tried.kind
    looked = "a connection to database '%s' as role '%s' at port %d of container '%s'" % (
        facts.expected.maintenance_database,
        facts.user,
        facts.expected.port,
        item.name,
    )
    said = (tried.refusal,)
    if kind in ("refused", "silent"):
        return [_not_listening(facts, item, looked, said)]
    checks = {"password": _password, "full": _full, "hba": hba_refuses}
    if kind in checks:
        return [checks[kind](facts, item, looked, said)]
    if kind == "starting":
        return [
            Finding(
                "server_starting",
                looked,
                "The server in container '%s' is starting or stopping, and takes no connections yet." % item.name,
                "After a crash it first repeats what is in its WAL; that ends by itself.",
                ("docker logs --follow --tail 20 " + item.name,),
                said + facts.log(item.name).tail[-3:],
            )
        ]
    if kind == "database":
        return [
            Finding(
                "database_missing",
                looked,
                "The maintenance database '%s' does not exist." % facts.expected.maintenance_database,
                "Operations create and rename databases from there.",
                ("# name another one in the inventory: dbops_maintenance_database",),
                said,
            )
        ]
    found = "The server in container '%s' refuses role '%s': %s" % (item.name, facts.user, tried.refusal)
    return [
        Finding(
            "login_refused",
            looked,
            found,
            "No operation can work without this connection.",
            ("# check dbops_user and dbops_maintenance_database in the inventory", "docker logs --tail 20 " + item.name),
        )
    ]


def _not_listening(facts: Facts, item: Container, looked: str, said: tuple[str, ...]) -> Finding:
    port = facts.expected.port
    if facts.listening and port not in facts.listening:
        ports = ", ".join(map(str, facts.listening))
        found = "Nothing listens on port %d (dbops_port) in container '%s': it listens on %s." % (port, item.name, ports)
        return Finding(
            "wrong_port",
            looked,
            found,
            "Operations and backends that use port %d reach nothing." % port,
            (
                "# in the inventory, for host '%s':   dbops_port: %d" % (facts.expected.host, facts.listening[0]),
                "# or let the server listen on %d again: look for 'port' in its command and its postgresql.conf" % port,
            ),
            said,
        )
    if facts.listening == ():
        found = "Container '%s' runs, but nothing in it listens on any port of its network." % item.name
        return Finding(
            "server_silent",
            looked,
            found,
            "The server is still starting, has crashed inside, or listens on its socket only (listen_addresses).",
            ("docker logs --tail 50 " + item.name, "docker top " + item.name),
            said + facts.log(item.name).tail[-3:],
        )
    found = "The server in container '%s' does not answer, although its port %d is open or cannot be seen." % (item.name, port)
    return Finding(
        "server_silent",
        looked,
        found,
        "It hangs, or a firewall is in between.",
        ("docker top " + item.name, "docker logs --tail 50 " + item.name, "docker restart " + item.name + "   # ends every session"),
        said,
    )


def _password(facts: Facts, item: Container, looked: str, said: tuple[str, ...]) -> Finding:
    others = [
        claim.owner
        for branch in facts.branches
        for claim in (branch.has, branch.reads)
        if claim and claim.tried and not claim.tried.refusal and claim.meant and claim.meant.id == item.id
    ]
    where = "the inventory (dbops_password)" if facts.password_given else "the container's POSTGRES_PASSWORD"
    found = "The password of role '%s' in %s is not the one that the server has." % (facts.user, where)
    if others:
        found += " The one in %s is: it was rotated there and in the server only." % ", ".join(
            "'%s'" % name for name in dict.fromkeys(others)
        )
    if facts.other_way_in:
        found += " The one in %s is." % facts.other_way_in
    do = [
        "# either give the server the password that %s has (it asks for it):" % where,
        "docker exec -it %s psql --username %s --command '\\password %s'" % (item.name, facts.user, facts.user),
        "# or put the server's own into the inventory, in a vault: dbops_password",
    ]
    if not facts.password_given:
        do.append("# (POSTGRES_PASSWORD only counts when the data folder is made: changing it later changes nothing in the server)")
    return Finding(
        "password_rotated", looked, found, "It was changed in one place and not in the others: operations cannot connect.", tuple(do), said
    )


def hba_refuses(facts: Facts, item: Container, looked: str, said: tuple[str, ...]) -> Finding:
    folder = facts.server.data_folder if facts.server and facts.server.data_folder else item.env.get("PGDATA", "/var/lib/postgresql/data")
    found = "pg_hba.conf of the server in container '%s' has no line that lets this address in." % item.name
    return Finding(
        "hba_refuses",
        looked,
        found,
        "The server refuses before it looks at any password.",
        (
            "docker exec %s cat %s/pg_hba.conf" % (item.name, folder),
            "# add a line such as:   host all all samenet scram-sha-256   then:",
            facts.psql("SELECT pg_reload_conf()", facts.expected.maintenance_database),
        ),
        said,
    )


def _full(_facts: Facts, item: Container, looked: str, said: tuple[str, ...]) -> Finding:
    found = "Every connection of the server in container '%s' is in use, also those that are kept for superusers." % item.name
    do = (
        "docker top %s   # one line for each session: role, database, address" % item.name,
        "docker restart NAME   # of the backend that holds most of them",
        "# and then: fewer connections in the backends' pools, or a larger max_connections",
    )
    return Finding("too_many_connections", looked, found, "New connections are refused until others end.", do, said)
