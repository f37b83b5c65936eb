# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a database may be migrated, by the clock on the operator's wall. Pure: the server converts between time zones, so an hour that a
change of the clock leaves out, or gives twice, is what it is there."""

from __future__ import annotations

import datetime
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_KEYS = {"time_zone", "days", "from", "to", "holidays"}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")

_EXAMPLE = "window: {time_zone: Asia/Tokyo, days: [mon, tue, wed, thu], from: '20:00', to: '23:30', holidays: [2026-12-31]}"


@dataclass(frozen=True)
class Window:
    """Open on ``days`` (0: Monday) from minute ``begin`` to minute ``end`` of the day; where the end is not after the beginning, to that
    minute of the next day. A day is that on which it opens. ``holidays``: days on which it does not."""

    time_zone: str
    days: frozenset[int]
    begin: int
    end: int
    holidays: frozenset[datetime.date]

    def is_open(self, local: datetime.datetime) -> bool:
        minute = local.hour * 60 + local.minute
        today, yesterday = local.date(), local.date() - datetime.timedelta(days=1)
        if self.begin < self.end:
            return self._opens_on(today) and self.begin <= minute < self.end
        return (self._opens_on(today) and minute >= self.begin) or (self._opens_on(yesterday) and minute < self.end)

    def _opens_on(self, day: datetime.date) -> bool:
        return day.weekday() in self.days and day not in self.holidays

    def __str__(self) -> str:
        days = ", ".join(DAYS[day] for day in sorted(self.days))
        return "%s, %02d:%02d to %02d:%02d, %s" % (days, *divmod(self.begin, 60), *divmod(self.end, 60), self.time_zone)


def parse_window(given: t.Mapping[str, t.Any]) -> Window:
    """:raises DbopsError: where it makes no sense, or never opens."""
    unknown = sorted(set(given) - _KEYS)
    if unknown:
        raise _wrong("it has no '%s'" % unknown[0])
    days = given.get("days", list(DAYS))
    wrong = [day for day in days if str(day)[:3].lower() not in DAYS] if isinstance(days, list) else [days]
    if wrong or not days:
        raise _wrong("'days' is a list of mon, tue, wed, thu, fri, sat, sun" if wrong else "it never opens: 'days' is empty")
    begin, end = _minute("from", given.get("from", "00:00")), _minute("to", given.get("to", "24:00"))
    if begin == end:
        raise _wrong("it never opens: 'from' and 'to' are the same")
    numbers = frozenset(DAYS.index(str(day)[:3].lower()) for day in days)
    return Window(str(given.get("time_zone") or "UTC"), numbers, begin, end, _holidays(given.get("holidays") or ()))


def _minute(name: str, given: t.Any) -> int:
    """YAML 1.1 reads 20:00 without quotes as a number, 1200, which is the very minute of the day; a plain hour would be another one."""
    if isinstance(given, int) and not isinstance(given, bool) and 60 <= given <= 1440:
        return given
    match = _CLOCK.fullmatch(str(given).strip())
    if not match:
        raise _wrong("'%s' is a time such as '20:00', not '%s'" % (name, given))
    return int(match.group(1)) * 60 + int(match.group(2)) if match.group(1) else 1440


def _holidays(given: t.Any) -> frozenset[datetime.date]:
    try:
        return frozenset(datetime.date.fromisoformat(str(day)[:10]) for day in given)
    except (TypeError, ValueError):
        raise _wrong("'holidays' is a list of days such as 2026-12-31") from None


def _wrong(why: str) -> DbopsError:
    return DbopsError("The gate 'window' in dbops_migrate_gates is not right: %s. For example, %s" % (why, _EXAMPLE))
