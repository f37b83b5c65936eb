# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of a server that we did not set up: whether it can be read, and what it says was refused.

Which settings decide that: https://www.postgresql.org/docs/current/runtime-config-logging.html
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server import _statements
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import row

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: What a line begins with may hold anything, but where it tells the process: %p, or %c, whose second half it is in hexadecimal.
_ESCAPE = re.compile(r"%(-?\d+)?([a-zA-Z%])")
_PROCESS = {"p": r" *(?P<pid>\d+) *", "c": r" *[0-9a-f]+\.(?P<hexpid>[0-9a-f]+) *"}

#: Levels at which an error is not logged, or not with its statement.
_TOO_QUIET = ("log", "fatal", "panic")


@dataclass(frozen=True)
class ServerLog:
    """How a server logs. ``unreadable``: why what it refuses cannot be told from its container's log, empty where it can."""

    prefix: str
    unreadable: str


def read_server_log(connection: Connection) -> ServerLog:
    prefix, destination, collector, messages, statements, language = row(
        connection,
        "SELECT current_setting('log_line_prefix'), current_setting('log_destination'), current_setting('logging_collector'),"
        " current_setting('log_min_messages'), current_setting('log_min_error_statement'), current_setting('lc_messages')",
    )
    reasons = (
        (collector == "on", "logging_collector is on, so the server logs into files"),
        ("stderr" not in destination.split(","), "log_destination is %s" % destination),
        (messages in _TOO_QUIET, "log_min_messages is %s" % messages),
        (statements in _TOO_QUIET, "log_min_error_statement is %s" % statements),
        (not re.match(r"$|C\b|POSIX|en", language), "lc_messages is %s" % language),
        (not _tells_process(prefix), "log_line_prefix has no %p"),
    )
    return ServerLog(prefix, next((reason for applies, reason in reasons if applies), ""))


def refused(log: ServerLog, database: str, text: str) -> list[_statements.Failed]:
    """What the server refused and its client lost by it, by session; of other databases too, where the log does not tell them apart.

    The log tells neither transactions nor savepoints: only statements that change something count, and not what was there already.
    """
    entry = re.compile(_pattern(log.prefix, database) + r"(?P<level>[A-Z]+):  (?P<message>.*)$", re.DOTALL)
    return [failed for failed in _statements.read_failures(text, entry) if not failed.caught and failed.sql]


def _tells_process(prefix: str) -> bool:
    return any(letter in _PROCESS for _width, letter in _ESCAPE.findall(prefix))


def _pattern(prefix: str, database: str) -> str:
    """The regular expression of ``log_line_prefix`` in this database. After ``%q`` comes what only sessions have, and sessions are all that counts."""
    parts, end, told = ["^"], 0, False
    for escape in _ESCAPE.finditer(prefix):
        parts.append(re.escape(prefix[end : escape.start()]))
        letter, end = escape.group(2), escape.end()
        if letter in _PROCESS and not told:
            parts.append(_PROCESS[letter])
            told = True
        elif letter != "q":
            parts.append({"%": "%", "d": " *%s *" % re.escape(database)}.get(letter, ".*?"))
    return "".join(parts) + re.escape(prefix[end:])
