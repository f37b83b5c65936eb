# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the inventory has accepted: a rule, an object, why, and until when."""

from __future__ import annotations

import datetime
import fnmatch
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import RULES
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

_KEYS = ("rule", "object", "reason", "until")


@dataclass(frozen=True)
class Acceptance:
    """``object``: a pattern of what findings call theirs (``column public.users.*``); ``until``: its last day."""

    rule: str
    object: str
    reason: str
    until: datetime.date | None

    def covers(self, finding: Finding, today: datetime.date) -> bool:
        return finding.rule == self.rule and not self.expired(today) and fnmatch.fnmatchcase(finding.object, self.object)

    def expired(self, today: datetime.date) -> bool:
        return self.until is not None and today > self.until

    def __str__(self) -> str:
        return "'%s' of '%s'" % (self.rule, self.object)


def parse_acceptances(given: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Acceptance, ...]:
    """:raises DbopsError: where an entry makes no sense, with how it is written."""
    return tuple(_parsed(number, entry) for number, entry in enumerate(given, 1))


def _parsed(number: int, entry: t.Mapping[str, t.Any]) -> Acceptance:
    if not isinstance(entry, dict) or set(entry) - set(_KEYS):
        raise _wrong(number, "it has 'rule', 'object', 'reason' and 'until', no other keys")
    rule, reason = str(entry.get("rule") or ""), str(entry.get("reason") or "").strip()
    if rule not in RULES:
        raise _wrong(number, "there is no rule '%s'; the rules are in docs/risks.md" % rule)
    if not reason:
        raise _wrong(number, "'reason' says why '%s' may be, and is missing" % rule)
    return Acceptance(rule, str(entry.get("object") or "*"), reason, _day(number, entry.get("until")))


def _day(number: int, given: t.Any) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(str(given)[:10]) if given else None
    except ValueError:
        raise _wrong(number, "'until' is a day such as 2026-12-31, not '%s'" % given) from None


def _wrong(number: int, why: str) -> DbopsError:
    return DbopsError("Entry %d of dbops_migrate_risk_accepted is not right: %s." % (number, why))


def accept(findings: t.Sequence[Finding], accepted: t.Sequence[Acceptance], today: datetime.date) -> tuple[list[Finding], list[str]]:
    """The findings, with the reason where they are accepted, and a sentence for each acceptance that has run out or covers nothing."""
    found, used = [], set()
    for finding in findings:
        covering = next((item for item in accepted if item.covers(finding, today)), None)
        used.update([covering] if covering else [])
        found.append(replace(finding, accepted=covering.reason) if covering else finding)
    told = ["dbops_migrate_risk_accepted: %s has run out (until %s)." % (item, item.until) for item in accepted if item.expired(today)]
    unused = [item for item in accepted if item not in used and not item.expired(today)]
    return found, told + [
        "dbops_migrate_risk_accepted: %s covers nothing in this migration: remove it if it has been done." % item for item in unused
    ]
