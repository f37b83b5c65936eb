# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The append-only history of operations: one JSON object a line, under the backup folder."""

from __future__ import annotations

import errno
import json
import os
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

FILE_NAME = "journal.jsonl"

#: The operations that migrate a database, as lines call them.
MIGRATES = ("migrate", "deploy")

#: What a line about a branch calls its operation; all other lines are operations.
BRANCH = "branch"


def append(folder: str, entry: t.Mapping[str, t.Any]) -> None:
    """Add one line and see it on the disk. One ``write`` to a file opened for appending, so lines of two runs never mix."""
    path = os.path.join(folder, FILE_NAME)
    line = (json.dumps(entry, sort_keys=True, default=str) + "\n").encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a crash cut the last line short; it must not take this one with it
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DbopsError("The journal '%s' cannot be written: %s." % (path, error.strerror)) from None


def read(folder: str, last: int = 1000) -> list[dict[str, t.Any]]:
    """The newest entries, oldest first. What is no entry (a line that a crash cut short, a stranger's) is passed over."""
    try:
        with open(os.path.join(folder, FILE_NAME), encoding="utf-8", errors="replace") as stream:
            lines = stream.readlines()[-last:]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DbopsError("The journal in '%s' cannot be read: %s." % (folder, error.strerror)) from None
    return [entry for entry in map(_parsed, lines) if entry]


def _parsed(line: str) -> dict[str, t.Any]:
    """An entry, empty where the line is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
