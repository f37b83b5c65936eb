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
_TOLD = re.compile(r"^pg_(?:dump|restore): (?!(?:error|warning|detail|hint|fatal|query was): )(.*)$")

#: What stands before an error, and would not be printed without --verbose.
_BEGUN = re.compile(r'^(?:dumping contents of table|processing data for table) "?(.+?)"?$')
_LAUNCHED = re.compile(r"^(?:launching|processing) item \d+ (.+)$")
_FINISHED = re.compile(r"^finished item \d+ (.+)$")

#: What a table's rows are called in an archive's table of contents.
_ROWS = "TABLE DATA "


class ToolOutput:
    """Takes a tool's messages line by line; ``keep`` says which of them are left for whoever asks what went wrong."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun = self._finished = 0

    def keep(self, line: str) -> bool:
        told = _TOLD.match(line)
        if told:
            self._hear(told.group(1))
        return not told

    def _hear(self, said: str) -> None:
        begun, launched, finished = _BEGUN.match(said), _LAUNCHED.match(said), _FINISHED.match(said)
        item = ""
        if begun:
            self._begun += 1
            item = "table " + begun.group(1).replace('"', "")
        elif launched and not launched.group(1).startswith(_ROWS):
            item = _object(launched.group(1))
        elif finished and finished.group(1).startswith(_ROWS):
            self._finished += 1
        # One job alone says when it begins a table, not when it has finished it: the one before is done by then.
        self._progress.reach(self._finished or max(self._begun - 1, 0), item)


def _object(words: str) -> str:
    """``INDEX messages_pkey`` -> ``index messages_pkey``."""
    kind = " ".join(word for word in words.split() if word.isupper())
    return kind.lower() + words[len(kind) :] if words.startswith(kind) else words
