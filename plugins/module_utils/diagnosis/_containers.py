# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the engine, of the database's container, of disks and clocks: from gathered facts to findings."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import Disk, Facts, Finding, compose_line, up_line
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_RUN
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import Slot
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text

#: A server stops when nothing is free at all; this little is as good as nothing.
_NOTHING_LEFT = 100 * 1024 * 1024
_NOTHING_SHARE = 0.05

#: A slot that holds so much of the disk will fill it.
_SLOT_SHARE = 0.1
_SLOT_BYTES = 5 * 1024**3

#: Seconds by which two clocks may differ before it counts; a playbook run takes some itself.
_CLOCK_SECONDS = 30

#: Exit statuses of a program that was killed: 128 + SIGKILL.
_KILLED = 137

_NO_SPACE = "No space left on device"


def check_engine(facts: Facts) -> list[Finding]:
    trouble = facts.engine_trouble
    if not trouble:
        return []
    lower = trouble.lower()
    looked = "the Docker engine"
    why = "Without the engine nothing can be seen or done: database and backends run in its containers."
    if "not installed" in lower:
        return [Finding("docker_missing", looked, trouble, why, ("docker version",))]
    if "may not use" in lower:
        return [
            Finding(
                "engine_denied",
                looked,
                trouble,
                why,
                (
                    'sudo usermod --append --groups docker "$USER"',
                    "# then log in again (Ansible: wait a minute for its open connection to close)",
                ),
            )
        ]
    lines = ("sudo systemctl status docker", "sudo systemctl start docker", "sudo journalctl --unit docker --lines 50")
    return [Finding("engine_down", looked, trouble, why, lines)]


def check_container(facts: Facts) -> list[Finding]:
    """The database's container: is there one, and does it run?"""
    if facts.engine_trouble:
        return []
    item = facts.container
    if item is None:
        return [_several(facts) if facts.candidates else _missing(facts)]
    looked = "container '%s' (docker inspect)" % item.name
    log = facts.log(item.name)
    last = log.last_errors[-4:] or log.tail[-4:]
    why = "The database does not run, so no backend can work."
    look = "docker logs --tail 50 %s" % item.name
    if item.out_of_memory and not item.running:
        found = "Container '%s' was killed because it ran out of memory (exit status %d, %s)." % (item.name, item.exit_code, item.status)
        return [
            Finding(
                "container_out_of_memory",
                looked,
                found,
                why,
                (
                    up_line(item),
                    "# and raise its memory limit (mem_limit in the Compose file), else it comes again",
                    "docker stats --no-stream",
                ),
                last,
            )
        ]
    if item.status == "paused":
        return [Finding("container_paused", looked, "Container '%s' is paused." % item.name, why, ("docker unpause " + item.name,))]
    if _restarts(facts, item):
        status = ", last exit status %d" % item.exit_code if item.exit_code else ""
        found = "Container '%s' starts again and again: %s%s." % (item.name, count_text(item.restarts, "restart"), status)
        return [
            Finding(
                "container_restarting",
                looked,
                found,
                why,
                (look, "# put right what its last lines say, then:", "docker restart " + item.name),
                last,
            )
        ]
    if not item.running:
        return [_stopped(item, looked, why, look, last)]
    return _running(facts, item, looked)


def _restarts(facts: Facts, item: Container) -> bool:
    """Also where the look fell into the moment between two crashes: then it runs, and nothing in it listens, or its address is gone."""
    if item.running:
        refusal = facts.ours.refusal if facts.ours else ""
        refused = facts.listening is None and any(sign in refusal for sign in ("refused", "No route to host"))
        return item.restarts > 0 and (facts.listening == () or refused)
    return item.status == "restarting" or bool(item.restarts and item.exit_code)


def _stopped(item: Container, looked: str, why: str, look: str, last: tuple[str, ...]) -> Finding:
    if item.exit_code == _KILLED:
        found = "Container '%s' was killed (exit status 137): by 'docker kill', or because the host ran out of memory." % item.name
        return Finding(
            "container_out_of_memory", looked, found, why, (up_line(item), "sudo dmesg --ctime | grep -i -e 'out of memory' -e oom"), last
        )
    when = ", at %s" % item.finished[:19].replace("T", " ") if item.finished and not item.finished.startswith("0001") else ""
    reason = " The engine says: %s" % item.trouble if item.trouble else ""
    found = "Container '%s' is %s (exit status %d%s).%s" % (
        item.name,
        {"exited": "stopped"}.get(item.status, item.status),
        item.exit_code,
        when,
        reason,
    )
    return Finding("container_stopped", looked, found, why, (up_line(item), look), last if item.exit_code or item.trouble else ())


def _running(facts: Facts, item: Container, looked: str) -> list[Finding]:
    found = []
    if not any(place.address or place.network == "host" for place in item.endpoints):
        found.append(
            Finding(
                "no_network",
                looked,
                "Container '%s' runs, but is connected to no Docker network." % item.name,
                "Nobody can reach the database.",
                (up_line(item, "--force-recreate"),),
            )
        )
    killed = facts.log(item.name).mentions("was terminated by signal 9")
    if killed or item.out_of_memory:
        found.append(
            Finding(
                "server_process_killed",
                "the log of '%s'" % item.name,
                "One of the server's processes was killed (signal 9), most likely for want of memory: the server ended every session and recovered.",
                "Every connection was cut, and it will come again.",
                ("docker stats --no-stream", "sudo dmesg --ctime | grep -i -e 'out of memory' -e oom"),
                (killed,) if killed else (),
            )
        )
    if item.health == "unhealthy":
        said = (item.health_said,) if item.health_said else ()
        found.append(
            Finding(
                "container_unhealthy",
                looked,
                "Container '%s' runs, but its own health check fails." % item.name,
                "Compose does not start backends that wait for it to be healthy (depends_on).",
                ("docker inspect --format '{{json .State.Health}}' %s" % item.name, "docker logs --tail 50 " + item.name),
                said,
            )
        )
    return found


def _missing(facts: Facts) -> Finding:
    expected = facts.expected
    names = [item.name for item in facts.containers if LABEL_RUN not in item.labels]
    databases = [name for name in names if "postgres" in name or "db" in name]
    found = "There is no container '%s' on this host. Containers here: %s." % (
        expected.named,
        ", ".join((databases or names)[:12]) or "none",
    )
    do = ["docker ps --all --format 'table {{.Names}}\\t{{.Status}}\\t{{.Image}}'"]
    lines = {compose_line(item) for item in facts.backends} - {""}
    do += (
        sorted("%s up --detach" % line for line in lines)[:1]
        if len(lines) == 1
        else ["docker compose up --detach   # in the folder of its Compose file"]
    )
    do.append("# or name the right one in the inventory: dbops_container (or dbops_compose_project and dbops_compose_service)")
    return Finding(
        "container_missing",
        "the host's containers",
        found,
        "The database does not run, or somewhere else than the inventory says.",
        tuple(do),
    )


def _several(facts: Facts) -> Finding:
    names = [item.name for item in facts.candidates]
    found = "Compose project '%s' has %d containers for service '%s': %s." % (
        facts.expected.compose_project,
        len(names),
        facts.expected.compose_service,
        ", ".join(names),
    )
    return Finding(
        "compose_twice",
        "the containers of the Compose service",
        found,
        "Each has data of its own, and which one a backend reaches is chance.",
        (
            "docker ps --all --filter label=com.docker.compose.project=%s --format 'table {{.Names}}\\t{{.Status}}\\t{{.CreatedAt}}'"
            % facts.expected.compose_project,
            "docker stop NAME   # the one that holds no data",
            "# or name the right one in the inventory: dbops_container",
        ),
    )


# --- disks ----------------------------------------------------------------------------------------------------------------


def check_disks(facts: Facts) -> list[Finding]:
    found = _slots(facts)
    item = facts.container
    complains = facts.log(item.name).mentions(_NO_SPACE) if item else ""
    for disk in facts.disks:
        is_data = disk.what == "the server's data"
        if _is_full(disk) or (is_data and complains and disk.used_share > 0.9):
            found.append(_full(facts, disk, complains if is_data else ""))
        elif disk.used_share > 0.9 and disk.free < 10 * 1024**3:
            found.append(
                Finding(
                    "disk_filling",
                    "the disk of %s" % disk.what,
                    "The disk of %s (%s) is %d %% full: %s left."
                    % (disk.what, disk.path, round(disk.used_share * 100), size_text(disk.free)),
                    "A server whose disk is full stops writing, and a backup or a restore does not fit.",
                    ("docker system df", "df -h"),
                )
            )
    if item and not item.running and complains and not any(disk.what == "the server's data" for disk in facts.disks):
        found.append(
            Finding(
                "disk_full",
                "the log of '%s'" % item.name,
                "The last thing that the server in container '%s' said is that its disk is full." % item.name,
                "It cannot start until there is room.",
                ("df -h", "docker system df", "docker image prune", up_line(item)),
                (complains,),
            )
        )
    return found


def _is_full(disk: Disk) -> bool:
    return disk.size > 0 and disk.free < min(_NOTHING_LEFT, disk.size * _NOTHING_SHARE)


def _full(facts: Facts, disk: Disk, complains: str) -> Finding:
    found = "The disk of %s (%s) is full: %s of %s left." % (disk.what, disk.path, size_text(disk.free), size_text(disk.size))
    do = ["df -h", "docker system df", "docker image prune"]
    if disk.what == "the server's data" and facts.container:
        do.insert(0, "docker exec %s du -xsh -- %s" % (facts.container.name, disk.path))
        if facts.server:
            biggest = "SELECT datname, pg_size_pretty(pg_database_size(datname)) FROM pg_database ORDER BY pg_database_size(datname) DESC"
            do.insert(1, facts.psql(biggest, facts.expected.maintenance_database))
    why = (
        "The server cannot write any more; when its WAL does not fit, it stops."
        if disk.what == "the server's data"
        else "No backup fits, so nothing that begins with one can run."
    )
    return Finding("disk_full", "the disk of %s" % disk.what, found, why, tuple(do), (complains,) if complains else ())


def _slots(facts: Facts) -> list[Finding]:
    if not facts.server:
        return []
    disk = next((item for item in facts.disks if item.what == "the server's data"), None)
    found = []
    for slot in facts.server.slots:
        if slot.held > (disk.size * _SLOT_SHARE if disk else _SLOT_BYTES):
            found.append(_slot(facts, slot, "slot_fills_disk", disk))
        elif not slot.active:
            found.append(_slot(facts, slot, "slot_holds_wal", disk))
    return found


def _slot(facts: Facts, slot: Slot, kind: str, disk: Disk | None) -> Finding:
    left = ", of whose disk %s are left" % size_text(disk.free) if disk else ""
    found = "Replication slot '%s', which %s, holds back %s of WAL in container '%s'%s." % (
        slot.name,
        "nobody reads from now" if not slot.active else "is read too slowly",
        size_text(slot.held),
        facts.container.name if facts.container else "",
        left,
    )
    return Finding(
        kind,
        "the replication slots",
        found,
        "WAL is kept until the slot's reader has it: the disk fills, and then the server stops.",
        (
            "# bring its reader back, or, if there is none any more:",
            facts.psql("SELECT pg_drop_replication_slot('%s')" % slot.name.replace("'", "''"), facts.expected.maintenance_database),
        ),
    )


# --- clocks ---------------------------------------------------------------------------------------------------------------


def check_clocks(facts: Facts) -> list[Finding]:
    """:returns: a finding for each clock that differs from the host's."""
    found = []
    for whose, ahead in facts.clocks:
        if abs(ahead) > _CLOCK_SECONDS:
            found.append(
                Finding(
                    "clock_skew",
                    "the clocks of host, server, engine and controller",
                    "The clock of %s is %s %s the host's." % (whose, duration_text(abs(ahead)), "ahead of" if ahead > 0 else "behind"),
                    "Names of backups, 'latest' and a restore to a point in time go by the clock; certificates and tokens expire too early or too late.",
                    ("timedatectl status", "sudo timedatectl set-ntp true"),
                )
            )
    return found


CHECKS: tuple[t.Callable[[Facts], list[Finding]], ...] = (check_engine, check_container, check_disks, check_clocks)
