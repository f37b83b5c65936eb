# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan means for the database that it is for: findings, locks, and one level for all of it."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.risk._accepted import Acceptance, accept
from ansible_collections.dbops.postgres.plugins.module_utils.risk._columns import columns
from ansible_collections.dbops.postgres.plugins.module_utils.risk._commands import commands, runner
from ansible_collections.dbops.postgres.plugins.module_utils.risk._constraints import constraints, indexes
from ansible_collections.dbops.postgres.plugins.module_utils.risk._dropped import dropped, last_part, renamed
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import NOWHERE, Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._locks import HeldLock, held_locks
from ansible_collections.dbops.postgres.plugins.module_utils.risk._lookup import look_up
from ansible_collections.dbops.postgres.plugins.module_utils.risk._measured import Measured, put_in
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.risk._tables import numbers, tables, unexplained_rewrites
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan
from ansible_collections.dbops.postgres.plugins.module_utils.server import _activity
from ansible_collections.dbops.postgres.plugins.module_utils.server._activity import Activity, Look
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, told_refusals
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import sequences
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Everything that looks at the plan alone, in the order in which a person reads it.
_CHECKS: tuple[t.Callable[[Facts], t.Iterator[Finding]], ...] = (
    *(dropped, renamed, columns, constraints, indexes, tables, commands, runner),
)

#: Nobody waits long for us, nor we for anybody; and rows that a policy hides are an error, not absent.
_SETTINGS = ("row_security = off", "lock_timeout = '1s'", "statement_timeout = '5s'")

#: Seconds since the statistics began below which a rate says little.
_YOUNG = 300.0


@dataclass(frozen=True)
class Assessment:
    """``notes``: what could not be looked at, and what the inventory accepts in vain."""

    findings: tuple[Finding, ...] = ()
    locks: tuple[HeldLock, ...] = ()
    tables: tuple[Activity, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """The worst of what is not accepted."""
        levels = [finding.level for finding in self.findings if not finding.accepted]
        return max([*levels, *(lock.level for lock in self.locks if not self._accepted(lock))], default=Level.NONE)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.unknown)

    def _accepted(self, lock: HeldLock) -> bool:
        """Where what takes the time under a lock is accepted, so is the lock."""
        under = [finding for finding in self.findings if lock.first <= finding.statement <= lock.last and finding.seconds]
        return bool(under) and all(finding.accepted for finding in under)


def assess(
    connection: Connection,
    plan: Plan,
    first: Look | None,
    accepted: t.Sequence[Acceptance] = (),
    seconds: float = 10.0,
    today: datetime.date | None = None,
    measured: Measured | None = None,
) -> Assessment:
    """Judge a plan by the live database.

    :param connection: a session in the live database that only reads.
    :param first: a look at its tables before the plan was made; without it nothing is known of what goes on in them.
    :param seconds: for all questions about rows together; 0 asks none.
    :param measured: what a rehearsal of this very plan has measured.
    """
    notes: list[str] = []
    for setting in _SETTINGS:
        execute(connection, "SET " + setting)
    facts = Facts(plan, _tables(connection, plan, first, notes))
    findings = judge(facts)
    findings += [*numbers(facts, _numbers(connection, notes)), *_missing_extensions(connection, facts, notes)]
    if measured is not None:  # before the rows are asked: what they say today counts more than how quick it was
        findings = put_in(findings, facts, measured)
    if seconds > 0:
        findings = look_up(connection, facts, findings, seconds)
    elif measured is None:
        notes.append("The rows were not asked (dbops_migrate_look_up_seconds is 0).")
    findings, told = accept(findings, accepted, today or datetime.date.today())
    ordered = sorted(
        findings, key=lambda finding: (-finding.level, finding.statement if finding.statement != NOWHERE else len(plan.statements))
    )
    locks = held_locks(facts, findings, measured)
    touched = sorted({finding.table for finding in findings if finding.table} | {lock.table for lock in locks})
    shown = tuple(facts.tables[name] for name in touched if name in facts.tables)
    return Assessment(tuple(ordered), tuple(locks), shown, tuple(notes + told))


def judge(facts: Facts) -> list[Finding]:
    """What the plan alone and the tables' sizes tell; the rows are not asked yet."""
    found = [finding for check in _CHECKS for finding in check(facts)]
    return [*found, *unexplained_rewrites(facts, found)]


def _tables(connection: Connection, plan: Plan, first: Look | None, notes: list[str]) -> dict[str, Activity]:
    """All tables roughly, those that the plan touches exactly."""
    try:
        with told_refusals(connection):
            second = _activity.look(connection)
    except ServerError as error:
        notes.append("How large and how busy the tables are could not be read: %s" % error.message.splitlines()[0])
        return {}
    if first is None:
        first = second
    found = _activity.activity(first, second)
    if second.since is not None and second.since < _YOUNG:
        notes.append("The server's statistics began %d s ago: how busy its tables are is not known well." % second.since)
    for name in _touched(plan):
        if name in found:
            try:
                with told_refusals(connection):
                    found[name] = _activity.measured(connection, found[name])
            except ServerError as error:
                found[name] = replace(found[name], empty=False)
                notes.append(
                    "Table '%s' could not be measured (%s); its size is the last VACUUM's."
                    % (name, error.message.splitlines()[0].rstrip("."))
                )
    return found


def _touched(plan: Plan) -> list[str]:
    """Tables that were there before, and that are locked, or named by what the plan changes."""
    before, after = plan.objects
    held = {oid for statement in plan.statements for oid in statement.held}
    gone = {oid for oid in before.relations if oid not in after.relations}
    texts = " ".join(statement.sql for statement in plan.statements if statement.kind != "state").lower()
    named = {oid for oid, relation in before.relations.items() if last_part(relation.name).lower() in texts}
    return [
        before.relations[oid].name for oid in sorted(held | gone | named) if oid in before.relations and before.relations[oid].kind in "rpm"
    ]


def _numbers(connection: Connection, notes: list[str]) -> dict[str, tuple[int, int]]:
    try:
        with told_refusals(connection):
            return {item.name: (item.last, item.limit) for item in sequences(connection)}
    except ServerError as error:
        notes.append("How far its sequences are could not be read: %s" % error.message.splitlines()[0])
        return {}


def _missing_extensions(connection: Connection, facts: Facts, notes: list[str]) -> list[Finding]:
    wanted = sorted(set(facts.after.extensions) - set(facts.before.extensions))
    if not wanted:
        return []
    try:
        with told_refusals(connection):
            there = {name for (name,) in rows(connection, "SELECT name FROM pg_available_extensions")}
    except ServerError as error:
        notes.append("Which extensions the server has could not be read: %s" % error.message.splitlines()[0])
        return []
    return [
        facts.finding("extension-not-available", Level.HIGH, "extension " + name, facts.statement_saying("extension"))
        for name in wanted
        if name not in there
    ]
