# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gathers what a diagnosis knows, from the outside in: the engine, the containers, the server, the database.

What cannot be seen is said in a sentence, and does not keep the rest from being looked at.
"""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import find_env_files
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _look as look
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _queries
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    Contents,
    Facts,
    Production,
    ServerFacts,
    Tried,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_TARGET, Docker
from ansible_collections.dbops.postgres.plugins.module_utils.operation._clean_up import temporary_leftovers
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import address_of
from ansible_collections.dbops.postgres.plugins.module_utils.server import _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import is_alive
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address, session
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted

#: Seconds that the engine may take to say that it is there.
_ENGINE_SECONDS = 20


@dataclass(frozen=True)
class DiagnosisOptions:
    """``since``: how far back logs count; ``plan_with``: the command that migrates, empty for no plan; ``patience`` and
    ``plan_timeout`` in seconds."""

    since: str = "1h"
    env_files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ("PREVIEW_DATABASE_URL", "DATABASE_URL")
    plan_with: tuple[str, ...] = ()
    bundle: str = ""
    patience: float = 30.0
    plan_timeout: float = 45.0
    productions: tuple[Production, ...] = ()
    controller_time: str = ""


def gather(inquiry: Inquiry, options: DiagnosisOptions, since: str, facts: Facts, texts: dict[str, str]) -> None:
    docker = Docker(inquiry.request.docker_host)
    application = "dbops diagnose %s" % inquiry.run_id
    _read_journal(inquiry, facts)
    files = find_env_files(options.env_files)
    look.learn_secrets_of_files(files, inquiry.redactor)
    try:
        engine_time = docker.time(_ENGINE_SECONDS)
        facts.containers = tuple(docker.every())
    except EngineError as error:
        facts.engine_trouble = error.message
        look.find_branches(facts, files, options.variables)
        return
    facts.clocks = _clocks(engine_time, options.controller_time, facts.now)
    look.find_containers(facts, inquiry.redactor)
    facts.seen.append("%d containers of this host" % len(facts.containers))
    texts.update(look.read_logs(docker, facts, since, inquiry.redactor))
    look.find_branches(facts, files, options.variables)
    _look_inside(inquiry, docker, facts, application)
    if facts.container and facts.container.running:
        look.try_claims(facts, application)
        facts.seen.append("the addresses in %d backends and %d environment files" % (len(facts.backends), len(files)))
    if facts.server:
        _read_database(inquiry, facts, application)
    _find_the_other_way_in(facts, application)


def _read_journal(inquiry: Inquiry, facts: Facts) -> None:
    try:
        facts.journal = tuple(_journal.read(inquiry.request.backup_dir))
        facts.seen.append("the journal (%d entries)" % len(facts.journal))
    except Interrupted:
        raise
    except DbopsError as error:
        facts.unseen.append("the journal: %s" % error.message)


def _clocks(engine: str, controller: str, now: float) -> tuple[tuple[str, float], ...]:
    """Each clock, and by how many seconds it is ahead of this host's; one that cannot be read is left out."""
    found = []
    for whose, text in (("the Docker engine", engine), ("the controller", controller)):
        try:
            moment = datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc).timestamp()
        except ValueError:
            continue
        found.append((whose, moment - _zone_seconds(text) - now))
    return tuple(found)


def _zone_seconds(text: str) -> float:
    """The offset at the end of an RFC 3339 time."""
    if len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
        return (1 if text[-6] == "+" else -1) * (int(text[-5:-3]) * 3600 + int(text[-2:]) * 60)
    return 0.0


def _look_inside(inquiry: Inquiry, docker: Docker, facts: Facts, application: str) -> None:
    """The server in the database's container, as far as it lets us in."""
    item, request = facts.container, inquiry.request
    address = None
    if item and item.running:
        facts.password_given = bool(request.target.password)
        try:
            facts.listening = look.read_listening(docker, item)
            address = address_of(docker, request.target, item)
        except Interrupted:
            raise
        except DbopsError as error:  # it was stopped meanwhile, or has no address
            facts.ours = Tried(error.message)
    if address:
        inquiry.redactor.add(address.password)
        facts.ours = _ask_server(inquiry, docker, facts, address, application)
    try:
        look.read_disks(docker, facts, facts.server.data_folder if facts.server else "", request.backup_dir)
        facts.seen.append("the disks")
    except Interrupted:
        raise
    except (DbopsError, OSError) as error:
        facts.unseen.append("the disks: %s" % error)


def _ask_server(inquiry: Inquiry, docker: Docker, facts: Facts, address: Address, application: str) -> Tried:
    expected = facts.expected
    try:
        with session(address, expected.maintenance_database, application, read_only=True) as connection:
            server = _queries.read_server_facts(connection, expected.database, expected.patience, facts.unseen)
            left = _leftovers(inquiry, docker, connection, server)
            facts.server = ServerFacts(**dict(vars(server), leftovers=tuple(left)))
            facts.clocks += (("the server", facts.server.clock - facts.server.host_clock),) if facts.server.clock else ()
            facts.seen.append("the server: sessions, locks, settings, replication slots, ages, collations")
            return Tried()
    except Interrupted:
        raise
    except DbopsError as error:
        return Tried(error.details.get("postgresql") or error.message)


def _leftovers(inquiry: Inquiry, docker: Docker, connection: t.Any, server: ServerFacts) -> list[str]:
    """What dead runs have left for this database, as the next operation would find it."""

    def alive(run_id: str) -> bool:
        return is_alive(connection, run_id)

    database = inquiry.request.target.database
    label = "%s/%s" % (server.identifier, database)
    found = ["%s of run %s" % (kind, run) for kind, _id, run in docker.labelled(LABEL_TARGET, label) if not alive(run)]
    found += ["database '%s'" % name for name in _swap.leftovers(connection, database)]
    folders = Archive(inquiry.request.backup_dir).leftovers(alive) + temporary_leftovers(alive)
    return found + ["folder '%s'" % path for path in folders if "-%s-" % server.identifier in path]


def _read_database(inquiry: Inquiry, facts: Facts, application: str) -> None:
    """What is in the database itself, and where else it might be."""
    server, expected = facts.server, facts.expected
    database = server.database(expected.database) if server else None
    if server is None or database is None or not database.open or facts.container is None:
        return
    address = address_of(Docker(inquiry.request.docker_host), inquiry.request.target, facts.container)
    try:
        with session(address, expected.database, application, read_only=True) as connection:
            facts.contents = _queries.read_contents(connection, _roles(facts), server.superuser, facts.unseen)
            facts.seen.append("database '%s': tables, rows, rights, indexes" % expected.database)
    except Interrupted:
        raise
    except DbopsError as error:
        facts.unseen.append("database '%s': %s" % (expected.database, error.message))
        return
    if any(table.rows or table.rows is None for table in facts.contents.tables):
        return
    elsewhere = []
    for name in _queries.other_databases(server, expected.database, expected.maintenance_database):
        try:
            with session(address, name, application, read_only=True) as connection:
                found = _queries.tables_with_rows(connection, {table.name for table in facts.contents.tables}, facts.unseen)
        except Interrupted:
            raise
        except DbopsError as error:
            facts.unseen.append("database '%s': %s" % (name, error.message))
            continue
        elsewhere += [(name, found)] if found else []
    facts.contents = Contents(**dict(vars(facts.contents), elsewhere=tuple(elsewhere)))


def _roles(facts: Facts) -> dict[str, str]:
    """The roles by which the backends are known to the server, with the search path that their addresses ask for."""
    roles = {}
    for branch in facts.branches:
        address = branch.has.address if branch.has else None
        if address and facts.server and address.user in facts.server.roles and branch.has and branch.has.meant == facts.container:
            roles[address.user] = address.parameter("search_path", "currentSchema")
    return roles


def _find_the_other_way_in(facts: Facts, application: str) -> None:
    """Where the inventory's password is refused: does the container's own work?"""
    item = facts.container
    own = item.env.get("POSTGRES_PASSWORD", "") if item else ""
    if not item or not facts.ours or facts.ours.kind != "password" or not facts.password_given or not own:
        return
    host = next((place.address for place in item.endpoints if place.address), "127.0.0.1")
    address = Address(host, facts.expected.port, facts.user, own)
    if not _queries.try_address(address, facts.expected.maintenance_database, application).refusal:
        facts.other_way_in = "the container's POSTGRES_PASSWORD"
