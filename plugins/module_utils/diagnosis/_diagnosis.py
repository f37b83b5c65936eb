# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is broken, and what to do: gathers facts from the outside in, lets the checks judge them, and tells the likeliest cause first.

Nothing is changed by it. Where something cannot be seen, that is said in a sentence, and what can be seen is judged all the same.
"""

from __future__ import annotations

import datetime
import json
import time
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import find_env_files
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import command_of, failure_of, find_runner, last_lines
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _backends, _containers, _contents, _queries, _report, _server
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _look as look
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._bundle import clean, write_bundle
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    RED,
    Contents,
    Expected,
    Facts,
    Finding,
    PlanFacts,
    Production,
    ServerFacts,
    Tried,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_TARGET, Docker
from ansible_collections.dbops.postgres.plugins.module_utils.operation._begin import begin
from ansible_collections.dbops.postgres.plugins.module_utils.operation._clean_up import temporary_leftovers
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import address_of
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import make_plan
from ansible_collections.dbops.postgres.plugins.module_utils.server import _swap
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import is_alive
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address, require_psycopg2, session
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import brief
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, Interrupted

#: Seconds that the engine may take to say that it is there.
_ENGINE_SECONDS = 20

#: The variable that sets how long the migration may take in the sandbox.
_PLAN_LIMIT = "dbops_plan_timeout"

#: With one of these, a plan would fail or hang, or tell nothing that is not known already.
_NO_PLAN = (
    "disk_full",
    "slot_fills_disk",
    "database_blocked",
    "server_replaced",
    "database_missing",
    "too_many_connections",
    "lock_blocked",
    "index_invalid",
    "operation_running",
    "data_elsewhere",
)


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


def diagnose(inquiry: Inquiry, options: DiagnosisOptions) -> Result:
    """:raises DbopsError: only where an option makes no sense or the bundle cannot be written; what is broken is a finding."""
    since = look.since_option(options.since)
    require_psycopg2()
    request = inquiry.request
    inquiry.redactor.add(request.target.password)
    facts = Facts(_expected(inquiry, options), now=time.time())
    texts: dict[str, str] = {}
    _gather(inquiry, options, since, facts, texts)
    findings = judge(facts)
    if options.plan_with and _may_plan(facts, findings):
        facts.plan = _plan(inquiry, options.plan_with, options.plan_timeout, facts)
        findings = judge(facts)
    # Secrets are taken out before lines are cut to width, since half a secret would not be recognised.
    findings = [_cleaned(item, inquiry) for item in findings]
    facts.seen, facts.unseen = [[clean(line, inquiry.redactor) for line in lines] for lines in (facts.seen, facts.unseen)]
    answer: dict[str, t.Any] = {
        "findings": [dict(asdict(item), colour=item.colour) for item in findings],
        "verdict": "red" if any(item.colour == RED for item in findings) else "yellow" if findings else "green",
        "looked_at": facts.seen,
        "not_looked_at": facts.unseen,
        "logs": {name: asdict(summary) for name, summary in sorted(facts.logs.items())},
        "bundle": options.bundle or None,
    }
    summary = _report.render(facts, findings, options.since)
    if options.bundle:
        files = _bundle_files(facts, answer, summary, texts)
        size = write_bundle(options.bundle, files, inquiry.redactor, facts.now)
        summary.append(
            "Bundle for a ticket, without secrets: '%s' on host '%s' (%d bytes, mode 0600)." % (options.bundle, facts.expected.host, size)
        )
    return Result(False, summary, answer)


def judge(facts: Facts) -> list[Finding]:
    """All findings, the likeliest cause first. A check that fails itself says so and takes nothing else with it."""
    found: list[Finding] = []
    for check in (*_containers.CHECKS, *_server.CHECKS, *_contents.CHECKS, *_backends.CHECKS):
        try:
            found += check(facts)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            facts.unseen.append("what %s looks at: it failed itself (%s: %s)" % (check.__name__, type(error).__name__, error))
    if any(item.colour == RED for item in found):
        found = [item for item in found if item.kind != "error_lines"]
    return sorted(found, key=lambda item: item.rank)


def _cleaned(item: Finding, inquiry: Inquiry) -> Finding:
    def words(text: str) -> str:
        return clean(text, inquiry.redactor)

    return Finding(
        item.kind, words(item.looked_at), words(item.found), item.why, tuple(map(words, item.do)), tuple(map(words, item.evidence))
    )


def _expected(inquiry: Inquiry, options: DiagnosisOptions) -> Expected:
    request, target = inquiry.request, inquiry.request.target
    return Expected(
        host=request.caller.host,
        environment=request.environment,
        database=target.database,
        container=target.container,
        compose_project=target.compose_project,
        compose_service=target.compose_service,
        user=target.user,
        port=target.port,
        maintenance_database=target.maintenance_database,
        backends=target.backends,
        productions=options.productions,
        patience=options.patience,
    )


# --- gathering: from the outside in ---------------------------------------------------------------------------------------


def _gather(inquiry: Inquiry, options: DiagnosisOptions, since: str, facts: Facts, texts: dict[str, str]) -> None:
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


# --- the pending migration ------------------------------------------------------------------------------------------------


def _may_plan(facts: Facts, findings: list[Finding]) -> bool:
    """Planning reads the schema and starts a sandbox: it has to be possible, and worth it."""
    against = [item.kind for item in findings if item.kind in _NO_PLAN]
    if facts.contents is None or not facts.backends:
        facts.unseen.append("the pending migration: %s" % ("no backend was found" if facts.contents else "the database cannot be read"))
        return False
    if facts.server and facts.server.exclusive_locks:
        against.append("a table is locked exclusively")
    if against:
        facts.unseen.append("the pending migration: not planned, because of %s" % against[0])
    return not against


def _plan(inquiry: Inquiry, command: tuple[str, ...], timeout: float, facts: Facts) -> PlanFacts:
    try:
        with begin(inquiry.request, inquiry.redactor, inquiry.run_id) as operation:
            runner = find_runner(operation.docker, operation.target.backend(), command_of(command, "migrate"), "")
            plan = make_plan(operation, runner, (), timeout)
            failure = failure_of(runner, plan.outcome, timeout, _PLAN_LIMIT)
    except Interrupted:
        raise
    except DbopsError as error:
        return PlanFacts(trouble=error.message)
    if failure:
        said = "%s. It says: %s." % (failure, last_lines(plan.outcome) or "(nothing)")
        return PlanFacts(trouble=said, image=runner.image, endless=plan.outcome.timed_out)
    if plan.empty and plan.swallowed:
        return PlanFacts(trouble="It ends without an error, but the server refused %s." % plan.swallowed, image=runner.image)
    facts.seen.append("the pending migration of image '%s', in a sandbox" % runner.image)
    return PlanFacts(plan.empty, len(plan.statements), (brief(plan.change),) if plan.change else (), runner.image)


# --- the bundle -----------------------------------------------------------------------------------------------------------


def _bundle_files(facts: Facts, answer: dict[str, t.Any], summary: list[str], texts: dict[str, str]) -> dict[str, str]:
    """What goes into the tar. Of environments only the names of the variables: a value may be a secret that looks like none."""
    containers = [
        {
            "name": item.name,
            "image": item.image,
            "image_id": item.image_id,
            "status": item.status,
            "exit_code": item.exit_code,
            "out_of_memory": item.out_of_memory,
            "restarts": item.restarts,
            "health": item.health,
            "created": item.created,
            "started": item.started,
            "networks": [asdict(place) for place in item.endpoints],
            "environment": sorted(item.env),
        }
        for item in ((facts.container,) if facts.container else ()) + facts.backends
    ]
    files = {
        "report.txt": "\n".join(summary) + "\n",
        "findings.json": json.dumps(answer, indent=1, sort_keys=True, default=str) + "\n",
        "containers.json": json.dumps(containers, indent=1, sort_keys=True) + "\n",
        "journal.json": json.dumps(facts.journal[-20:], indent=1, sort_keys=True, default=str) + "\n",
    }
    files.update(("logs/%s.log" % name, text) for name, text in texts.items())
    return files
