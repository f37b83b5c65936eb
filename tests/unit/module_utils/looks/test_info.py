# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking and marking: what is told of a database, and the marker that is written only where it differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.looks import _survey
from ansible_collections.dbops.postgres.plugins.module_utils.looks._info import inform
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._enroll import enroll
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, PlannedStatement
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import Holder, card
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    OTHER_RUN,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    evidence,
    operation,
    published,
)

BACKEND = container(health="healthy")
ANSWERS = {
    "SELECT 1 FROM pg_database": [(1,)],
    "pg_database_size": [(4096,)],
    "coalesce(usename": [(7, "ann", "psql", "10.0.0.5", "idle in transaction", 61.4, "SELECT 1")],
    "FROM pg_constraint": [("table public.users", "owner chat")],
    "FROM pg_locks l": [
        (4711, "SELECT 1 " + card(Holder("restore", OTHER_RUN, operator="ann", controller="desk", since="now", phase="restore: load")))
    ],
    "FROM pg_db_role_setting": lambda _text, parameters: {
        ("dbops.seeds",): [("chat", "0123456789abcdef")],
        ("dbops.kept",): [("chat_old", json.dumps({"of": "chat", "at": "2026-11-22T03:00:00Z", "by": "restore", "run_id": OTHER_RUN}))],
    }.get(parameters, []),
}


def look(folder: Path, plan_with: tuple[str, ...] = ()) -> Result:
    docker = FakeDocker(BACKEND, images={"sha256:backend": Image("sha256:backend", {}, (), {})})
    return inform(operation(folder, FakeConnection(ANSWERS), docker, backends=(BACKEND,), risk=Risk.READ), plan_with)


# --- looking --------------------------------------------------------------------------------------------------------------


def test_everything_about_a_database_is_told_as_data(tmp_path: Path) -> None:
    published(tmp_path)
    _journal.append(str(tmp_path), {"operation": "backup", "result": "ok"})
    result = look(tmp_path)
    facts = result.facts
    assert not result.changed
    assert facts["server"]["identifier"] == SERVER_ID
    assert facts["tables"] == ["public.users"]
    assert facts["seeds"] == ["0123456789abcdef"]
    assert [item["id"] for item in facts["backups"]] == ["chat_20261123_030000"]
    assert facts["replaced_databases"][0]["name"] == "chat_old"
    assert facts["running_operation"]["operator"] == "ann"
    assert facts["last_operation"]["operation"] == "backup"
    assert facts["backends"] == [{"name": "chat-backend", "image": "chat-backend:v1", "status": "running", "health": "healthy"}]
    assert facts["sessions"][0]["pid"] == 7
    assert json.loads(json.dumps(facts)) == facts


def test_the_summary_names_what_a_person_looks_for(tmp_path: Path) -> None:
    text = "\n".join(look(tmp_path).summary)
    assert (
        "Database 'chat' in container 'chat-postgres-prod': PostgreSQL 17.5, server %s (not pinned), 4.0 kB, marked 'preview'" % SERVER_ID
        in text
        or "not pinned" in text
    )
    assert "Busy: restore by ann from desk" in text
    assert "Oldest session: pid 7 of 'psql', 1 min 1 s." in text


def test_nothing_is_written_by_looking(tmp_path: Path) -> None:
    connection = FakeConnection(ANSWERS)
    inform(operation(tmp_path / "missing", connection, risk=Risk.READ), ())
    assert [statement for statement in connection.statements if not statement.lstrip().startswith(("SELECT", "SET"))] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan((), {}, {}, (), Outcome(0, "", "")), "Pending migration: none"),
        (
            Plan((PlannedStatement("CREATE TABLE a ()", "schema"),), {}, {"table a": ""}, (), Outcome(0, "", "")),
            "Pending migration: 1 statement",
        ),
    ],
)
def test_a_pending_migration_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan, words: str) -> None:
    monkeypatch.setattr(_survey, "make_plan", lambda *_arguments: plan)
    result = look(tmp_path, ("ent",))
    assert any(line.startswith(words) for line in result.summary)
    assert result.facts["plan"]["rc"] == 0
    assert result.diff is not None and "/app/backend migrate" in result.diff["prepared"]


def test_a_runner_that_fails_in_the_sandbox_does_not_look_like_nothing_to_migrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_survey, "make_plan", lambda *_arguments: Plan((), {}, {}, (), Outcome(1, "", "no such column")))
    result = look(tmp_path, ("ent",))
    assert not any("Pending migration: none" in line for line in result.summary)
    assert result.facts["plan"]["rc"] == 1


# --- marking --------------------------------------------------------------------------------------------------------------


def marking(
    marker: str, environment: str = "preview", check_mode: bool = False, pinned: str = SERVER_ID
) -> tuple[Operation, FakeConnection]:
    connection = FakeConnection({"SELECT 1 FROM pg_database": [(1,)]})
    running = operation("/nowhere", connection, risk=Risk.MARK, environment=environment, server_id=pinned, check_mode=check_mode)
    running.evidence = replace(evidence(host="chat-preview", database="chat"), marker=marker, environment=environment)
    return running, connection


def test_a_marker_is_written_where_it_differs() -> None:
    running, connection = marking("production")
    result = enroll(running)
    assert result.changed
    assert connection.said("ALTER") == ['ALTER DATABASE "chat" SET "dbops"."environment" TO \'preview\'']
    assert result.summary == ["Database 'chat' is now marked 'preview' (before: 'production')."]
    assert (result.facts["marker"], result.facts["marker_before"], result.facts["pinned"]) == ("preview", "production", True)


def test_a_right_marker_is_left_alone() -> None:
    running, connection = marking("preview")
    result = enroll(running)
    assert not result.changed and not connection.said("ALTER")
    assert result.summary == ["Database 'chat' is marked 'preview'."]


def test_check_mode_marks_nothing_and_shows_the_same_diff() -> None:
    running, connection = marking("", check_mode=True)
    check = enroll(running)
    assert check.changed and not connection.said("ALTER")
    assert check.summary == ["Database 'chat' would be marked 'preview'."]
    assert check.diff == enroll(marking("")[0]).diff
    assert check.diff == {"before": "chat: not marked\n", "after": "chat: preview\n"}


def test_a_server_that_is_not_pinned_gives_the_line_for_the_inventory() -> None:
    result = enroll(marking("preview", pinned="")[0])
    assert result.summary[-1] == "Pin its server in the inventory, in the variables of 'chat-preview': dbops_server_id: \"%s\"" % SERVER_ID
