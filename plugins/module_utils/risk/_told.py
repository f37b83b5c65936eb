# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An assessment as lines for a person, and as data."""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._locks import HeldLock
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.server._activity import Activity
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, duration_text, size_text

#: So many findings and locks are written out; a report holds all of them.
_MOST = 12


def lines(assessment: Assessment) -> list[str]:
    """The verdict, then what is more than low in full, then the rest by name."""
    open_ones = [finding for finding in assessment.findings if not finding.accepted]
    grave = [finding for finding in open_ones if finding.level > Level.LOW]
    told = ["Risk for this database: %s%s." % (assessment.level.word, _verdict(assessment, grave))]
    told += [line for finding in grave[:_MOST] for line in _finding(finding)]
    told += ["... and %s more." % count_text(len(grave) - _MOST, "finding")] if len(grave) > _MOST else []
    told += [lock_text(lock) for lock in assessment.locks if lock.level > Level.LOW][:_MOST]
    told += _by_name("low", [finding for finding in open_ones if finding.level == Level.LOW])
    told += [
        "Accepted: %s of %s (%s)." % (finding.rule, finding.object, finding.accepted) for finding in assessment.findings if finding.accepted
    ]
    return told + list(assessment.notes)


def brief(assessment: Assessment) -> str:
    """The worst findings in half a sentence, for a refusal."""
    worst = [finding for finding in assessment.findings if not finding.accepted and finding.level == assessment.level]
    named = ["%s: %s" % (finding.rule, finding.object) for finding in worst[:3]] or [lock_text(lock) for lock in assessment.locks[:1]]
    return "; ".join(named) + (" and %d more" % (len(worst) - 3) if len(worst) > 3 else "")


def _verdict(assessment: Assessment, grave: t.Sequence[Finding]) -> str:
    parts = ["%s above low" % count_text(len(grave), "finding")] if grave else []
    open_ones = len(assessment.unknown)
    parts += ["%d of them only a rehearsal can tell" % open_ones] if open_ones else []
    return " (%s)" % ", ".join(parts) if parts else ""


def _finding(finding: Finding) -> list[str]:
    seconds = ""
    if finding.seconds and (finding.measured or finding.seconds >= 1):
        seconds = (" It took %s in the rehearsal." if finding.measured else " About %s, an estimate.") % duration_text(finding.seconds)
    asked = finding.evidence or ("Only a rehearsal can tell: %s." % finding.unknown if finding.unknown else "")
    place = "" if finding.statement == NOWHERE else ", statement %d" % (finding.statement + 1)
    return [
        "%s: %s (%s%s). %s%s%s"
        % (finding.level.word, finding.object, finding.rule, place, finding.why, seconds, " " + asked if asked else ""),
        "  Safer: %s" % finding.safer,
    ]


def lock_text(lock: HeldLock) -> str:
    """Who waits, for how long."""
    statements = "statement %d" % (lock.first + 1) if lock.first == lock.last else "statements %d to %d" % (lock.first + 1, lock.last + 1)
    waiting = "how many would wait is not known" if lock.waiting is None else "%.0f statements/s would wait" % lock.waiting
    return "%s: table %s has %s over %s, %s; %s." % (
        lock.level.word,
        lock.table,
        lock.lock,
        statements,
        ("%s in the rehearsal" if lock.measured else "about %s") % duration_text(lock.seconds),
        waiting,
    )


def _by_name(word: str, findings: t.Sequence[Finding]) -> list[str]:
    named = dict.fromkeys("%s (%s)" % (finding.object, finding.rule) for finding in findings)
    shown = ", ".join(list(named)[:_MOST]) + (" and %d more" % (len(named) - _MOST) if len(named) > _MOST else "")
    return ["%s: %s." % (word, shown)] if named else []


def facts(assessment: Assessment) -> dict[str, t.Any]:
    """Levels as words, statements counted from 1, sizes in bytes, rates per second."""
    return {
        "level": assessment.level.word,
        "findings": [_finding_facts(finding) for finding in assessment.findings],
        "locks": [dict(asdict(lock), level=lock.level.word, first=lock.first + 1, last=lock.last + 1) for lock in assessment.locks],
        "tables": [_table_facts(table) for table in assessment.tables],
        "notes": list(assessment.notes),
    }


def _finding_facts(finding: Finding) -> dict[str, t.Any]:
    data = asdict(finding)
    del data["subject"]
    data["ja"] = dict(zip(("why", "safer"), finding.ja))
    return dict(data, level=finding.level.word, statement=None if finding.statement == NOWHERE else finding.statement + 1)


def _table_facts(table: Activity) -> dict[str, t.Any]:
    return dict(asdict(table), text="%s with indexes, %s rows" % (size_text(table.whole), table.rows))
