# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dump into a new database, with whatever the user's own event triggers and functions do to PostgreSQL's tools."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import ToolBox
from ansible_collections.dbops.postgres.plugins.module_utils.archive._load import NewDatabase, failures_in, load, load_all_that_goes
from ansible_collections.dbops.postgres.plugins.module_utils.archive._tool_output import ToolOutput
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Server
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import ADDRESS, RUN, FakeConnection, FakeDocker, container

LIST = """;
; Archive created at 2026-11-26
215; 1259 16388 TABLE public ddl_notes postgres
3240; 3466 16412 EVENT TRIGGER - users_own_notes postgres
3241; 0 0 COMMENT - EVENT TRIGGER users_own_notes postgres
3385; 1259 16402 MATERIALIZED VIEW DATA public by_state postgres
"""

FAILED = """pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3385; 0 16402 MATERIALIZED VIEW DATA report postgres
pg_restore: error: could not execute query: ERROR:  relation "messages" does not exist
LINE 1: SELECT count(*) FROM messages
                             ^
Command was: REFRESH MATERIALIZED VIEW public.report;

pg_restore: from TOC entry 3370; 0 16388 TABLE DATA messages postgres
pg_restore: error: COPY failed for table "messages": ERROR:  function short(text) does not exist
CONTEXT:  SQL function "shorter" during inlining
pg_restore: warning: errors ignored on restore: 2
"""

FULL = 'pg_restore: error: COPY failed for table "messages": ERROR:  could not extend file: No space left on device\n'


def tools(folder: Path, docker: FakeDocker, version: int = 180000, superuser: bool = True) -> ToolBox:
    server = Server("1", "x", version, False, superuser)
    return ToolBox(docker, container("db", image_id="sha256:server"), ADDRESS, RUN, "1/chat", str(folder), server)  # type: ignore[arg-type]


class Building:
    """A new database, played: what was done to it."""

    def __init__(self, version: int) -> None:
        self.connection = FakeConnection({"FROM pg_proc": [("public.total()",), ("public.shorter(text)",)]}, server_version=version)
        self.renewed = 0

    def _renew(self) -> None:
        self.renewed += 1

    def new(self) -> NewDatabase:
        return NewDatabase("chat_next", "sales, public", self._renew, lambda: contextlib.nullcontext(self.connection))  # type: ignore[arg-type]


def test_a_server_that_can_is_told_to_let_event_triggers_sleep(tmp_path: Path) -> None:
    docker = FakeDocker()
    load(tools(tmp_path, docker, 170000), "/work", "chat_next", 2)
    [job] = docker.jobs
    assert job.env["PGOPTIONS"].endswith("-c lc_messages=C -c event_triggers=off")


def test_who_may_not_set_that_is_not_made_to_fail_by_it(tmp_path: Path) -> None:
    docker = FakeDocker()
    load(tools(tmp_path, docker, superuser=False), "/work", "chat_next", 2)
    assert "event_triggers" not in docker.jobs[0].env["PGOPTIONS"]


def test_an_older_server_makes_event_triggers_when_all_else_is_there(tmp_path: Path) -> None:
    docker = FakeDocker()
    docker.outcomes = [Outcome(0, LIST, "")]
    load(tools(tmp_path, docker, 160000), "/work", "chat_next", 2)
    listed, rest, triggers = docker.jobs
    assert listed.argv == ("pg_restore", "--list", "/dbops/backup/dump")
    assert "--use-list=/dbops/list" in rest.argv and "--use-list=/dbops/list" in triggers.argv
    assert "event_triggers" not in rest.env["PGOPTIONS"]
    kept = [Path(job.mounts[-1][0]).read_text() for job in (rest, triggers)]
    assert "EVENT TRIGGER" not in kept[0] and "MATERIALIZED VIEW DATA" in kept[0]
    assert kept[1].splitlines() == [line for line in LIST.splitlines() if "EVENT TRIGGER" in line]


def test_an_older_server_without_event_triggers_restores_in_one_go(tmp_path: Path) -> None:
    docker = FakeDocker()
    docker.outcomes = [Outcome(0, "215; 1259 16388 TABLE public ddl_notes postgres\n", "")]
    load(tools(tmp_path, docker, 140000), "/work", "chat_next", 2)
    assert len(docker.jobs) == 2 and not any("--use-list" in word for word in docker.jobs[1].argv)


def test_a_dump_that_goes_is_restored_once(tmp_path: Path) -> None:
    docker, building = FakeDocker(), Building(180000)
    loaded = load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2)
    assert (loaded.failures, loaded.first_try, building.renewed, len(docker.jobs)) == ((), "", 0, 1)


def test_functions_know_where_to_look_while_rows_and_indexes_come_in(tmp_path: Path) -> None:
    docker, building = FakeDocker(), Building(180000)
    docker.outcomes = [Outcome(1, "", FAILED)]
    loaded = load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2)
    assert loaded.failures == () and 'relation "messages" does not exist' in loaded.first_try
    assert building.renewed == 1
    sections = [word for job in docker.jobs[1:] for word in job.argv if word.startswith("--section")]
    assert sections == ["--section=pre-data", "--section=data", "--section=post-data"]
    assert not any("--exit-on-error" in job.argv for job in docker.jobs[1:])
    altered = building.connection.said("ALTER ROUTINE")
    assert altered[0].replace('"', "") == "ALTER ROUTINE public.total() SET search_path TO 'sales', 'public'"
    assert altered[2:] == ["ALTER ROUTINE public.total() RESET search_path", "ALTER ROUTINE public.shorter(text) RESET search_path"]


def test_what_still_fails_is_named(tmp_path: Path) -> None:
    docker, building = FakeDocker(), Building(180000)
    docker.outcomes = [Outcome(1, "", FAILED), Outcome(0, "", ""), Outcome(0, "", ""), Outcome(1, "", FAILED)]
    loaded = load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2)
    assert loaded.failures == (
        "'REFRESH MATERIALIZED VIEW public.report' could not be restored: relation \"messages\" does not exist",
        "the rows of table messages could not be restored: function short(text) does not exist",
    )


@pytest.mark.parametrize("output", [FULL, "pg_restore: error: connection to server failed", "pg_restore: error: input file is too short"])
def test_a_disk_or_a_server_that_fails_is_not_tried_again(tmp_path: Path, output: str) -> None:
    docker, building = FakeDocker(), Building(180000)
    docker.outcomes = [Outcome(1, "", output)]
    with pytest.raises(DbopsError, match="pg_restore failed on the new database 'chat_next'"):
        load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2)
    assert (building.renewed, len(docker.jobs)) == (0, 1)


def test_a_disk_that_is_full_the_second_time_is_an_error_too(tmp_path: Path) -> None:
    docker, building = FakeDocker(), Building(180000)
    docker.outcomes = [Outcome(1, "", FAILED), Outcome(0, "", ""), Outcome(1, "", FULL)]
    with pytest.raises(DbopsError, match="No space left"):
        load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2)


def test_a_second_try_that_says_nothing_of_what_failed_is_an_error(tmp_path: Path) -> None:
    docker, building = FakeDocker(), Building(180000)
    docker.outcomes = [Outcome(1, "", FAILED), Outcome(137, "", "")]
    with pytest.raises(DbopsError, match="exit status 137"):
        load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2)


def test_many_failures_are_counted(tmp_path: Path) -> None:
    docker, building = FakeDocker(), Building(180000)
    many = "".join("pg_restore: error: could not execute query: ERROR:  no\nCommand was: CREATE INDEX i%d;\n" % n for n in range(30))
    docker.outcomes = [Outcome(1, "", many), Outcome(0, "", ""), Outcome(0, "", ""), Outcome(1, "", many)]
    failures = load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2).failures
    assert len(failures) == 21 and failures[-1] == "10 further objects could not be restored"


@pytest.mark.parametrize(
    "said",
    ["pg_restore: error: ", "pg_restore:pg_restore:  error: ", "pg_restore: pg_restore: error: error: ", "error: pg_restore:", " error: "],
)
def test_two_workers_that_fail_at_once_are_understood(said: str) -> None:
    """They write into each other's line."""
    output = said + 'COPY failed for table "abridgements": ERROR:  function shorter(text) does not exist\nHINT:  No function matches'
    assert failures_in(output) == ["the rows of table abridgements could not be restored: function shorter(text) does not exist"]
    assert ToolOutput(Progress()).keep(output.splitlines()[0]), "it is no progress"


def test_an_error_that_nothing_can_be_read_of_is_tried_the_second_way(tmp_path: Path) -> None:
    garbled = "pg_restore:pg_rERROR:  function x does not existestore: error\npg_restore: error: a worker process died unexpectedly\n"
    docker, building = FakeDocker(), Building(180000)
    docker.outcomes = [Outcome(1, "", garbled)]
    assert load_all_that_goes(tools(tmp_path, docker), "/work", building.new(), 2).failures == ()
    assert building.renewed == 1


def test_only_what_failed_is_read_from_the_output() -> None:
    assert failures_in("pg_restore: warning: x\npg_restore: error: a worker process died unexpectedly\nCommand was: x\n") == []
