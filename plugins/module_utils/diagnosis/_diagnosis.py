# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is broken, and what to do: gathers facts from the outside in, lets the checks judge them, and tells the likeliest cause first.

Nothing is changed by it. Where something cannot be seen, that is said in a sentence, and what can be seen is judged all the same.
"""

from __future__ import annotations

import json
import time
import typing as t
from dataclasses import asdict

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import command_of, failure_of, find_runner, last_lines
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _backends, _containers, _contents, _report, _server
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis import _look as look
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._bundle import clean, write_bundle
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import (
    RED,
    Expected,
    Facts,
    Finding,
    PlanFacts,
)
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._gather import DiagnosisOptions, gather
from ansible_collections.dbops.postgres.plugins.module_utils.operation._begin import begin
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Inquiry
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import make_plan
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import require_psycopg2
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import brief
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted

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


def diagnose(inquiry: Inquiry, options: DiagnosisOptions) -> Result:
    """:raises DbopsError: only where an option makes no sense or the bundle cannot be written; what is broken is a finding."""
    since = look.since_option(options.since)
    require_psycopg2()
    request = inquiry.request
    inquiry.redactor.add(request.target.password)
    facts = Facts(_expected(inquiry, options), now=time.time())
    texts: dict[str, str] = {}
    gather(inquiry, options, since, facts, texts)
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
