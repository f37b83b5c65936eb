# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backups are kept, and why each: the words and the way of restic's forget, and what is never removed. Pure.

Of each hour, day, week, month and year the newest backup is kept, so many periods back as the policy says; a period without a backup
does not count (https://restic.readthedocs.io/en/stable/060_forget.html). What is proved to come back is preferred, never at the cost of
what restic would keep. Backups of other servers are left alone: who uses them cannot be known here.
"""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, PROVED

#: What begins the reason of a backup that an operation makes before its work.
_BEFORE = "before_"

#: How far the clock of a backup may be ahead of this one's.
_AHEAD = datetime.timedelta(minutes=5)

#: A count that has no end.
UNLIMITED = -1

_WITHIN = re.compile(r"(?=.)(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?")


@dataclass(frozen=True)
class Within:
    """A length of time by the calendar."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def before(self, moment: datetime.datetime) -> datetime.datetime:
        """So long before a moment; of a month that is shorter, its last day."""
        months = moment.year * 12 + moment.month - 1 - self.years * 12 - self.months
        if months < 12:
            return datetime.datetime.min.replace(tzinfo=moment.tzinfo)
        year, month = months // 12, months % 12 + 1
        first_of_next = datetime.date(year + month // 12, month % 12 + 1, 1)
        last = (first_of_next - datetime.timedelta(days=1)).day
        return moment.replace(year=year, month=month, day=min(moment.day, last)) - datetime.timedelta(days=self.days, hours=self.hours)


@dataclass(frozen=True)
class Policy:
    """How many are kept; ``UNLIMITED`` keeps all of that kind. ``pin_days``: how long one that was made before an operation is.

    :param without_proof: remove also while the newest backup is not proved.
    :param time_zone: by whose clock a day begins; ``Candidate.local`` is on it.
    :param kept_database_days: days that replaced databases are kept, -1 for ever; their backups are pinned for as long.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: Within | None = None
    pin_days: int = 30
    without_proof: bool = False
    time_zone: str = "UTC"
    kept_database_days: int = -1

    @property
    def keeps_nothing(self) -> bool:
        counts = (self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly)
        return not any(counts) and self.keep_within in (None, Within())


@dataclass(frozen=True)
class Candidate:
    """A backup as the policy sees it. ``local``: when it was made, in the operator's time zone, without one.

    :param own: whether the server made it that is asked now.
    :param proof: its state; :param transaction: how many transactions its server had counted.
    :param kept_database: the replaced database that it was made of, where that is still there.
    """

    id: str
    own: bool
    created: datetime.datetime
    local: datetime.datetime
    reason: str = ""
    proof: str = ""
    transaction: int = 0
    kept_database: str = ""


#: Each kind of period: its name, and what is the same for all backups in one.
_PERIODS: tuple[tuple[str, t.Callable[[datetime.datetime], str]], ...] = (
    ("hourly", lambda local: local.strftime("%Y-%m-%d %H:00")),
    ("daily", lambda local: local.strftime("%Y-%m-%d")),
    ("weekly", lambda local: "%d-W%02d" % tuple(local.isocalendar())[:2]),
    ("monthly", lambda local: local.strftime("%Y-%m")),
    ("yearly", lambda local: local.strftime("%Y")),
)


def parse_within(text: str) -> Within | None:
    """``1y6m``, ``2w``, ``7d12h``: years, months, weeks, days, hours, in this order; none where it is no such length."""
    match = _WITHIN.fullmatch(text.strip())
    if not match:
        return None
    years, months, weeks, days, hours = (int(part or 0) for part in match.groups())
    return Within(years, months, weeks * 7 + days, hours)


def why_kept(candidates: t.Iterable[Candidate], policy: Policy, now: datetime.datetime) -> dict[str, tuple[str, ...]]:
    """Of each backup, by id, why it is kept: phrases for a person. One without any may go."""
    ordered = sorted(candidates, key=lambda candidate: (candidate.created, candidate.id), reverse=True)
    found = {candidate.id: _by_itself(candidate, policy, now) for candidate in ordered}
    past = [candidate for candidate in ordered if candidate.own and not lies_ahead(candidate.created, now)]
    for name, candidate in [*_never_removed(past), *_by_policy(past, policy)]:
        if name not in found[candidate.id]:
            found[candidate.id].append(name)
    stops = what_stops(past, policy, now)
    for phrases in found.values():
        if stops and not phrases:
            phrases.append(held_by(stops))
    return {name: tuple(phrases) for name, phrases in found.items()}


def what_stops(candidates: t.Iterable[Candidate], policy: Policy, now: datetime.datetime) -> Candidate | None:
    """The backup because of which nothing goes: the newest of all, or the newest that is not the state that a restore has replaced, where it
    is not proved."""
    past = [candidate for candidate in candidates if candidate.own and not lies_ahead(candidate.created, now)]
    past.sort(key=lambda candidate: (candidate.created, candidate.id), reverse=True)
    heads = [*past[:1], *[candidate for candidate in past if candidate.reason != BEFORE_RESTORE][:1]]
    return next((head for head in heads if head.proof != PROVED and not policy.without_proof), None)


def held_by(newest: Candidate) -> str:
    return "the newest, '%s', %s" % (newest.id, "did not come back" if newest.proof == FAILED else "is not proved")


def lies_ahead(created: datetime.datetime, now: datetime.datetime) -> bool:
    """Whether a backup's time is in the future, by more than two clocks differ."""
    return created > now + _AHEAD


def _counts(candidate: Candidate) -> bool:
    """Whether it may stand for its day: not one that does not come back, nor the state that a restore has replaced."""
    return candidate.proof != FAILED and candidate.reason != BEFORE_RESTORE


def _by_itself(candidate: Candidate, policy: Policy, now: datetime.datetime) -> list[str]:
    found = []
    if not candidate.own:
        found.append("of another server: remove it by hand when nobody needs it any more")
    if lies_ahead(candidate.created, now):
        found.append("its time lies in the future")
    days = policy.pin_days + (max(policy.kept_database_days, 0) if candidate.reason == BEFORE_RESTORE else 0)
    pinned_until = candidate.created + datetime.timedelta(days=days)
    if candidate.reason.startswith(_BEFORE) and pinned_until > now:
        found.append("pinned until %s (%s)" % (pinned_until.strftime("%Y-%m-%d"), candidate.reason))
    if candidate.kept_database:
        found.append("the replaced database '%s' is kept" % candidate.kept_database)
    return found


def _never_removed(past: t.Sequence[Candidate]) -> t.Iterator[tuple[str, Candidate]]:
    if not past:
        return
    yield "the newest", past[0]
    last = max(past, key=lambda candidate: candidate.transaction)
    if last.transaction > past[0].transaction:  # the clock of the host was set back
        yield "the newest by the server's count of transactions", last
    good = [candidate for candidate in past if _counts(candidate)]
    for name, candidates in (("the newest that is proved", past), ("the newest proved that 'latest' can mean", good)):
        proved = [candidate for candidate in candidates if candidate.proof == PROVED]
        if proved:
            yield name, proved[0]
    if good:
        yield "the newest that 'latest' can mean", good[0]


def _by_policy(past: t.Sequence[Candidate], policy: Policy) -> t.Iterator[tuple[str, Candidate]]:
    """What the policy keeps of those that come back as far as anybody knows, of these where they are proved, and of all of them: so one that
    does not come back pushes out no good one, and goes no earlier than it would without a proof.

    :param past: newest first.
    """
    of_use = [candidate for candidate in past if candidate.reason != BEFORE_RESTORE]
    good = [candidate for candidate in of_use if candidate.proof != FAILED]
    proved = [candidate for candidate in good if candidate.proof == PROVED]
    for candidates in (good, of_use):
        yield from _within(candidates, policy)
        yield from _by_period(candidates, policy)
    periods = {name for name, _candidate in _by_period(good, policy)}
    yield from ((name, candidate) for name, candidate in _by_period(proved, replace(policy, **_ALL)) if name in periods)


def _within(candidates: t.Sequence[Candidate], policy: Policy) -> t.Iterator[tuple[str, Candidate]]:
    for number, candidate in enumerate(candidates):
        if policy.keep_last == UNLIMITED or number < policy.keep_last:
            yield "last", candidate
    if policy.keep_within and candidates:
        begin = policy.keep_within.before(candidates[0].created)
        for candidate in candidates:
            if candidate.created > begin:
                yield "within", candidate


def _by_period(candidates: t.Sequence[Candidate], policy: Policy) -> t.Iterator[tuple[str, Candidate]]:
    for name, period_of in _PERIODS:
        count = getattr(policy, "keep_" + name)
        seen: set[str] = set()
        for candidate in candidates:
            period = period_of(candidate.local)
            if period not in seen and (count == UNLIMITED or len(seen) < count):
                seen.add(period)
                yield "%s %s" % (name, period), candidate


#: Every period there is.
_ALL: dict[str, t.Any] = {"keep_" + name: UNLIMITED for name, _period in _PERIODS}
