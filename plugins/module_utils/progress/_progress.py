# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a run is: its phase, the tables that are done, bytes, rate and time left.

Whoever works says what it does; another thread asks where that stands. Nothing here can make the work fail.
"""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from collections import deque
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text, size_text

#: Seconds over which the rate is taken: what was fast an hour ago tells nothing of the time that is left.
_WINDOW = 30.0

#: Seconds between two questions: measuring a database of many thousand files is work as well.
_BETWEEN_QUESTIONS = 2.0

#: Below this share nothing is said of the time left: the first seconds would promise too much.
_TELLING_SHARE = 0.02


@dataclass(frozen=True)
class Standing:
    """Where a run stands. Sizes in bytes, times in seconds; 0 is not known, and an empty text is nothing."""

    phase: str
    seconds: float
    phase_seconds: float
    part: str = ""
    tables_done: int = 0
    tables: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    rate: float = 0.0
    left: float = 0.0
    item: str = ""

    @property
    def line(self) -> str:
        """In one line for a person."""
        told = []
        if self.tables:
            told.append("%d of %d tables" % (self.tables_done, self.tables))
        if self.bytes_done:
            total = " of about %s" % size_text(self.bytes_total) if self.bytes_total >= self.bytes_done else ""
            told.append(size_text(self.bytes_done) + total)
        told += ["%s/s" % size_text(self.rate)] if self.rate >= 1 else []
        told += ["about %s left" % duration_text(max(self.left, 1))] if self.left else []
        told += [self.item] if self.item else []
        part = " (%s)" % self.part if self.part else ""
        return "%s%s, %s%s" % (self.phase, part, duration_text(self.phase_seconds), ": " + ", ".join(told) if told else "")


class Progress:
    """What a run says of itself while it works."""

    def __init__(self, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._mutex = threading.Lock()
        self._asking = threading.Lock()
        self._part = ""
        self._source: t.Callable[[], int] | None = None
        self._asked = 0.0
        self._restart("starting")

    def _restart(self, phase: str) -> None:
        self._phase, self._phase_begun = phase, self._clock()
        self._tables = self._tables_done = self._total = 0
        self._item = ""
        self._samples: deque[tuple[float, int]] = deque()

    # --- said by the work -----------------------------------------------------------------------------------------------

    def enter(self, phase: str) -> None:
        """A new phase: nothing of the one before counts any more."""
        with self._mutex:
            self._restart(phase or "ending")

    def part(self, text: str) -> None:
        """Which of several like pieces of work this is: ``backup 2 of 5``."""
        with self._mutex:
            self._part = text

    def expect(self, tables: int = 0, total: int = 0) -> None:
        """How much there is to do in this phase: tables, and bytes."""
        with self._mutex:
            self._tables, self._total = tables or self._tables, total or self._total

    def reach(self, tables_done: int, item: str = "") -> None:
        """How many tables are done by now, and what is worked on."""
        with self._mutex:
            self._tables_done, self._item = tables_done, item

    def reach_bytes(self, done: int) -> None:
        with self._mutex:
            self._sample(done)

    def table_done(self, name: str) -> None:
        """One table more, in whatever order."""
        with self._mutex:
            self._tables_done, self._item = self._tables_done + 1, "table %s done" % name

    @contextlib.contextmanager
    def measuring(self, source: t.Callable[[], int]) -> t.Iterator[None]:
        """For as long as this lasts, ``source`` is asked how many bytes are done, from the other thread."""
        self._source, self._asked = source, 0.0
        try:
            yield
        finally:
            with self._asking:  # a question under way ends before what it asks is taken away
                self._source = None

    # --- asked by the one who tells --------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        measured = self._ask()
        with self._mutex:
            if measured is not None:
                self._sample(measured)
            now = self._clock()
            done = self._samples[-1][1] if self._samples else 0
            rate = self._rate()
            known = self._total > done >= self._total * _TELLING_SHARE
            return Standing(
                phase=self._phase,
                seconds=round(now - self._begun, 1),
                phase_seconds=round(now - self._phase_begun, 1),
                part=self._part,
                tables_done=min(self._tables_done, self._tables),
                tables=self._tables,
                bytes_done=done,
                bytes_total=self._total,
                rate=round(rate, 1),
                left=round((self._total - done) / rate, 1) if known and rate >= 1 else 0.0,
                item=self._item,
            )

    def _ask(self) -> int | None:
        with self._asking:
            now = self._clock()
            if self._source is None or (self._asked and now - self._asked < _BETWEEN_QUESTIONS):
                return None
            self._asked = now
            try:
                return self._source()
            except (DbopsError, OSError, ValueError):
                return None  # what cannot be measured is not told

    def _sample(self, done: int) -> None:
        now = self._clock()
        self._samples.append((now, done))
        while now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()

    def _rate(self) -> float:
        """Bytes per second in the window; the phase's beginning counts while it is in it."""
        if not self._samples:
            return 0.0
        (then, before), (now, done) = self._samples[0], self._samples[-1]
        if now - then < 1:
            then, before = self._phase_begun, 0
        return max(done - before, 0) / (now - then) if now > then else 0.0
