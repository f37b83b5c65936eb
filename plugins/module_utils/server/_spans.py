# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen at one look after the other, as spans: from when to when each thing was there."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Span:
    """From when to when, in seconds of one clock. ``what``: a lock's name, or a statement's text; ``table``: of a lock, its oid."""

    begun: float
    ended: float
    what: str
    table: int = 0

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


class Spans:
    """Follows what is seen again and again.

    :param interval: seconds between two looks: what is seen for the first time may have begun as long ago.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._going_on: dict[tuple[str, int, t.Any], Span] = {}
        self._over: list[Span] = []

    def look(self, now: float, seen: t.Iterable[tuple[str, int, t.Any]]) -> None:
        """What is there now, with whose it is: of somebody else it is another span. What is not there any more has ended since the last look,
        by now at the latest."""
        there = set(seen)
        for key in [key for key in self._going_on if key not in there]:
            self._over.append(replace(self._going_on.pop(key), ended=now))
        for key in there:
            span = self._going_on.get(key, Span(max(0.0, now - self._interval), now, key[0], key[1]))
            self._going_on[key] = replace(span, ended=now)

    def all(self) -> list[Span]:
        """In the order in which they began."""
        return sorted([*self._over, *self._going_on.values()], key=lambda span: (span.begun, span.table, span.what))
