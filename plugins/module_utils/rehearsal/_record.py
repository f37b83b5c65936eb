# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rehearsal has come to, as it is written down beside the backups: one file, the newest of its database."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import folder_name
from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import put_beside
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import Version
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, shape
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import without_literals
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment

PASSED, FAILED = "passed", "failed"

FORMAT = 1


@dataclass(frozen=True)
class Timed:
    """A statement, masked as it is shown, and the seconds that the server worked on it; ``None`` where its log did not tell. ``digest``: of what
    was really sent, with the run's id, so that another one is not taken for it."""

    sql: str
    seconds: float | None
    digest: str = ""


@dataclass(frozen=True)
class LockTime:
    """A strong lock on a table that was there before: from when to when, in seconds since the runner began, and for how long."""

    table: str
    lock: str
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


@dataclass(frozen=True)
class Rehearsal:
    """One rehearsal. ``at``: its end, RFC 3339 in UTC; ``backup``: whose rows, made on the server ``server_identifier``, ``proved`` by then or not;
    ``exceeded``: why it did not pass, sentences.

    ``shape_before``, ``shape_after``: fingerprints of the schema without owners and rights; ``seconds``: of the runner; sizes in bytes.
    """

    state: str
    at: str
    run_id: str
    backup: str
    backup_created: str
    proved: bool
    server_identifier: str
    database: str
    plan_fingerprint: str
    shape_before: str
    shape_after: str
    image: str
    image_id: str
    runner: tuple[str, ...]
    seconds: float
    statements: tuple[Timed, ...] = ()
    locks: tuple[LockTime, ...] = ()
    rewritten: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    exceeded: tuple[str, ...] = ()
    wal: int = 0
    temporary: int = 0
    size_before: int = 0
    size_after: int = 0
    not_seen: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def longest_lock(self) -> LockTime | None:
        return max(self.locks, key=lambda lock: lock.seconds, default=None)

    @property
    def moment(self) -> datetime.datetime:
        return moment(self.at)

    def covers(self, plan: Plan) -> bool:
        """Whether this very migration was rehearsed: the same image and command, from and to the same schema (without owners and rights), and
        every statement that it would execute. On real rows there may be more of them."""
        wanted = fingerprint(shape(plan.before)), fingerprint(shape(plan.after)), plan.runner[0], plan.runner[1:]
        if (self.shape_before, self.shape_after, self.image_id, self.runner) != wanted:
            return False
        tried = {timed.digest for timed in self.statements}
        return all(digest(self.run_id, statement) in tried for statement in plan.statements if statement.kind != "state")

    def seconds_of(self, plan: Plan) -> tuple[float | None, ...]:
        """What each statement of a plan took, by its place where they are the same ones, else by its text: all that were sent alike together."""
        texts = [comparable(statement) for statement in plan.statements]
        if [timed.sql for timed in self.statements] == texts:
            return tuple(timed.seconds for timed in self.statements)
        known: dict[str, float] = {}
        for timed in self.statements:
            if timed.seconds is not None:
                known[timed.sql] = known.get(timed.sql, 0.0) + timed.seconds
        return tuple(known[text] / texts.count(text) if text in known else None for text in texts)


def comparable(statement: PlannedStatement) -> str:
    """A statement as it is written down. What writes rows is without its values: on real rows they are somebody's."""
    return statement.sql if statement.kind == "schema" else without_literals(statement.sql)


def longest(locks: t.Iterable[tuple[str, float]]) -> dict[str, float]:
    """Of pairs ``(table, seconds)``, the most for each table."""
    found: dict[str, float] = {}
    for table, seconds in locks:
        found[table] = max(found.get(table, 0.0), seconds)
    return found


def digest(run_id: str, statement: PlannedStatement) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(("%s %s" % (run_id, statement.sql)).encode()).hexdigest()


def file_name(database: str) -> str:
    return "rehearsal-%s.json" % folder_name(database)


def write_rehearsal(folder: str, rehearsal: Rehearsal, work: str) -> None:
    """In the place of an earlier one, whole or not at all.

    :param work: a folder of this run's own on the same file system.
    """
    put_beside(folder, file_name(rehearsal.database), json.dumps(asdict(rehearsal), indent=1, sort_keys=True) + "\n", work)


def read_rehearsal(folder: str, database: str) -> Rehearsal | None:
    """The newest; none where there is none, or where the file is not what this version writes."""
    try:
        with open(os.path.join(folder, file_name(database)), encoding="utf-8") as stream:
            data = json.load(stream)
        if data["format"] != FORMAT:
            return None
        data["runner"], data["rewritten"], data["exceeded"] = (tuple(data[name]) for name in ("runner", "rewritten", "exceeded"))
        data["statements"] = tuple(Timed(**item) for item in data["statements"])
        data["locks"] = tuple(LockTime(**item) for item in data["locks"])
        data["versions"] = tuple(Version(**item) for item in data["versions"])
        rehearsal = Rehearsal(**data)
        moment(rehearsal.at)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return rehearsal
