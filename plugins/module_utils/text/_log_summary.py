# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A log in a few lines: the error lines, grouped by what is the same in them, with counts."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

#: A line that tells of trouble. PostgreSQL writes FATAL, PANIC and ERROR; programs write all kinds of things.
_TELLING = re.compile(
    r"\b(?:ERROR|FATAL|PANIC|CRITICAL|WARN(?:ING)?|[Ee]rror|[Ff]atal|[Pp]anic(?:ked)?|[Ee]xception|[Ff]ailed|[Rr]efused|[Dd]enied)\b|Traceback \(most recent"
    r"|terminated by signal|out of memory"
)
#: What only looks like it: the level of a structured line that is no error, a count of none.
_HARMLESS = re.compile(r"\b(?:0 errors?|errors?[\"']?[=:] ?(?:0|null|None|\"\"|nil)\b|no errors?)\b", re.IGNORECASE)

#: What differs from line to line and means nothing for the kind of error; the order counts.
_MASKS = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"\d{4}[-/]\d{2}[-/]\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?"), "<time>"),
    (re.compile(r"\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?\b"), "<time>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b(?:0x)?(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,}\b"), "<id>"),
    (re.compile(r"\d+"), "#"),
)

#: A line may be a megabyte of base64: more of it says nothing more.
_LONGEST = 500

#: Groups that are counted; further kinds of lines only count as "others", so memory stays bounded whatever a log holds.
_MOST_GROUPS = 500


@dataclass(frozen=True)
class LogGroup:
    """Lines that are the same but for numbers, times and ids: how many, and the newest of them."""

    count: int
    last: str


@dataclass(frozen=True)
class LogSummary:
    """``lines``: how many were read; ``groups``: error lines, the most frequent kind first; ``others``: error lines of further kinds.

    ``tail``: the last lines, whatever they say; ``last_errors``: the last error lines, in order.
    """

    lines: int = 0
    groups: tuple[LogGroup, ...] = ()
    others: int = 0
    tail: tuple[str, ...] = ()
    last_errors: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        return sum(group.count for group in self.groups) + self.others

    def mentions(self, *signs: str) -> str:
        """The newest kind of error line that holds one of these texts, else an empty text."""
        return next((group.last for group in self.groups if any(sign in group.last for sign in signs)), "")


def summarise(text: str, tail: int = 12) -> LogSummary:
    """Read a log. Bytes that are no text were replaced before; control characters are made visible as spaces."""
    return summarise_lines(text.splitlines(), tail)


def summarise_lines(lines: t.Iterable[str], tail: int = 12) -> LogSummary:
    """The same for any stream of lines, in memory that does not grow with it."""
    counted: dict[str, list[t.Any]] = {}
    number = others = 0
    last: list[str] = []
    errors: list[str] = []
    for line in lines:
        line = _plain(line[:_LONGEST])
        if not line:
            continue
        number += 1
        last = [*last, line][-tail:]
        if not is_telling(line):
            continue
        errors = [*errors, line][-tail:]
        kind = masked(line)
        if kind in counted:
            counted[kind] = [counted[kind][0] + 1, line]
        elif len(counted) < _MOST_GROUPS:
            counted[kind] = [1, line]
        else:
            others += 1
    groups = sorted((LogGroup(*found) for found in counted.values()), key=lambda group: -group.count)
    return LogSummary(number, tuple(groups), others, tuple(last), tuple(errors))


def is_telling(line: str) -> bool:
    return bool(_TELLING.search(line)) and not _HARMLESS.search(line)


def masked(line: str) -> str:
    """What is the same in all lines of one kind."""
    for pattern, word in _MASKS:
        line = pattern.sub(word, line)
    return " ".join(line.split())


def _plain(line: str) -> str:
    """Without colours and control characters, which would do things to the terminal that shows it."""
    line = _MASKS[0][0].sub("", line)
    return "".join(sign if sign.isprintable() else " " for sign in line).strip()
