# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every operation does first and last: guard before lock, lock before any change, clean-up of dead runs, folders, phases."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Endpoint
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _begin, _clean_up, _lost, _operation, _witnesses
from ansible_collections.dbops.postgres.plugins.module_utils.operation._begin import begin
from ansible_collections.dbops.postgres.plugins.module_utils.operation._clean_up import clean_up, temporary_leftovers
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import new_run_id
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy, DbopsError, EngineError, Refused, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    AT,
    OTHER_RUN,
    RUN,
    SERVER_ID,
    FakeConnection,
    FakeDocker,
    container,
    operation,
    recorded,
    request,
)

INSPECT: dict[str, t.Any] = json.loads(recorded("inspect_20_10.json"))
SERVER_ROW = (SERVER_ID, "17.5", False, True)


class World:
    """An engine and a server for ``begin``: every session is the same fake connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, **answers: t.Any) -> None:
        self.connection = FakeConnection(
            {
                "pg_control_system": [SERVER_ROW],
                "pg_try_advisory_lock": [(True,)],
                "SELECT 1 FROM pg_database": [(1,)],
                **{sign.replace("_", " "): answer for sign, answer in answers.items()},
            }
        )
        self.docker = FakeDocker(container("chat-postgres-prod", env={"POSTGRES_PASSWORD": "hidden-word"}))
        self.folder = folder
        self.sessions: list[tuple[str, str, bool]] = []
        monkeypatch.setattr(_begin, "Docker", lambda _host: self.docker)
        for place in (_begin, _lost, _operation, _witnesses):
            monkeypatch.setattr(place, "session", self._session)

    @contextlib.contextmanager
    def _session(self, _address: t.Any, database: str, application: str, read_only: bool = False, *_limits: str) -> t.Iterator[t.Any]:
        self.sessions.append((database, application, read_only))
        yield self.connection

    def begin(self, risk: Risk, **changes: t.Any) -> contextlib.AbstractContextManager[_operation.Operation]:
        return begin(request(risk, backup_dir=str(self.folder / "backups"), **changes), Redactor(), RUN)

    @property
    def changes(self) -> list[str]:
        return [statement for statement in self.connection.statements if not statement.startswith("SELECT")]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return World(monkeypatch, tmp_path)


# --- beginning ------------------------------------------------------------------------------------------------------------


def test_an_operation_locks_before_it_changes_anything_and_marks_production(world: World) -> None:
    with world.begin(Risk.FORWARD) as running:
        assert running.server.identifier == SERVER_ID
        assert running.is_production
    statements = world.connection.statements
    marked = statements.index('ALTER DATABASE "chat" SET "dbops"."environment" TO \'production\'')
    locked = next(index for index, statement in enumerate(statements) if "pg_try_advisory_lock" in statement)
    announced = next(index for index, statement in enumerate(statements) if "pg_advisory_lock(" in statement)
    assert announced < locked < marked
    assert stat.S_IMODE((world.folder / "backups").stat().st_mode) == 0o700


def test_the_lock_has_a_session_of_its_own(world: World) -> None:
    with world.begin(Risk.SAVE):
        pass
    assert [database for database, _application, _read_only in world.sessions][:2] == ["postgres", "postgres"]
    assert world.sessions[1][1].endswith(" lock")


@pytest.mark.parametrize(
    ("risk", "check_mode"), [(Risk.READ, False), (Risk.FORWARD, True), (Risk.OVERWRITE, True), (Risk.MARK, True), (Risk.SAVE, True)]
)
def test_reading_and_check_mode_write_nothing(world: World, risk: Risk, check_mode: bool) -> None:
    with world.begin(risk, check_mode=check_mode) as running:
        running.work_folder("sandbox")
        with running.session():
            pass
    assert world.changes == []
    assert all(read_only for _database, _application, read_only in world.sessions)
    assert not world.connection.said("pg_try_advisory_lock")
    assert not (world.folder / "backups").exists()
    assert world.docker.removed == []


def test_what_the_guard_refuses_takes_no_lock_and_makes_no_folder(world: World) -> None:
    with pytest.raises(Refused), world.begin(Risk.DISPOSABLE):
        raise AssertionError("must not begin")
    assert world.changes == []
    assert not world.connection.said("advisory_lock")
    assert not (world.folder / "backups").exists()


def test_a_busy_database_is_left_alone(world: World) -> None:
    world.connection.answers["pg_try_advisory_lock"] = [(False,)]
    with pytest.raises(Busy), world.begin(Risk.FORWARD):
        raise AssertionError("must not begin")
    assert world.changes == []


def test_a_standby_is_refused_before_the_lock(world: World) -> None:
    world.connection.answers["pg_control_system"] = [(SERVER_ID, "17.5", True, True)]
    with pytest.raises(DbopsError, match="is a standby"), world.begin(Risk.FORWARD):
        raise AssertionError("must not begin")
    assert not world.connection.said("pg_try_advisory_lock")


def test_a_database_that_is_not_production_is_not_marked_by_the_way(world: World) -> None:
    with world.begin(Risk.FORWARD, environment="preview"):
        pass
    assert world.changes == []


def test_a_marker_that_may_not_be_written_is_only_a_warning(world: World) -> None:
    world.connection.answers["ALTER DATABASE"] = ServerError("must be owner of database chat")
    with world.begin(Risk.SAVE) as running:
        assert "could not be marked as production: must be owner" in running.warnings[0]


def test_the_markers_of_all_databases_are_witnesses(world: World) -> None:
    world.connection.answers["FROM pg_db_role_setting"] = [
        ("chat", "preview"),
        ("shop", "production"),
        ("old", "production"),
        ("x", "preview"),
    ]
    with world.begin(Risk.READ, environment="preview", server_id="42", shared_server=True) as running:
        seen = running.evidence
    assert (seen.marker, seen.production_databases, seen.server_id, seen.pinned_server_id) == ("preview", ("old", "shop"), SERVER_ID, "42")
    assert seen.shared_server


def test_work_folders_are_gone_when_an_operation_ends_however_it_ends(world: World) -> None:
    folders = []
    for error in (None, KeyError, KeyboardInterrupt):
        with contextlib.suppress(BaseException), world.begin(Risk.SAVE) as running:
            folders += [running.work_folder("backup"), running.work_folder("tools")]
            (Path(folders[-1]) / "pgpass").write_text("x")
            if error:
                raise error
    assert len(folders) == 6
    assert not any(Path(folder).exists() for folder in folders)


# --- folders --------------------------------------------------------------------------------------------------------------


def test_a_writers_work_folder_is_beside_the_backups_private_and_names_its_run(tmp_path: Path) -> None:
    running = operation(tmp_path, risk=Risk.SAVE)
    path = Path(running.work_folder("backup"))
    assert path.parent == tmp_path
    assert path.name.startswith(".dbops-%s-" % RUN) and path.name.endswith("-backup")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert running.work_folder("backup") == str(path)


@pytest.mark.parametrize(("risk", "check_mode"), [(Risk.READ, False), (Risk.SAVE, True)])
def test_without_the_right_to_write_work_folders_are_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, risk: Risk, check_mode: bool
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    running = operation(tmp_path / "missing", risk=risk, check_mode=check_mode)
    path = Path(running.work_folder("sandbox"))
    assert path.parent == tmp_path / "tmp"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert temporary_leftovers(lambda _run_id: False) == [str(path)]  # the next run would find it
    running.close()
    assert not path.exists()


def test_only_this_users_folders_of_dead_runs_are_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("dbops-%s-x" % OTHER_RUN, "dbops-%s-x" % RUN, "dbops-x", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "dbops-20261121T030000_bbbbbb-file").write_text("x")
    (tmp_path / "dbops-20261121T030000_cccccc-link").symlink_to(tmp_path / "other")
    assert temporary_leftovers(lambda run_id: run_id == RUN) == [str(tmp_path / ("dbops-%s-x" % OTHER_RUN))]
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert temporary_leftovers(lambda _run_id: False) == []


# --- cleaning up ----------------------------------------------------------------------------------------------------------


def test_what_dead_runs_left_is_removed_and_what_living_ones_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    living = "20261122T040000_bbbbbb"
    connection = FakeConnection({"FROM pg_locks": lambda _text, parameters: [(1,)] if parameters == key_of(living) else []})
    docker = FakeDocker()
    docker.carriers = [("container", "c1", OTHER_RUN), ("container", "c2", living), ("container", "c3", RUN), ("network", "n1", OTHER_RUN)]
    running = operation(tmp_path, connection, docker, risk=Risk.SAVE)
    for run_id in (OTHER_RUN, living):
        (tmp_path / (".dbops-%s-%s-backup" % (run_id, SERVER_ID))).mkdir()
        (tmp_path / ("dbops-%s-%s-sandbox-x1" % (run_id, SERVER_ID))).mkdir()
    (tmp_path / (".dbops-%s-42-backup" % OTHER_RUN)).mkdir()  # of another server, whose runs cannot be asked for here
    done = clean_up(running)
    assert docker.removed == [("container", "c1"), ("network", "n1")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".dbops-%s-%s-backup" % (living, SERVER_ID), "dbops-%s-%s-sandbox-x1" % (living, SERVER_ID), ".dbops-%s-42-backup" % OTHER_RUN]
    )
    assert len(done) == 4


def key_of(run_id: str) -> tuple[int, int]:
    asked = FakeConnection()
    _clean_up.is_alive(t.cast(t.Any, asked), run_id)
    return t.cast("tuple[int, int]", asked.parameters[0])


def test_nothing_left_means_nothing_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running = operation(tmp_path, risk=Risk.SAVE)
    assert clean_up(running) == []
    assert running.docker.removed == []


# --- facts ----------------------------------------------------------------------------------------------------------------


def test_phases_are_shown_while_they_run_and_add_up() -> None:
    running = operation()
    for phase in ("a", "b", "a", ""):
        running.enter(phase)
    assert running.lock.journal == ["phase a", "phase b", "phase a"]
    assert list(running.phases) == ["a", "b"]
    running.enter("c")
    assert "c" in running.facts()["phases"]  # also where it failed in the middle


def test_facts_name_everything_and_hold_json_types_only() -> None:
    facts = operation().facts()
    assert facts["run_id"] == RUN and facts["server_id"] == SERVER_ID and facts["started"] == "2026-11-23T03:00:00Z"
    assert (facts["operation"], facts["host"], facts["database"], facts["environment"], facts["container"]) == (
        "migrate", "chat-production", "chat", "production", "chat-postgres-prod",
    )  # fmt: skip
    assert json.loads(json.dumps(facts)) == facts


FAILURE = DbopsError("no")


def failed(world_request: t.Any, now: int, error: DbopsError = FAILURE, live: int = 16384, name: str = "", phase: str = "x") -> str:
    running = operation(Path("/b"), FakeConnection(), FakeDocker())
    running.live = live
    running.enter(phase)

    @contextlib.contextmanager
    def look(*_arguments: t.Any, **_options: t.Any) -> t.Iterator[t.Any]:
        if now < 0:
            raise DbopsError("The server does not answer.")
        yield FakeConnection({"SELECT oid": [(now,)], "SELECT datname": [(name,)] if name else []})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lost, "session", look)
        return _lost.state_after_failure(world_request, running, error)


def replacing(**changes: t.Any) -> t.Any:
    return replace(operation(Path("/b"), FakeConnection(), FakeDocker()).request, **{"operation": "restore", **changes})


def test_a_failed_restore_proves_that_the_live_database_is_untouched() -> None:
    assert failed(replacing(), now=16384) == "The live database is untouched: 'chat' is still the one with OID 16384."
    assert failed(replacing(), now=16999) == "", "it was swapped: the error itself says so"
    assert failed(replacing(), now=0, live=0) == ""
    assert _lost.state_after_failure(replacing(), None, FAILURE) == "The live database is untouched: nothing was begun."


def test_a_server_that_does_not_answer_leaves_doubt_only_once_the_swap_has_begun() -> None:
    assert failed(replacing(), now=-1, phase="restore: load") == "The live database is untouched: the swap had not begun."
    doubt = "Whether the live database is still the same cannot be asked"
    assert failed(replacing(), now=-1, phase="restore: swap").startswith(doubt)
    assert failed(replacing(operation="reset"), now=-1, phase="reset: swap").startswith(doubt)


def test_a_database_that_somebody_renamed_or_dropped_meanwhile_is_told_of() -> None:
    assert (
        failed(replacing(), now=0, name="chat_mine")
        == "Somebody renamed 'chat' while this ran: it is called 'chat_mine' now, and untouched."
    )
    assert failed(replacing(), now=0) == "There is no database 'chat' any more: somebody dropped it while this ran."


@pytest.mark.parametrize("error", [Refused("no"), Busy("no"), DbopsError("back", rejected="chat_rejected"), DbopsError("no", swapped=True)])
def test_an_error_that_tells_the_state_itself_is_left_alone(error: DbopsError) -> None:
    assert failed(replacing(), now=16384, error=error) == ""


def test_after_a_swap_the_error_says_so_and_nothing_doubts_it() -> None:
    with pytest.raises(DbopsError, match="swapped before that") as raised, operation().after_swap("chat_before"):
        raise FAILURE
    assert failed(replacing(), now=16999, error=raised.value) == ""


SERVER = container("chat-postgres-prod", started="2026-11-23T02:00:01Z")
BACKEND = container("chat-backend")


def lost(*there: t.Any, folder: str = "", refusal: str = "") -> str:
    @contextlib.contextmanager
    def look(*_arguments: t.Any, **_options: t.Any) -> t.Iterator[t.Any]:
        if refusal:
            raise ServerError("Cannot connect", postgresql=refusal)
        yield FakeConnection()

    running = operation(Path("/b"), FakeConnection(), FakeDocker(*there))
    running.target = replace(
        running.target, container=SERVER, address=replace(running.target.address, host="172.19.0.4"), backends=(BACKEND,)
    )
    if folder:
        running._folders["backup"] = folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lost, "session", look)
        return _lost.what_was_lost(running)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ((SERVER, BACKEND), ""),
        (
            (replace(SERVER, status="exited", exit_code=137), BACKEND),
            "Container 'chat-postgres-prod' has stopped while this ran (exit status 137)",
        ),
        ((replace(SERVER, status="paused"), BACKEND), "Container 'chat-postgres-prod' is paused: 'docker unpause chat-postgres-prod'"),
        ((replace(SERVER, started="2026-11-23T03:00:01Z"), BACKEND), "Container 'chat-postgres-prod' was restarted while this ran"),
        ((replace(SERVER, endpoints=()), BACKEND), "Container 'chat-postgres-prod' has no address"),
        ((replace(SERVER, endpoints=(Endpoint("chat", "172.19.0.9"),)), BACKEND), "Container 'chat-postgres-prod' has another address"),
        ((BACKEND,), "Container 'chat-postgres-prod' was removed while this ran"),
        ((SERVER,), "Container 'chat-backend' was removed while this ran"),
        ((SERVER, replace(BACKEND, status="exited")), ""),
    ],
)
def test_what_went_away_meanwhile_is_the_likeliest_cause(there: tuple[t.Any, ...], words: str) -> None:
    assert lost(*there).startswith(words) if words else lost(*there) == ""


def test_a_server_that_is_shutting_down_is_told_before_its_container_has_stopped() -> None:
    told = lost(SERVER, BACKEND, refusal="FATAL:  the database system is shutting down")
    assert told.startswith("The server in container 'chat-postgres-prod' takes no connections any more: see with 'docker logs")
    assert told.endswith("PostgreSQL says: FATAL:  the database system is shutting down")


def test_a_work_folder_that_somebody_removed_is_named(tmp_path: Path) -> None:
    assert lost(SERVER, BACKEND, folder=str(tmp_path)) == ""
    gone = str(tmp_path / "gone")
    assert lost(SERVER, BACKEND, folder=gone) == "The folder '%s' was removed while this ran: run this again." % gone


def test_an_engine_that_went_away_is_the_cause_in_its_own_words() -> None:
    running = operation(Path("/b"), FakeConnection(), FakeDocker())

    def present(_containers: t.Any) -> t.NoReturn:
        raise EngineError("The Docker engine does not answer.")

    running.docker.present = present
    assert _lost.what_was_lost(running) == "The Docker engine does not answer."


def test_only_what_replaces_the_live_database_tells_of_it() -> None:
    assert failed(replacing(operation="backup"), now=16384) == ""
    assert failed(replacing(check_mode=True), now=16384) == ""


@pytest.mark.parametrize(
    ("operation_name", "database", "template", "words"),
    [
        ("backup", "template1", True, "is a template"),
        ("restore", "mine_as_template", True, "is a template"),
        ("restore", "postgres", False, "cannot be replaced"),
        ("reset", "postgres", False, "cannot be replaced"),
        ("backup", "postgres", False, ""),
        ("restore", "chat", False, ""),
    ],
)
def test_the_servers_own_databases_are_refused(operation_name: str, database: str, template: bool, words: str) -> None:
    asked = replacing(operation=operation_name)
    asked = replace(asked, target=replace(asked.target, database=database))
    connection = FakeConnection({"SELECT datistemplate": [(template,)]})
    if not words:
        _begin._require_ones_own(asked, t.cast(t.Any, connection))
        return
    with pytest.raises(DbopsError, match=words):
        _begin._require_ones_own(asked, t.cast(t.Any, connection))


def test_run_ids_sort_by_time_and_are_safe_everywhere() -> None:
    ids = {new_run_id() for _time in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"[0-9]{8}T[0-9]{6}_[0-9a-f]{6}", run_id) for run_id in ids)


def test_times_are_utc_to_the_second() -> None:
    assert timestamp(AT) == "2026-11-23T03:00:00Z"


def test_a_sandbox_carries_labels_that_say_whose_it_is() -> None:
    assert operation().labels == {"dbops.run": RUN, "dbops.target": "%s/chat" % SERVER_ID}
