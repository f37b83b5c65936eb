# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server's log says was executed: statements by session, split, classified, without what was rolled back.

The log is in the stderr format with ``log_statement = all`` and ``log_line_prefix = 'dbops|%p|'``; the lines after the first of
an entry begin with a tab (https://www.postgresql.org/docs/current/runtime-config-logging.html).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

LOG_LINE_PREFIX = "dbops|%p|"

#: Server options that make the log readable for this file.
LOG_OPTIONS = (
    "log_statement=all",
    "log_line_prefix=" + LOG_LINE_PREFIX,
    "log_min_messages=warning",
    "log_min_error_statement=error",
    "log_error_verbosity=default",
    "log_destination=stderr",
    "logging_collector=off",
    "lc_messages=C",
)


def governs_the_log(setting: str) -> bool:
    """Whether a database's or role's own setting of this name would change what the log says."""
    return setting.startswith(("log_", "lc_messages", "debug_", "auto_explain."))


_ENTRY = re.compile(
    r"^dbops\|(?P<pid>\d+)\|(?P<level>LOG|ERROR|FATAL|PANIC|DETAIL|STATEMENT|HINT|CONTEXT|WARNING):  (?P<message>.*)$", re.DOTALL
)
_TOOK = re.compile(r"^duration: (\d+(?:\.\d+)?) ms$")
_EXECUTED = re.compile(r"^(?:statement|execute [^:]*): (.*)$", re.DOTALL)
_QUOTED = re.compile(
    r"""(?P<dollar>\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)|(?P<escape>[eE]'(?:[^'\\]|\\.|'')*'?)|(?P<string>'(?:[^']|'')*'?)"""
    r"""|(?P<name>"(?:[^"]|"")*"?)|(?P<line>--[^\n]*)|(?P<block>/\*)|(?P<end>;)""",
    re.DOTALL,
)
_TERMINATED = re.compile(r"terminating connection|connection to client lost|the database system is")
_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))*'
_DATA = re.compile(r"^(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|COPY\s+(?!\().*\bFROM\b)", re.IGNORECASE | re.DOTALL)
_DATA_INSIDE = re.compile(
    r"\b(?:INSERT\s+INTO\b|UPDATE\s+(?:ONLY\s+)?%s(?:\s*\*)?(?:\s+(?:AS\s+)?%s)?\s+SET\b|DELETE\s+FROM\b|MERGE\s+INTO\b|TRUNCATE\b|setval\s*\()"
    % (_NAME, _NAME),
    re.IGNORECASE,
)
_DATA_TARGET = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|MERGE\s+INTO|COPY)\s+(%s)"
    r"|\bTRUNCATE(?:\s+TABLE)?(?:\s+ONLY)?\s+(%s(?:\s*\*?\s*,\s*(?:ONLY\s+)?%s)*)" % (_NAME, _NAME, _NAME),
    re.IGNORECASE,
)
_ATOMIC = re.compile(r"^CREATE\s.*\bBEGIN\s+ATOMIC\b", re.IGNORECASE | re.DOTALL)
_SCHEMA = re.compile(
    r"^(?:CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|REINDEX|VACUUM|CLUSTER|REFRESH|LOCK|SECURITY|IMPORT|REASSIGN|DO|CALL|ANALYZE)\b",
    re.IGNORECASE,
)
_LITERAL = re.compile(
    r"""(?P<kept>"(?:[^"]|"")*"?|\$\d+|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*(?!['\w]))|[eEbBxXnN]?'(?:[^'\\]|\\.|'')*'?"""
    r"""|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?""",
    re.DOTALL,
)
_PASSWORD = re.compile(r"(\bPASSWORD\s+)(?:[eE]?'(?:[^'\\]|''|\\.)*'|\$(\w*)\$.*?\$\2\$)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Executed:
    """One text that a client sent and the server executed; it may hold several statements.

    ``transaction``: the same number for all texts of one transaction; one that stands alone has its own. ``seconds``: how long the server worked
    on it, where its log tells (``log_duration``).
    """

    session: int
    sql: str
    transaction: int = 0
    seconds: float | None = None


@dataclass
class Failed:
    """A statement that the server refused; ``sql`` is empty where a whole session was refused.

    ``caught``: the client has meant to go on, and nothing was lost by it: it rolled back to a savepoint, it only asked whether something
    is there, or found that something is there already.
    """

    sql: str
    error: str
    caught: bool
    session: int = 0


def failures_text(failures: t.Sequence[Failed]) -> str:
    """The first of them, for a sentence; empty where there are none."""
    told = ["'%s': %s" % (" ".join(failed.sql.split())[:200], failed.error) if failed.sql else failed.error for failed in failures[:3]]
    return "; ".join(told) + (" and %d more" % (len(failures) - 3) if len(failures) > 3 else "")


def failure_facts(failures: t.Sequence[Failed]) -> list[dict[str, t.Any]]:
    """The same as data for a result."""
    return [{"sql": failed.sql, "error": failed.error, "caught": failed.caught} for failed in failures]


def read_log(text: str) -> list[Executed]:
    """The texts that were executed and not rolled back, in order."""
    done, _sessions = _follow(text)
    return [executed for _position, executed in sorted(done, key=lambda item: item[0])]


def read_left_open(text: str) -> list[Executed]:
    """What was executed in transactions that nobody ended: the server rolled it back when the client went."""
    _done, sessions = _follow(text)
    return [executed for session in sessions for executed in session.left_open() if _changes(executed.sql)]


def read_failures(text: str, entry: re.Pattern[str] = _ENTRY) -> list[Failed]:
    """What the server refused, by session.

    :param entry: what an entry of this log looks like, with the groups ``level``, ``message`` and either ``pid`` or ``hexpid``.
    """
    _done, sessions = _follow(text, entry)
    return [failed for session in sessions for failed in session.failures]


def _follow(text: str, entry: re.Pattern[str] = _ENTRY) -> tuple[list[tuple[int, Executed]], list[_Session]]:
    sessions: dict[int, _Session] = {}
    done: list[tuple[int, Executed]] = []
    for position, (pid, level, message) in enumerate(_entries(text, entry)):
        session = sessions.setdefault(pid, _Session(pid))
        if level in ("ERROR", "FATAL", "PANIC"):
            session.fail(message, ends=level != "ERROR")
        elif level == "STATEMENT":
            session.blame(message, done)
        elif level == "LOG":
            match = _EXECUTED.match(message)
            took = _TOOK.match(message)
            if match:
                session.execute(position, Executed(pid, match.group(1)), done)
            elif took:
                session.took(float(took.group(1)) / 1000)
    for session in sessions.values():
        session.settle(done)
    return done, list(sessions.values())


class _Session:
    """Follows one session's transaction: what it executed counts when it commits."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._open = False
        self._begun = 0
        self._failed = False
        self._pending: list[tuple[int, Executed]] = []
        self._savepoints: list[tuple[str, int]] = []
        self._last: tuple[int, Executed] | None = None
        self._suspect: tuple[int, Executed] | None = None
        self._error = ""
        self._uncaught: list[Failed] = []
        self.failures: list[Failed] = []

    def fail(self, error: str, ends: bool) -> None:
        """Something failed: the statement that was logged last, unless ``blame`` says otherwise."""
        self._suspect, self._last = self._last, None
        self._failed = self._open
        self._error = error.splitlines()[0]
        if ends and not _TERMINATED.search(error):
            self.failures.append(Failed("", self._error, caught=False, session=self._pid))

    def blame(self, text: str, done: list[tuple[int, Executed]]) -> None:
        """The statement that failed. One that fails while it is parsed is never logged as executed, so the last one did succeed."""
        suspect, self._suspect = self._suspect, None
        if suspect and suspect[1].sql.strip() != text.strip():
            self._last = suspect
            self.settle(done)
        self._remember(text)

    def _remember(self, text: str) -> None:
        """Whether a failure cost anything: what it was to change itself, or what its transaction had changed before."""
        lost = self._open and any(_changes(executed.sql) for _position, executed in self._pending)
        caught = not lost and (not _changes(text) or "already exists" in self._error)
        failed = Failed(text.strip(), self._error, caught, self._pid)
        self.failures.append(failed)
        if self._open:
            self._uncaught.append(failed)

    def execute(self, position: int, executed: Executed, done: list[tuple[int, Executed]]) -> None:
        self.settle(done)
        for statement in split_statements(executed.sql):
            self._control(statement.upper().rstrip("; \n\t").split(), done, position)
        self._last = (position, replace(executed, transaction=self._begun if self._open else position))

    def took(self, seconds: float) -> None:
        """A step of the statement that was logged last; parsing and binding the next one count with it, which is little."""
        if self._last:
            position, executed = self._last
            self._last = (position, replace(executed, seconds=(executed.seconds or 0.0) + seconds))

    def left_open(self) -> list[Executed]:
        return [executed for _position, executed in self._pending] if self._open and not self._failed else []

    def settle(self, done: list[tuple[int, Executed]]) -> None:
        """The statement before this one had no error."""
        if self._last is None:
            return
        if self._open:
            self._pending.append(self._last)
        else:
            done.append(self._last)
        self._last = None

    def _control(self, words: list[str], done: list[tuple[int, Executed]], position: int) -> None:
        first = words[0] if words else ""
        if first == "BEGIN" or words[:2] == ["START", "TRANSACTION"]:
            self._open, self._failed, self._pending, self._savepoints, self._uncaught = True, False, [], [], []
            self._begun = position
        elif first == "SAVEPOINT" and len(words) > 1:
            self._savepoints.append((words[1], len(self._pending)))
        elif first == "RELEASE" and self._savepoints:
            names = [name for name, _position in self._savepoints]
            if words[-1] in names:
                del self._savepoints[len(names) - 1 - names[::-1].index(words[-1]) :]
        elif first == "ROLLBACK" and "TO" in words:
            self._roll_back_to(words[-1])
        elif first in ("COMMIT", "END", "ROLLBACK", "ABORT") and words[1:2] != ["PREPARED"]:
            if first in ("COMMIT", "END") and not self._failed:
                done.extend(self._pending)
            self._open, self._failed, self._pending = False, False, []

    def _roll_back_to(self, name: str) -> None:
        for index in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[index][0] == name:
                del self._pending[self._savepoints[index][1] :]
                del self._savepoints[index + 1 :]
                break
        self._failed = False
        for failed in self._uncaught:
            failed.caught = True


def _entries(text: str, entry: re.Pattern[str]) -> t.Iterator[tuple[int, str, str]]:
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("\t") and lines:
            lines.append(line[1:])
            continue
        yield from _entry("\n".join(lines), entry)
        lines = [line]
    yield from _entry("\n".join(lines), entry)


def _entry(text: str, entry: re.Pattern[str]) -> t.Iterator[tuple[int, str, str]]:
    match = entry.match(text)
    if match:
        groups = match.groupdict()
        yield int(groups["pid"]) if groups.get("pid") else int(groups["hexpid"], 16), groups["level"], groups["message"]


def split_statements(text: str) -> list[str]:
    """The single statements of a text, without comments; semicolons inside quotes, dollar quotes and comments do not split."""
    statements, current, position = [], "", 0
    while position < len(text):
        match = _QUOTED.search(text, position)
        if match is None:
            break
        current += text[position : match.start()]
        position = match.end()
        if match.lastgroup == "end" and not _inside_atomic_body(current):
            statements.append(current)
            current = ""
        elif match.lastgroup == "dollar":
            position = _end_of_dollar(text, match)
            current += text[match.start() : position]
        elif match.lastgroup == "block":
            position = _end_of_block(text, match.end())
            current += " "
        elif match.lastgroup == "line":
            current += " "
        else:
            current += match.group()
    statements.append(current + text[position:])
    return [statement.strip() for statement in statements if statement.strip()]


def _inside_atomic_body(text: str) -> bool:
    """Whether a function's ``BEGIN ATOMIC`` body is still open (https://www.postgresql.org/docs/current/sql-createfunction.html)."""
    text = without_strings(text).strip()
    if not _ATOMIC.match(text):
        return False
    return len(re.findall(r"\b(?:BEGIN\s+ATOMIC|CASE)\b", text, re.IGNORECASE)) > len(re.findall(r"\bEND\b", text, re.IGNORECASE))


def _end_of_dollar(text: str, match: re.Match[str]) -> int:
    if match.start() and (text[match.start() - 1].isalnum() or text[match.start() - 1] in "_$"):
        return match.end()  # part of a name, such as a$b$c
    end = text.find(match.group(), match.end())
    return len(text) if end < 0 else end + len(match.group())


def _end_of_block(text: str, position: int) -> int:
    """Block comments nest in PostgreSQL."""
    depth = 1
    while depth and position < len(text):
        if text.startswith("/*", position):
            depth, position = depth + 1, position + 2
        elif text.startswith("*/", position):
            depth, position = depth - 1, position + 2
        else:
            position += 1
    return position


def changes_data(statement: str) -> bool:
    """Whether a single statement writes rows, also from inside a ``WITH``, a ``DO`` block or ``SELECT setval``.

    What a function writes that a ``SELECT`` calls cannot be seen here.
    """
    if _DATA.match(statement):
        return True
    if re.match(r"DO\b", statement, re.IGNORECASE):
        return bool(_DATA_INSIDE.search(statement))
    return bool(re.match(r"(?:SELECT|WITH|EXPLAIN)\b", statement, re.IGNORECASE) and _DATA_INSIDE.search(without_strings(statement)))


def changes_schema(statement: str) -> bool:
    """Whether a single statement is one of those that define or rebuild objects."""
    return bool(_SCHEMA.match(statement)) and not re.match(r"^CREATE\s+(?:GLOBAL\s+|LOCAL\s+)?TEMP", statement, re.IGNORECASE)


def without_passwords(text: str) -> str:
    """As it may be shown: what a statement sets as a role's password is masked."""
    return _PASSWORD.sub(r"\1'***'", text)


def without_literals(text: str) -> str:
    """As somebody else's statement may be shown: its strings and numbers are somebody's data. One that was cut off ends inside a string."""
    return _LITERAL.sub(lambda match: match.group() if match.lastgroup == "kept" else "?", text)


def _changes(text: str) -> bool:
    return any(changes_data(statement) or changes_schema(statement) for statement in split_statements(text))


def written_tables(statement: str) -> set[str]:
    """The last parts of the names of the tables that a data statement writes, unquoted; empty where they cannot be told."""
    found = set()
    for one, several in _DATA_TARGET.findall(without_strings(statement)):
        for name in re.findall(_NAME, one) if one else re.findall(_NAME, re.sub(r"(?i)\bONLY\b", "", several)):
            last: str = re.findall(r'"(?:[^"]|"")+"|[\w$]+', name)[-1]
            found.add(last[1:-1].replace('""', '"') if last.startswith('"') else last.lower())
    return found


def without_strings(statement: str) -> str:
    return re.sub(r"'(?:[^']|'')*'", "''", statement)
