# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether somebody has looked at exactly this plan: its fingerprint stands in the journal, is young enough, and is what would be done now."""

from __future__ import annotations

import datetime
import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.gates._gates import OVERRULED, asks_its_checklist, refusal
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._planning import SHORT, Planned, apply_command, plan_command
from ansible_collections.dbops.postgres.plugins.module_utils.risk import _told
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import fingerprint_of_facts
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Refused
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment, timestamp, utc_now

AUTO, REQUIRED, RISKY, NEVER = "auto", "required", "risky", "never"

#: From here on ``risky`` asks for an approved plan.
FROM = Level.HIGH

_FINGERPRINT = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class ApprovalOptions:
    """``plan``: a fingerprint, or its beginning; ``document``: what a plan's file holds, as text or read. ``needed``: ``required``, ``risky``,
    ``never``, or ``auto``, which is risky on production; ``max_age``: seconds; ``reason``: for the journal."""

    plan: str = ""
    document: t.Any = None
    needed: str = AUTO
    max_age: float = 86400
    reason: str = ""


def find_approved(operation: Operation, options: ApprovalOptions) -> dict[str, t.Any] | None:
    """The journal's line of the plan that was named; none where none was. Asked before anything is planned.

    :raises Refused: where it is none of this database's, has been edited, or is too old.
    """
    wanted = _named(operation, options)
    if not wanted:
        return None
    plans = [entry for entry in _journal.read(operation.archive.folder) if _is_plan(operation, entry)]
    found = [entry for entry in plans if entry["plan_fingerprint"].startswith(wanted)]
    if not found:
        newest = " The newest plan there is %s." % plans[-1]["plan_fingerprint"][:SHORT] if plans else ""
        raise Refused(
            "There is no plan '%s' of database '%s' in the journal of this host.%s Plan anew: %s"
            % (wanted[:SHORT], operation.database, newest, plan_command(operation))
        )
    _require_young(operation, found[-1], options.max_age)
    return found[-1]


def _is_plan(operation: Operation, entry: t.Mapping[str, t.Any]) -> bool:
    """One that is whole: a line that somebody else has written there is none."""
    known = (entry.get("operation"), entry.get("result"), entry.get("database")) == ("plan", "ok", operation.database)
    return known and isinstance(entry.get("plan_fingerprint"), str) and _moment(entry) is not None


def _moment(entry: t.Mapping[str, t.Any]) -> datetime.datetime | None:
    try:
        return moment(str(entry.get("finished")))
    except ValueError:
        return None


def _named(operation: Operation, options: ApprovalOptions) -> str:
    if options.document is not None:
        return _of_document(operation, options.document)
    wanted = options.plan.strip().lower()
    if wanted and not _FINGERPRINT.fullmatch(wanted):
        raise Refused(
            "'%s' is no fingerprint of a plan (at least 12 hexadecimal digits), nor a file of one on the controller. %s shows it."
            % (options.plan, plan_command(operation))
        )
    return wanted


def _of_document(operation: Operation, given: t.Any) -> str:
    """The fingerprint of what stands in a plan's file, which has to be the one that it says."""
    try:
        document = json.loads(given) if isinstance(given, str) else dict(given)
        plan, runner = dict(document["plan"]), dict(document["runner"])
        said = str(plan["fingerprint"])
        fingerprint = fingerprint_of_facts(plan, runner)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Refused(
            "The file that dbops_migrate_plan names is no plan as plan.yml writes it. Plan anew: %s" % plan_command(operation)
        ) from None
    if document.get("database") != operation.database or document.get("host") not in ("", None, operation.evidence.host):
        raise Refused(
            "The plan's file is of database '%s' of host '%s', not of '%s' of '%s'. Plan this one: %s"
            % (document.get("database"), document.get("host"), operation.database, operation.evidence.host, plan_command(operation))
        )
    if fingerprint != said:
        raise Refused(
            "The plan's file was edited, or a secret in it was masked: what stands in it has not the fingerprint that it says. Give the fingerprint"
            " itself where you know that it is right (-e dbops_migrate_plan=%s), or plan anew: %s" % (said[:SHORT], plan_command(operation))
        )
    return fingerprint


def _require_young(operation: Operation, entry: t.Mapping[str, t.Any], max_age: float) -> None:
    made = _moment(entry) or utc_now()
    age = (utc_now() - made).total_seconds()
    if age > max_age:
        raise Refused(
            "Plan %s was made %s ago by %s, and is too old after %s (dbops_migrate_plan_max_age). Plan anew, and look at it: %s"
            % (
                entry["plan_fingerprint"][:SHORT],
                duration_text(age),
                entry.get("operator") or "somebody",
                duration_text(max_age),
                plan_command(operation),
            )
        )


def require_ready(operation: Operation, planned: Planned, approved: t.Mapping[str, t.Any] | None, options: ApprovalOptions) -> None:
    """After planning: what would be done now is what was approved, or needs no approval, and every gate is open.

    :raises Refused: with all that is in the way, and the lines to type; in check mode it is only said.
    """
    closed = filter(None, (_refusal(operation, planned, approved, options), _gates_refusal(operation, planned)))
    refused = "\n".join(closed)
    if went_without(operation, planned, approved, options):
        operation.warnings.append(
            "Nobody has approved this migration, whose risk is %s (dbops_migrate_approval is never). The journal says so."
            % planned.assessment.level.word
        )
    for gate in planned.gates:
        if gate.state == OVERRULED:
            operation.warnings.append("Gate '%s' was overruled (%s): %s" % (gate.name, gate.reason.rstrip("."), gate.evidence))
    if refused and operation.check_mode:
        operation.warnings.append("A run would be refused. " + refused)
    elif refused:
        raise Refused(refused, gates=planned.facts()["gates"], fingerprint=planned.plan.fingerprint, level=planned.assessment.level.word)


def went_without(operation: Operation, planned: Planned, approved: t.Mapping[str, t.Any] | None, options: ApprovalOptions) -> bool:
    """Whether somebody has switched off the look that a risky migration of production needs."""
    checked = asks_its_checklist(operation.request.environment, operation.is_production)
    return approved is None and options.needed == NEVER and checked and planned.assessment.level >= FROM


def require_nothing_else_was_approved(planned: Planned, approved: t.Mapping[str, t.Any] | None) -> None:
    """Where nothing is to be done now: a plan for the very schema that is there, with another image, is not done by that.

    :raises Refused: naming what differs.
    """
    now = planned.journal()
    if approved is None or approved["plan_fingerprint"] == now["plan_fingerprint"] or approved.get("schema_before") != now["schema_before"]:
        return
    raise Refused(
        "There is nothing to migrate with image '%s', but plan %s that was named is another one: %s. Name its image, or leave the plan out."
        % (planned.runner.image, approved["plan_fingerprint"][:SHORT], _what_differs(approved, now))
    )


def _refusal(operation: Operation, planned: Planned, approved: t.Mapping[str, t.Any] | None, options: ApprovalOptions) -> str:
    now = planned.journal()
    short = now["plan_fingerprint"][:SHORT]
    image = planned.runner.image if planned.runner.image != planned.runner.container.image else ""
    if approved is not None:
        if approved["plan_fingerprint"] == now["plan_fingerprint"]:
            return ""
        return "Refused to migrate '%s': what would be done now is plan %s, not %s: %s. Nothing was touched. Look at it again: %s" % (
            operation.database,
            short,
            approved["plan_fingerprint"][:SHORT],
            _what_differs(approved, now),
            plan_command(operation, image),
        )
    level = planned.assessment.level
    needed = options.needed
    checked = asks_its_checklist(operation.request.environment, operation.is_production)
    if needed == AUTO:
        needed = RISKY if checked else NEVER
    if needed == NEVER or (needed == RISKY and level < FROM):
        return ""
    why = (
        "its risk is %s (%s)" % (level.word, _told.brief(planned.assessment))
        if level >= FROM
        else "every migration of it needs an approved plan"
    )
    return (
        "Refused to migrate '%s': %s, and no plan was named. Nothing was touched. Look at it with '%s', then do exactly that: %s"
        " Without anybody's look (dbops_migrate_approval is '%s'): -e dbops_migrate_approval=never"
        % (operation.database, why, plan_command(operation, image), apply_command(operation, short, image), needed)
    )


def _gates_refusal(operation: Operation, planned: Planned) -> str:
    closed = refusal(planned.gates)
    return (
        "Refused to migrate '%s' by its gates (dbops_migrate_gates). Nothing was touched.\n%s" % (operation.database, closed)
        if closed
        else ""
    )


def _what_differs(approved: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> str:
    parts = []
    if approved.get("schema_before") != now["schema_before"]:
        parts.append("the schema has changed since")
    if approved.get("image_id") != now["image_id"]:
        parts.append("it is another image ('%s', was '%s')" % (now["image"], approved.get("image")))
    if approved.get("runner") != now["runner"]:
        parts.append("it is another command")
    return ", ".join(parts) or "its statements are others"


def approval_facts(without: bool, approved: t.Mapping[str, t.Any] | None, reason: str) -> dict[str, t.Any]:
    """Who planned what was approved, and when, or that nobody did although it was risky; for the journal."""
    if approved is None:
        return {"approval": NEVER, "reason": reason} if without else {}
    return {"planned_by": approved.get("operator", ""), "planned_at": approved.get("finished", ""), "approved_at": timestamp(utc_now())}
