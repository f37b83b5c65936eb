# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``pg_restore`` into a new database: all of a dump, whatever the user's own event triggers and functions do to it.

The first way stops at the first error. Where that is about an object of the user's, and not about the disk or the server, there is a
second one: the functions are given the database's own ``search_path`` for as long as it takes, and what still fails is named.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import MOUNT, ToolBox, tool_failure
from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import write_file
from ansible_collections.dbops.postgres.plugins.module_utils.server import _event_triggers, _function_paths
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: An event trigger in an archive's table of contents, and what is said of one.
_EVENT_TRIGGER = re.compile(r"^\d+; \d+ \d+ (?:(?:COMMENT|SECURITY LABEL) - )?EVENT TRIGGER ")

#: Before an error. Two workers that fail at once write into each other's lines, each piece by itself: ``error: pg_restore:COPY failed ...``.
_SAID = r"^\s*(?:pg_restore:\s*|error:\s*)+"

#: What is left of an error where nothing more can be read.
_WORKER_DIED = "a worker process died unexpectedly"

#: What failed, and the statement below it; rows that did not go in have no statement.
_REFUSED = re.compile(_SAID + r"could not execute query: ERROR:\s*(.+)$")
_STATEMENT = re.compile(r"^Command was: (.+)$")
_ROWS = re.compile(_SAID + r'COPY failed for table "(.+)": ERROR:\s*(.+)$')

#: So much of a statement tells which object it was to make.
_STATEMENT_LENGTH = 80

#: Errors that the second way would meet again: the disk, the memory, the server itself.
_NOT_OF_AN_OBJECT = re.compile(
    r"No space left|out of memory|server closed the connection|terminating connection|connection to server|shared memory|"
    r"could not (?:write|extend|open|read|fsync)|lost synchronization|input file|unsupported version|is not (?:yet )?accepting",
    re.IGNORECASE,
)

#: How many failures are told one by one.
_TOLD = 20


@dataclass(frozen=True)
class NewDatabase:
    """A database that is being built. ``renew`` makes it empty again; ``search_path`` is what sessions in it will have."""

    name: str
    search_path: str
    renew: t.Callable[[], None]
    session: t.Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Loaded:
    """``failures``: a sentence for each object that is not there; ``first_try``: why the first way failed, empty where it did not."""

    failures: tuple[str, ...] = ()
    first_try: str = ""


@dataclass(frozen=True)
class _Part:
    """Some of an archive's entries: all of them, where there is no list of them."""

    purpose: str = "restore"
    options: tuple[str, ...] = ()
    mounts: tuple[tuple[str, str, bool], ...] = ()


def load(tools: ToolBox, folder: str, database: str, jobs: int, options: t.Sequence[str] = ()) -> None:
    """Restore ``folder/dump`` into a database; the user's event triggers do not fire.

    :raises DbopsError: at the first error, with the tools' output in its details.
    """
    for part in _parts(tools, folder):
        outcome = _restore(tools, folder, database, part, ["--exit-on-error", "--jobs=%d" % jobs, *options])
        if outcome.rc != 0:
            raise DbopsError(tool_failure("pg_restore", outcome, "the new database '%s'" % database), output=outcome.output)


def load_all_that_goes(tools: ToolBox, folder: str, new: NewDatabase, jobs: int, options: t.Sequence[str] = ()) -> Loaded:
    """Like ``load``; where that fails because of an object of the user's, everything that can be made is, and the rest named.

    :raises DbopsError: where the failure is not about objects.
    """
    try:
        load(tools, folder, new.name, jobs, options)
        return Loaded()
    except DbopsError as error:
        output = str(error.details.get("output", ""))
        understood = failures_in(output) or (_WORKER_DIED in output and "ERROR:" in output)
        if not understood or _NOT_OF_AN_OBJECT.search(output):
            raise
        first_try = error.message
    new.renew()
    return Loaded(tuple(_load_in_sections(tools, folder, new, jobs, options)), first_try)


def _load_in_sections(tools: ToolBox, folder: str, new: NewDatabase, jobs: int, options: t.Sequence[str]) -> list[str]:
    """Definitions first; then rows, indexes and the like, while every function knows where to look; event triggers last of all."""
    parts = _parts(tools, folder)
    failures = _section(tools, folder, new.name, _Part(), ["--section=pre-data", *options])
    with new.session() as connection:
        given = _function_paths.give(connection, new.search_path)
    failures += _section(tools, folder, new.name, _Part(), ["--section=data", "--jobs=%d" % jobs, *options])
    failures += _section(tools, folder, new.name, parts[0], ["--section=post-data", "--jobs=%d" % jobs, *options])
    with new.session() as connection:
        _function_paths.take_back(connection, given)
    for part in parts[1:]:
        failures += _section(tools, folder, new.name, part, ["--section=post-data", *options])
    return failures[:_TOLD] + (["%d further objects could not be restored" % (len(failures) - _TOLD)] if len(failures) > _TOLD else [])


def _section(tools: ToolBox, folder: str, database: str, part: _Part, options: list[str]) -> list[str]:
    outcome = _restore(tools, folder, database, part, options)
    failures = failures_in(outcome.stderr) if outcome.rc != 0 else []
    if outcome.rc != 0 and (not failures or _NOT_OF_AN_OBJECT.search(outcome.stderr)):
        raise DbopsError(tool_failure("pg_restore", outcome, "the new database '%s'" % database), output=outcome.output)
    return failures


def failures_in(output: str) -> list[str]:
    """One sentence for each statement, or table's rows, that the server refused, from what ``pg_restore`` printed."""
    found = []
    refused = ""
    for line in output.splitlines():
        error, statement, rows = _REFUSED.match(line), _STATEMENT.match(line), _ROWS.match(line)
        if rows:
            found.append("the rows of table %s could not be restored: %s" % (rows.group(1), rows.group(2).rstrip(".")))
        elif error:
            refused = error.group(1).rstrip(".")
        elif statement and refused:
            found.append("'%s' could not be restored: %s" % (statement.group(1).rstrip("; ")[:_STATEMENT_LENGTH], refused))
            refused = ""
    return list(dict.fromkeys(found))


def _parts(tools: ToolBox, folder: str) -> list[_Part]:
    """Before 17 event triggers fire on what ``pg_restore`` does after it has made them, so they are made last, by themselves."""
    if tools.identity.version_number >= _event_triggers.SINCE:
        return [_Part()]
    outcome = tools.run("list", ["pg_restore", "--list", MOUNT + "/backup/dump"], ((folder, MOUNT + "/backup", False),))
    if outcome.rc != 0:
        raise DbopsError(tool_failure("pg_restore", outcome, "the backup, while reading its table of contents"), output=outcome.output)
    lines = outcome.stdout.splitlines()
    triggers = [line for line in lines if _EVENT_TRIGGER.match(line)]
    if not triggers:
        return [_Part()]
    rest = [line for line in lines if not _EVENT_TRIGGER.match(line)]
    return [_listed(tools, "restore", rest), _listed(tools, "restore-event-triggers", triggers)]


def _listed(tools: ToolBox, purpose: str, lines: list[str]) -> _Part:
    path = os.path.join(tools.work, purpose + ".list")
    if os.path.exists(path):
        os.unlink(path)
    write_file(path, "\n".join(lines) + "\n")
    return _Part(purpose, ("--use-list=%s/list" % MOUNT,), ((path, MOUNT + "/list", False),))


def _restore(tools: ToolBox, folder: str, database: str, part: _Part, options: t.Sequence[str]) -> Outcome:
    session = ["-c lc_messages=C"] if tools.identity.superuser else []  # what it says is read here
    if tools.identity.superuser and tools.identity.version_number >= _event_triggers.SINCE:
        session.append(_event_triggers.OFF)
    argv = ["pg_restore", "--verbose", "--no-password", "--dbname=", *options, *part.options, MOUNT + "/backup/dump"]
    mounts = ((folder, MOUNT + "/backup", False), *part.mounts)
    return tools.run(part.purpose, argv, mounts, database, " ".join(session))
