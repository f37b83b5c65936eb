# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandbox: a server like the real one on a network without a way out, gone whatever happens, with the same schema or none."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from pathlib import Path

import psycopg2.errors
import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Endpoint, Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox import _live_schema, _server_image, _throwaway_server
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._live_schema import (
    load_schema,
    open_with_live_schema,
    read_live_schema,
    state_tables,
)
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._sandbox import open_sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._throwaway_server import Machine, Sandbox
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Setting
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import governs_the_log
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    ADDRESS,
    RUN,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    operation,
)

NAME = "dbops-%s-sandbox" % RUN
REAL = container(
    "chat-postgres-prod",
    id="0123456789abcdef",
    image_id="sha256:server",
    env={"POSTGRES_USER": "ann", "POSTGRES_PASSWORD": "hidden-word", "POSTGRES_INITDB_ARGS": "--locale=de"},
    endpoints=(Endpoint("chat", "172.19.0.3", ("db", "chat-postgres-prod")),),
)
LIVE = {"table public.users": "owner chat", "column public.users.id": "integer"}


class SandboxDocker(FakeDocker):
    """Also makes networks and starts containers; ``journal`` remembers the order."""

    def __init__(self) -> None:
        super().__init__(REAL, images={"sha256:server": Image("sha256:server", {"PGDATA": "/data"}, ("/data",), {})})
        self.journal: list[str] = []
        self.environments: list[dict[str, str]] = []
        self.fails = ""
        self.does_not_start = ""

    def _step(self, name: str) -> None:
        self.journal.append(name)
        if name == self.fails:
            raise EngineError("no")

    def wait(self, *_arguments: t.Any) -> None:
        self.journal.append("wait")
        if self.jobs[-1].image == self.does_not_start:
            raise ServerError("The server did not start within 60 s: its container stopped")

    def create_internal_network(self, name: str, labels: t.Mapping[str, str]) -> None:
        assert name == NAME and labels["dbops.run"] == RUN
        self._step("network")

    def start(self, job: t.Any) -> Container:
        self.jobs.append(job)
        self._step("start")
        return container("sandbox", endpoints=(Endpoint(NAME, "172.30.0.2"),))

    def exec(self, container: str, argv: t.Sequence[str], **options: t.Any) -> Outcome:
        self.environments.append(options["env"])
        return super().exec(container, argv, **options)

    def remove(self, kind: str, name: str) -> None:
        self.journal.append("remove " + kind)


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.docker = SandboxDocker()
        self.real = FakeConnection(
            {
                "shared_preload_libraries": [("pg_stat_statements",)],
                "FROM pg_database d JOIN pg_tablespace": [(16384, True, "c", "ann", "UTF8", "C", "C", "", "", "fast_disk", -1, "")],
                "WHERE s.setdatabase = %s": [("", "work_mem", "8MB"), ("", "log_statement", "none")],
            }
        )
        self.inside = FakeConnection()
        self.operation = operation(folder, self.real, self.docker)
        self.operation.target = self.operation.target.__class__("chat", "postgres", REAL, ADDRESS, ())
        monkeypatch.setattr(_throwaway_server, "wait_until_ready", self.docker.wait)
        monkeypatch.setattr(_server_image, "with_data_folder", lambda *_arguments: "")
        monkeypatch.setattr(_throwaway_server, "session", lambda *_arguments: contextlib.nullcontext(self.inside))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


# --- opening --------------------------------------------------------------------------------------------------------------


def test_our_own_sessions_in_a_sandbox_are_not_stopped_by_what_the_database_forbids(stage: Stage) -> None:
    with SANDBOX.session() as connection:
        assert connection is stage.inside
    assert stage.inside.statements == ["SET session_replication_role = replica", "SET default_transaction_read_only = off"]


def test_the_sandbox_answers_to_the_real_servers_names_on_a_network_of_its_own(stage: Stage) -> None:
    with open_sandbox(stage.operation, ("log_statement=all",)) as sandbox:
        assert sandbox.address.host == "172.30.0.2" and sandbox.address.user == "ann"
    [job] = stage.docker.jobs
    assert (job.network, job.further_networks) == (NAME, ())
    assert job.aliases == ("0123456789ab", "chat-postgres-prod", "db")
    assert job.image == "sha256:server" and job.keep_entrypoint
    assert job.mounts == () and job.volumes_from == ""
    assert set(job.tmpfs) == {"/data", "/docker-entrypoint-initdb.d"}
    assert job.labels == {"dbops.run": RUN, "dbops.target": "%s/chat" % SERVER_ID}
    assert {"fsync=off", "max_locks_per_transaction=2048", "log_statement=all", "shared_preload_libraries=pg_stat_statements"} <= set(
        job.argv
    )


def test_the_real_password_does_not_go_into_the_sandbox(stage: Stage) -> None:
    with open_sandbox(stage.operation):
        pass
    [job] = stage.docker.jobs
    assert job.env["POSTGRES_HOST_AUTH_METHOD"] == "trust"
    assert job.env["POSTGRES_INITDB_ARGS"] == "--locale=de --no-sync"
    assert "hidden-word" not in repr(job)


def test_the_database_there_is_like_the_real_one_but_for_what_cannot_be(stage: Stage) -> None:
    with open_sandbox(stage.operation):
        pass
    made = stage.inside.said("CREATE DATABASE")[0]
    assert 'CREATE DATABASE "chat"' in made and 'OWNER "ann"' in made and 'TABLESPACE "dbops_memory"' in made
    assert stage.inside.said("work_mem")
    assert not stage.inside.said("log_statement")  # would hide what the runner does


def test_a_server_without_tablespaces_in_its_own_folder_does_without(stage: Stage) -> None:
    stage.inside.answers["allow_in_place_tablespaces"] = psycopg2.errors.UndefinedObject("unrecognized configuration parameter")
    with open_sandbox(stage.operation) as sandbox:
        assert sandbox.tablespace == "pg_default"
    assert 'TABLESPACE "pg_default"' in stage.inside.said("CREATE DATABASE")[0]


def test_a_sandbox_starts_on_a_data_folder_that_is_made_already(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server_image, "with_data_folder", lambda *_arguments: "sha256:prepared")
    with open_sandbox(stage.operation, ("log_statement=all",)):
        pass
    [job] = stage.docker.jobs
    assert (job.image, job.user, job.keep_entrypoint) == ("sha256:prepared", "postgres", False)
    assert job.argv[:3] == ("postgres", "-D", "/tmp/dbops-sandbox") and "log_statement=all" in job.argv
    assert set(job.tmpfs) == {"/data", "/docker-entrypoint-initdb.d", "/tmp/dbops-sandbox/pg_tblspc:mode=1777"}
    assert job.env == {} and "hidden-word" not in repr(job)


def test_where_the_server_does_not_start_on_it_the_sandbox_begins_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with an image of ours must not be the end of every plan."""
    monkeypatch.setattr(_server_image, "with_data_folder", lambda *_arguments: "sha256:prepared")
    stage.docker.does_not_start = "sha256:prepared"
    with open_sandbox(stage.operation):
        assert stage.docker.journal == ["network", "start", "wait", "remove container", "remove image", "start", "wait"]
    assert [job.image for job in stage.docker.jobs] == ["sha256:prepared", "sha256:server"]
    assert stage.docker.jobs[1].keep_entrypoint


def test_a_sandbox_is_gone_afterwards(stage: Stage) -> None:
    with open_sandbox(stage.operation):
        assert stage.docker.journal == ["network", "start", "wait"]
    assert stage.docker.journal[3:] == ["remove container", "remove network"]


@pytest.mark.parametrize("error", [DbopsError("no"), KeyboardInterrupt()])
def test_a_sandbox_is_gone_also_where_the_work_in_it_failed(stage: Stage, error: BaseException) -> None:
    with pytest.raises(type(error)), open_sandbox(stage.operation):
        raise error
    assert stage.docker.journal[3:] == ["remove container", "remove network"]


def test_a_sandbox_that_does_not_start_leaves_no_network(stage: Stage) -> None:
    stage.docker.fails = "start"
    with pytest.raises(EngineError), open_sandbox(stage.operation):
        raise AssertionError("must not open")
    assert stage.docker.journal == ["network", "start", "remove network"]


def test_a_sandbox_that_cannot_be_made_like_the_real_one_is_gone(stage: Stage) -> None:
    stage.inside.answers["CREATE DATABASE"] = ServerError("no")
    with pytest.raises(ServerError), open_sandbox(stage.operation):
        raise AssertionError("must not open")
    assert stage.docker.journal[-2:] == ["remove container", "remove network"]


@pytest.mark.parametrize("prepared", [False, True])
def test_room_and_limits_are_the_containers(stage: Stage, monkeypatch: pytest.MonkeyPatch, prepared: bool) -> None:
    monkeypatch.setattr(_server_image, "with_data_folder", lambda *_arguments: "dbops-sandbox:x" if prepared else "")
    machine = Machine(stage.docker.images["sha256:server"], "ann", room=2**20, memory=2**31, cpus=1.5)
    with _throwaway_server.open_server(stage.operation, machine):
        [job] = stage.docker.jobs
    assert (job.memory, job.cpus) == (2**31, 1.5)
    sizes = ["/data:size=%d" % (2**20 + 2**30), "/docker-entrypoint-initdb.d"]
    assert list(job.tmpfs) == sizes + ["/tmp/dbops-sandbox/pg_tblspc:mode=1777,size=%d" % 2**20] * prepared


@pytest.mark.parametrize("prepared", [False, True])
def test_on_the_disk_nothing_of_it_is_in_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch, prepared: bool) -> None:
    monkeypatch.setattr(_server_image, "with_data_folder", lambda *_arguments: "dbops-sandbox:x" if prepared else "")
    machine = Machine(stage.docker.images["sha256:server"], "ann", in_memory=False)
    with _throwaway_server.open_server(stage.operation, machine) as sandbox:
        [job] = stage.docker.jobs
    assert sandbox.tablespace == "pg_default" and not [folder for folder in job.tmpfs if "pg_tblspc" in folder]
    assert prepared or list(job.tmpfs) == ["/docker-entrypoint-initdb.d"]


# --- the schema in it -----------------------------------------------------------------------------------------------------


def loaded(stage: Stage, monkeypatch: pytest.MonkeyPatch, there: dict, state: tuple = ()) -> Operation:
    snapshots = [LIVE, there]
    monkeypatch.setattr(_live_schema, "read_snapshot", lambda _connection: snapshots.pop(0))
    monkeypatch.setattr(_live_schema, "state_tables", lambda _connection, _names: list(state))
    return stage.operation


SANDBOX = Sandbox(container("sandbox"), NAME, ADDRESS, "chat", "x")


def copy_schema(running: Operation) -> dict[str, str]:
    return load_schema(running, SANDBOX, read_live_schema(running, ()))


def test_the_schema_and_the_runners_own_rows_are_loaded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    running = loaded(stage, monkeypatch, LIVE, (("public", "alembic_version"), ("odd", 'na"me')))
    assert copy_schema(running) == LIVE
    programs = [(where, argv[0]) for where, argv in stage.docker.executed]
    assert programs == [("0123456789abcdef", "pg_dump")] * 2 + [("sandbox-id", "psql")] * 2
    assert "--schema-only" in stage.docker.executed[0][1]
    assert {'--table="public"."alembic_version"', '--table="odd"."na""me"', "--data-only"} <= set(stage.docker.executed[1][1])


def test_the_load_stays_out_of_the_log_that_tells_what_the_runner_did(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_schema(loaded(stage, monkeypatch, LIVE))
    assert [env.get("PGOPTIONS") for env in stage.docker.environments] == [
        None,
        "-c log_statement=none -c default_transaction_read_only=off",
    ]


def test_an_invalid_index_is_named_as_what_stops_the_plan(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = [{**LIVE, "index public.half": "CREATE INDEX half ON public.users (id) INVALID"}, LIVE]
    monkeypatch.setattr(_live_schema, "read_snapshot", lambda _connection: snapshots.pop(0))
    with pytest.raises(DbopsError, match=r"invalid index.*public\.half.*DROP INDEX CONCURRENTLY public\.half;"):
        copy_schema(stage.operation)


def test_a_sandbox_that_stops_while_it_starts_says_why(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def wait(_address: t.Any, _database: str, _application: str, _seconds: float, alive: t.Callable[[], str]) -> None:
        stage.docker.containers["sandbox-id"] = container("sandbox", status="running")
        said.append(alive())
        stage.docker.containers["sandbox-id"] = container("sandbox", status="exited")
        stage.docker.texts["sandbox-id"] = "FATAL: bad option\n"
        said.append(alive())

    monkeypatch.setattr(_throwaway_server, "wait_until_ready", wait)
    with open_sandbox(stage.operation):
        pass
    assert said == ["", "its container stopped: FATAL: bad option"]


def test_without_state_only_the_schema_is_loaded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_schema(loaded(stage, monkeypatch, LIVE))
    assert len(stage.docker.executed) == 2


def test_a_plan_on_another_schema_would_be_worth_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DbopsError, match=r"could not be given the same schema as database 'chat'; .*column public\.users\.id") as refused:
        copy_schema(loaded(stage, monkeypatch, {"table public.users": "owner chat"}))
    assert refused.value.details["differences"] == ["- column public.users.id integer"]


@pytest.mark.parametrize(
    ("failing", "words"), [("pg_dump", "could not be dumped: no"), ("psql", "could not be loaded into the sandbox: no")]
)
def test_a_schema_that_cannot_be_copied_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch, failing: str, words: str) -> None:
    stage.docker.on_exec = lambda _container, argv: Outcome(int(argv[0] == failing), "", "no")
    with pytest.raises(DbopsError, match=words):
        copy_schema(loaded(stage, monkeypatch, LIVE))


def test_the_schema_is_read_while_the_sandbox_starts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    running = loaded(stage, monkeypatch, LIVE)
    dumped = threading.Event()
    stage.docker.on_exec = lambda _container, argv: (dumped.set() if argv[0] == "pg_dump" else None) or Outcome(0, "", "")
    monkeypatch.setattr(
        _throwaway_server, "wait_until_ready", lambda *_arguments: dumped.wait(10) or pytest.fail("nothing was read meanwhile")
    )
    with open_with_live_schema(running, "plan", (), ("log_statement=all",)) as (sandbox, schema):
        assert schema == LIVE and sandbox.database == "chat"
    assert list(running.phases)[-1] == "plan: sandbox"
    assert "log_statement=all" in stage.docker.jobs[0].argv
    assert stage.docker.journal[-2:] == ["remove container", "remove network"]


@pytest.mark.parametrize("error", [DbopsError("no"), KeyboardInterrupt()])
def test_a_schema_that_is_not_read_leaves_no_sandbox(stage: Stage, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """It may be still starting then."""
    asked = threading.Event()

    def read(_connection: t.Any) -> dict[str, str]:
        asked.set()
        raise error

    monkeypatch.setattr(_live_schema, "read_snapshot", read)
    monkeypatch.setattr(
        _throwaway_server, "wait_until_ready", lambda *_arguments: asked.wait(10) or pytest.fail("nothing was read meanwhile")
    )
    with pytest.raises(type(error)), open_with_live_schema(stage.operation, "plan", ()):
        raise AssertionError("must not open")
    assert stage.docker.journal[-2:] == ["remove container", "remove network"]


def test_a_sandbox_that_does_not_open_is_the_error_that_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.docker.fails = "start"
    with pytest.raises(EngineError, match="no"), open_with_live_schema(loaded(stage, monkeypatch, LIVE), "plan", ()):
        raise AssertionError("must not open")


def test_state_tables_are_found_by_name_and_schema() -> None:
    connection = FakeConnection({"relname = ANY": [("public", "alembic_version"), ("public", "events"), ("sqitch", "events")]})
    assert state_tables(t.cast(t.Any, connection), ("alembic_version", "events")) == [("public", "alembic_version"), ("sqitch", "events")]
    assert connection.parameters == [(["alembic_version", "events"],)]


def test_what_would_hide_the_runners_statements_is_known() -> None:
    assert all(governs_the_log(name) for name in ("log_statement", "log_min_messages", "log_min_error_statement"))
    assert not any(governs_the_log(Setting("", name, "").name) for name in ("search_path", "work_mem", "TimeZone"))
