# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written down of a rehearsal: which migration it was of, and whether it is read back as it was."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._record import (
    LockTime,
    Rehearsal,
    Timed,
    comparable,
    digest,
    file_name,
    read_rehearsal,
    write_rehearsal,
)
from ansible_collections.dbops.postgres.plugins.module_utils.rehearsal._versions import WORKS, Version
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint, shape

RUN = "20261128T030000_3f9a2c"
BEFORE = {"table public.users": "owner chat"}
AFTER = {**BEFORE, "column public.users.name": "text"}
ADD = PlannedStatement("ALTER TABLE users ADD COLUMN name text", "schema")
FILL = PlannedStatement("UPDATE users SET name = 'ann' WHERE id = 7", "data")
NOTE = PlannedStatement("INSERT INTO schema_migrations VALUES ('2026-11-28 03:00')", "state")
PLAN = Plan((ADD, FILL, NOTE), BEFORE, AFTER, (), Outcome(0, "", ""), runner=("sha256:new", "migrate"))


def rehearsal(plan: Plan = PLAN, **changes: t.Any) -> Rehearsal:
    made = Rehearsal(
        state="passed",
        at="2026-11-28T03:00:00Z",
        run_id=RUN,
        backup="chat_20261127_030000",
        backup_created="2026-11-27T03:00:00Z",
        proved=True,
        server_identifier="7300000000000000001",
        database="chat",
        plan_fingerprint=plan.fingerprint,
        shape_before=fingerprint(shape(plan.before)),
        shape_after=fingerprint(shape(plan.after)),
        image="chat-backend:v2",
        image_id="sha256:new",
        runner=("migrate",),
        seconds=2.5,
        statements=tuple(Timed(comparable(statement), 0.5, digest(RUN, statement)) for statement in plan.statements),
        locks=(LockTime("public.users", "AccessExclusiveLock", 0.1, 2.3), LockTime("public.users", "ShareLock", 2.3, 2.4)),
        versions=(Version("running", "chat-backend:v1", "sha256:backend", WORKS, "It starts."),),
    )
    return replace(made, **changes)


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    assert read_rehearsal(str(tmp_path), "chat") is None
    write_rehearsal(str(tmp_path), rehearsal(), str(work))
    assert read_rehearsal(str(tmp_path), "chat") == rehearsal()
    path = tmp_path / file_name("chat")
    assert path.stat().st_mode & 0o077 == 0
    write_rehearsal(str(tmp_path), rehearsal(seconds=9.0), str(work))
    found = read_rehearsal(str(tmp_path), "chat")
    assert found and found.seconds == 9.0 and found.longest_lock == found.locks[0]


@pytest.mark.parametrize("damage", [{"format": 2}, {"at": "yesterday"}, {"locks": [{"table": "x"}]}, {"surprise": 1}, {"runner": None}])
def test_what_this_version_has_not_written_is_none(tmp_path: Path, damage: dict[str, t.Any]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    write_rehearsal(str(tmp_path), rehearsal(), str(work))
    path = tmp_path / file_name("chat")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **damage}), encoding="utf-8")
    assert read_rehearsal(str(tmp_path), "chat") is None
    path.write_text("{", encoding="utf-8")
    assert read_rehearsal(str(tmp_path), "chat") is None


def test_what_writes_rows_is_written_down_without_their_values() -> None:
    assert comparable(FILL) == "UPDATE users SET name = ? WHERE id = ?"
    assert comparable(ADD) == ADD.sql
    assert "'ann'" not in repr(rehearsal())


def test_it_is_of_this_very_migration() -> None:
    record = rehearsal()
    assert record.covers(PLAN)
    for other in (
        replace(PLAN, before=AFTER),
        replace(PLAN, after=BEFORE),
        replace(PLAN, runner=("sha256:other", "migrate")),
        replace(PLAN, runner=("sha256:new", "migrate", "--all")),
        replace(PLAN, statements=(*PLAN.statements, PlannedStatement("UPDATE rooms SET name = ''", "data"))),
        replace(PLAN, statements=(ADD, replace(FILL, sql="UPDATE users SET name = 'bob' WHERE id = 7"), NOTE)),
        replace(PLAN, statements=(replace(ADD, sql="CREATE INDEX CONCURRENTLY a ON users (id)"),)),
    ):
        assert not record.covers(other)


def test_on_real_rows_there_may_be_more_statements_and_other_values_but_not_fewer() -> None:
    """An empty sandbox has no row to fill; and what the runner writes into its own table is another time each run."""
    more = rehearsal(replace(PLAN, statements=(ADD, FILL, replace(FILL, sql="UPDATE users SET name = 'bob' WHERE id = 8"))))
    assert more.covers(replace(PLAN, statements=(ADD,)))
    assert more.covers(replace(PLAN, statements=(ADD, replace(NOTE, sql="INSERT INTO schema_migrations VALUES ('later')"))))


def test_seconds_are_found_by_place_or_else_by_text() -> None:
    record = rehearsal(statements=(Timed(comparable(ADD), 1.0), Timed(comparable(FILL), 2.0), Timed(comparable(NOTE), None)))
    assert record.seconds_of(PLAN) == (1.0, 2.0, None)
    assert record.seconds_of(replace(PLAN, statements=(FILL, PlannedStatement("DROP TABLE a", "schema")))) == (2.0, None)
    batches = rehearsal(statements=(Timed(comparable(ADD), 1.0), *[Timed(comparable(FILL), 2.0)] * 5))
    assert batches.seconds_of(PLAN) == (1.0, 10.0, None), "what was sent five times took five times as long"
