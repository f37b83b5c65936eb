# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many of the catalogue's hazards are found at the right level, how many harmless migrations raise an alarm, and what a plan costs."""

from __future__ import annotations

from typing import Any

import dataset
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from controller import Controller
from hazards import CASES, FOR_HARMLESS, HARMLESS, Theatre, worst
from measure import must, phases
from stack import Stack

TABLES = 300


def risks(stack: Stack, controller: Controller) -> dict[str, Any]:
    theatre = Theatre(stack.production.connect, "risk")
    missed = [case.name for case in CASES if not _is_right(theatre, case)]
    alarms = [str(migration) for migration in HARMLESS if _alarms(theatre, migration)]
    stack.fill("v1")
    dataset.add_tables(stack.production, TABLES)
    run = must(controller.run("plan", "-l", "production"))
    return {
        "risk_catalogue_found": 1 - len(missed) / len(CASES),
        "risk_catalogue": len(CASES),
        "risk_catalogue_missed": missed,
        "risk_false_alarms": len(alarms),
        "risk_harmless": len(HARMLESS),
        "risk_alarms": alarms,
        "plan_seconds_300_tables": phases(run, "plan"),
        "remote_tasks": {"plan": run.remote_tasks},
    }


def _is_right(theatre: Theatre, case: Any) -> bool:
    played = theatre.play(case.migration, case.schema, case.rows)
    small, busy = worst(played.small.findings, case.rule), worst(played.busy, case.rule)
    if case.rule == "prefer-bigint-over-int":
        busy = small  # the sequences are asked, not the tables
    return bool(small and busy and (small.level, busy.level) == (case.small, case.busy))


def _alarms(theatre: Theatre, migration: Any) -> bool:
    played = theatre.play((migration,) if isinstance(migration, str) else migration, FOR_HARMLESS)
    return any(finding.level > Level.LOW for finding in [*played.small.findings, *played.busy])
