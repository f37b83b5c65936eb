# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each rule on a real server: found, at the level that fits small tables, and at the one that fits large and busy ones."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import RULES, Level
from hazards import CASES, FOR_HARMLESS, HARMLESS, Case, Theatre, worst
from stack import Stack

#: Rules that no migration of the catalogue can play; where they are tested instead.
ELSEWHERE = {
    "moving-tablespace": "tests/unit/module_utils/risk",
    "extension-not-available": "tests/unit/module_utils/risk",
    "ban-uncommitted-transaction": "tests/e2e/test_plan.py",
    "runner-not-content": "tests/e2e/test_plan.py",
}


@pytest.fixture(scope="module")
def theatre(stack: Stack) -> Theatre:
    return Theatre(stack.production.connect, "risk")


@pytest.mark.core
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hazard_is_found_at_the_right_level(case: Case, theatre: Theatre) -> None:
    played = theatre.play(case.migration, case.schema, case.rows)
    small, busy = worst(played.small.findings, case.rule), worst(played.busy, case.rule)
    if case.rule == "prefer-bigint-over-int":
        busy = small  # the sequences are asked, not the tables
    assert small is not None and busy is not None, [finding.rule for finding in played.small.findings]
    assert (small.level.word, busy.level.word) == (case.small.word, case.busy.word)
    assert case.says in small.evidence + small.unknown, (small.evidence, small.unknown)
    assert small.statement >= 0 or case.rule == "statements-outside-transaction"
    assert "..." not in small.safer.replace("ADD VALUE ...", "").replace("BETWEEN ... AND ...", "").replace("TABLESPACE ...", ""), (
        small.safer
    )


@pytest.mark.parametrize("migration", HARMLESS, ids=str)
def test_what_harms_nobody_raises_no_alarm(migration: str | tuple[str, ...], theatre: Theatre) -> None:
    played = theatre.play((migration,) if isinstance(migration, str) else migration, FOR_HARMLESS)
    alarms = [(finding.rule, finding.level.word) for finding in [*played.small.findings, *played.busy] if finding.level > Level.LOW]
    assert alarms == []
    assert played.small.level <= Level.LOW


def test_every_rule_is_played() -> None:
    assert {case.rule for case in CASES} | set(ELSEWHERE) == set(RULES)
    assert len(HARMLESS) >= 40
