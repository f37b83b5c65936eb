# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``pg_dump`` and ``pg_restore`` say with ``--verbose``: which table is begun and which is done.

Only what goes wrong is left of their output, so that it is the same as without ``--verbose``, of any length.
"""

from __future__ import annotations

import re

from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress

#: Errors, warnings and what belongs to them have one of these words (https://www.postgresql.org/docs/current/app-pgdump.html, --verbose).
#: Two workers may write into each other's line: what has the tool's name twice is kept, whatever it is.
_TOLD = re.compile(r"^pg_(?:dump|restore): (?!\s*(?:pg_dump|pg_restore|error|warning|detail|hint|fatal|query was): )(.*)$")

#: What stands before an error, and would not be printed without --verbose.
_BEGUN = re.compile(r'^(?:dumping contents of table|processing data for table) "?(.+?)"?$')
_LAUNCHED = re.compile(r"^(?:launching|processing) item (\d+) (.+)$")
_FINISHED = re.compile(r"^finished item (\d+) (.+)$")

#: What a table's rows are called in an archive's table of contents.
_ROWS = "TABLE DATA "


class ToolOutput:
    """Takes a tool's messages line by line; ``keep`` says which of them are left for whoever asks what went wrong."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun = self._finished = 0
        self._under_way: dict[str, str] = {}

    def keep(self, line: str) -> bool:
        told = _TOLD.match(line)
        if told:
            self._hear(told.group(1))
        return not told

    def _hear(self, said: str) -> None:
        begun, launched, finished = _BEGUN.match(said), _LAUNCHED.match(said), _FINISHED.match(said)
        if begun:
            self._begin_table(begun.group(1).replace('"', ""))
        elif launched:
            self._under_way[launched.group(1)] = _object(launched.group(2))
        elif finished:
            self._finish(finished.group(1), finished.group(2))
        # One job alone says when it begins a table, not when it has finished it: the one before is done by then.
        self._progress.reach(self._finished or max(self._begun - 1, 0), self._told())

    def _told(self) -> str:
        """What has been under way for longest, so that the one large table is seen behind many small ones; of one job alone, the last."""
        items = list(self._under_way.values())
        several = self._finished or any(key.isdigit() for key in self._under_way)
        return items[0 if several else -1] if items else ""

    def _begin_table(self, name: str) -> None:
        """pg_dump says only this of what it begins, pg_restore has said before which item it is."""
        self._begun += 1
        if not any(key.isdigit() for key in self._under_way):
            self._under_way[name] = "table " + name

    def _finish(self, number: str, words: str) -> None:
        rows = words.startswith(_ROWS)
        self._finished += rows
        if rows and number not in self._under_way:
            number = next((name for name in self._under_way if name.rpartition(".")[2] == words[len(_ROWS) :]), number)
        self._under_way.pop(number, None)


def _object(words: str) -> str:
    """``INDEX messages_pkey`` -> ``index messages_pkey``, ``TABLE DATA users`` -> ``table users``."""
    if words.startswith(_ROWS):
        return "table " + words[len(_ROWS) :]
    kind = " ".join(word for word in words.split() if word.isupper())
    return kind.lower() + words[len(kind) :] if words.startswith(kind) else words
