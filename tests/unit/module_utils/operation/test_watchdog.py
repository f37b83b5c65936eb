# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch over lock waits: it cancels only the runner's own waits, names who is in the way, and ends what the runner left running."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Endpoint
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import BoundedOutput, Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation import _watchdog, _watched_run
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import LockLimits, Queue, Watchdog
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watched_run import run_watched
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, FakeDocker, container, operation

RUNNER = Runner(("/app/backend", "migrate"), "chat-backend:v1", "sha256:backend", container())
READER = (7, "ann", "psql", "10.0.0.5", "idle in transaction", 61.4, "SELECT *\n FROM users")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watchdog, "INTERVAL", 0.005)


class Watched(FakeConnection):
    """Tells when it was looked at for the ``looks``-th time."""

    def __init__(self, answers: dict[str, t.Any], looks: int = 2) -> None:
        super().__init__(answers)
        self.enough = threading.Event()
        self._looks = looks

    def answer(self, text: str, parameters: t.Any) -> list[tuple[t.Any, ...]]:
        try:
            return super().answer(text, parameters)
        finally:
            if len(self.said("NOT l.granted")) >= self._looks:
                self.enough.set()


def watch(connection: Watched, addresses: t.Callable[[], list[str]] = lambda: ["172.19.0.9"], limits: LockLimits | None = None) -> Watchdog:
    with Watchdog(t.cast(t.Any, connection), "chat", "dbops migrate x runner", addresses, limits or LockLimits(1.5)) as watchdog:
        assert connection.enough.wait(10)
    return watchdog


def test_a_wait_that_takes_too_long_is_cancelled_and_its_blockers_are_named() -> None:
    waiting = [[(42, "ALTER TABLE users\n ADD x int", [7, 8])]]
    connection = Watched(
        {
            "NOT l.granted": lambda _text, _parameters: waiting.pop() if waiting else [],
            "coalesce(usename": [READER],
            "pg_cancel_backend": [(True,)],
        }
    )
    watchdog = watch(connection)
    assert watchdog.cancelled == [
        "'ALTER TABLE users ADD x int' waited longer than 1.5 s for a lock, held by: pid 7, user ann, application 'psql' from 10.0.0.5,"
        " idle in transaction for 61 s: SELECT * FROM users; pid 8"
    ]
    assert watchdog.trouble == ""
    assert connection.parameters[connection.statements.index("SELECT pg_cancel_backend(%s)")] == (42,)


def test_only_the_runners_sessions_in_this_database_are_looked_at() -> None:
    connection = Watched({})
    watch(connection)
    asked = [parameters for statement, parameters in zip(connection.statements, connection.parameters) if "NOT l.granted" in statement]
    assert set(map(repr, asked)) == {repr(("chat", ["172.19.0.9"], "dbops migrate x runner", 1.5))}
    assert not connection.said("pg_cancel_backend")


def test_a_wait_that_ended_by_itself_does_not_count() -> None:
    connection = Watched({"NOT l.granted": [(42, "ALTER", [])], "pg_cancel_backend": [(False,)]})
    assert watch(connection).cancelled == []


def test_blockers_that_are_gone_are_nobody() -> None:
    connection = Watched({"NOT l.granted": [(42, "ALTER", [])], "pg_cancel_backend": [(True,)]}, looks=1)
    assert watch(connection).cancelled[0].endswith("held by: nobody any more")


def test_the_runners_address_is_asked_for_until_it_has_one() -> None:
    answers = [[], [], ["172.19.0.9"]]
    asked: list[int] = []

    def addresses() -> list[str]:
        asked.append(1)
        return answers[min(len(asked), 3) - 1]

    connection = Watched({}, looks=6)
    watch(connection, addresses)
    assert len(asked) == 3


def test_trouble_of_the_watch_is_told_and_does_not_end_the_migration() -> None:
    connection = Watched({"NOT l.granted": ServerError("the session is gone")}, looks=1)
    assert watch(connection).trouble == "the session is gone"


def test_sessions_that_outlive_the_runner_are_ended() -> None:
    left = [[(True,)], [(True,)]]
    connection = Watched({"pg_terminate_backend": lambda _text, _parameters: left.pop() if left else []})
    watch(connection)
    assert left == []
    assert len(connection.said("pg_terminate_backend")) == 3
    assert connection.parameters[-1] == ("chat", ["172.19.0.9"], "dbops migrate x runner")


def test_sessions_that_do_not_end_are_an_error() -> None:
    watchdog = Watchdog(t.cast(t.Any, FakeConnection({"pg_terminate_backend": [(True,)]})), "chat", "x", list, LockLimits(1))
    with pytest.raises(DbopsError, match="its sessions in database 'chat' do not"):
        watchdog.end_sessions(0.02)


# --- what it holds, and who waits -------------------------------------------------------------------------------------------

HELD = [(42, 16400, "AccessExclusiveLock", "03:00", False)]
PRESENT = [(42, True, 3.5, "ALTER TABLE users"), (7, False, 1.0, "SELECT 1")]


def test_what_the_runner_holds_and_who_waits_behind_it_is_measured() -> None:
    connection = Watched(
        {"l.relation::bigint": HELD, "wait_event_type": [(7, [42]), (8, [42]), (9, [1])], "a.datname IS NOT NULL": PRESENT}, looks=5
    )
    watchdog = watch(connection)
    assert watchdog.queue.most == 2 and watchdog.queue.seconds > 0
    [span] = watchdog.held
    assert (span.table, span.what) == (16400, "AccessExclusiveLock") and span.seconds > 0
    assert watchdog.slowest == (3.5, "ALTER TABLE users")
    assert watchdog.long_holds == {} and not connection.said("pg_cancel_backend")


@pytest.mark.parametrize(("end", "idle", "cancelled", "terminated"), [(False, False, 0, 0), (True, False, 1, 0), (True, True, 0, 1)])
def test_a_lock_that_is_held_too_long_while_others_wait_is_told_or_ended(end: bool, idle: bool, cancelled: int, terminated: int) -> None:
    """One that waits for its client has nothing to be cancelled: its session ends."""
    connection = Watched(
        {
            "l.relation::bigint": [(42, 16400, "AccessExclusiveLock", "03:00", idle)],
            "SELECT pg_terminate_backend(%s)": [(True,)],
            "wait_event_type": [(7, [42])],
            "a.datname IS NOT NULL": PRESENT,
            "pg_cancel_backend": [(True,)],
        },
        looks=20,
    )
    watchdog = watch(connection, limits=LockLimits(1.5, hold=0.02, end=end))
    assert list(watchdog.long_holds) == [42] and "while 1 session waited (dbops_migrate_lock_hold_max)" in watchdog.long_holds[42]
    assert watchdog.ended_long_hold is end
    assert len(connection.said("SELECT pg_cancel_backend(%s)")) == cancelled
    assert len(connection.said("SELECT pg_terminate_backend(%s)")) == terminated


def test_a_cancel_that_came_too_late_is_followed_by_the_end_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that was idle for a moment has lost nothing by it."""
    monkeypatch.setattr(_watchdog, "_PATIENCE", 0.02)
    connection = Watched(
        {
            "l.relation::bigint": HELD,
            "wait_event_type": [(7, [42])],
            "a.datname IS NOT NULL": PRESENT,
            "pg_cancel_backend": [(True,)],
            "SELECT pg_terminate_backend(%s)": [(True,)],
        },
        looks=30,
    )
    watch(connection, limits=LockLimits(1.5, hold=0.02, end=True))
    assert len(connection.said("SELECT pg_cancel_backend(%s)")) == 1 and connection.said("SELECT pg_terminate_backend(%s)")


def test_a_lock_that_nobody_waits_for_may_be_held() -> None:
    connection = Watched({"l.relation::bigint": HELD, "wait_event_type": [(7, [1])], "a.datname IS NOT NULL": PRESENT}, looks=20)
    assert watch(connection, limits=LockLimits(1.5, hold=0.01)).long_holds == {}


def test_short_transactions_one_after_the_other_are_no_long_one() -> None:
    times = iter(range(1000))
    connection = Watched(
        {
            "l.relation::bigint": lambda *_: [(42, 16400, "AccessExclusiveLock", next(times), False)],
            "wait_event_type": [(7, [42])],
            "a.datname IS NOT NULL": PRESENT,
        },
        looks=20,
    )
    watchdog = watch(connection, limits=LockLimits(1.5, hold=0.01))
    assert watchdog.long_holds == {} and len(watchdog.held) > 5


# --- the run ----------------------------------------------------------------------------------------------------------------


class FakeWatchdog:
    seen: tuple[t.Any, ...] = ()
    trouble = ""
    cancelled = ["'ALTER' waited"]
    own: t.ClassVar[set[int]] = {8}
    others: t.ClassVar[set[int]] = {7}
    long_holds: t.ClassVar[dict[int, str]] = {}
    ended_long_hold = False
    held: t.ClassVar[list[t.Any]] = []
    queue = Queue()
    slowest = (0.0, "")
    sees_others = True

    def __init__(self, _connection: t.Any, *arguments: t.Any) -> None:
        type(self).seen = arguments

    def __enter__(self) -> FakeWatchdog:
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        return None


@pytest.fixture
def watched_operation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Operation:
    monkeypatch.setattr(_watched_run, "session", lambda *_arguments: contextlib.nullcontext(FakeConnection()))
    monkeypatch.setattr(_watched_run, "Watchdog", FakeWatchdog)
    return operation(tmp_path, FakeConnection(), FakeDocker(container()))


def test_the_watch_knows_the_runner_by_its_sessions_name_and_its_containers_address(watched_operation: Operation) -> None:
    assert run_watched(watched_operation, RUNNER, "migrate-1", 60, LockLimits(1.5)).waits == ["'ALTER' waited"]
    database, application, addresses, limits = FakeWatchdog.seen
    assert (database, application, limits) == ("chat", watched_operation.application + " runner", LockLimits(1.5))
    assert addresses() == []  # the container is not there yet, or gone
    docker = t.cast(FakeDocker, watched_operation.docker)
    name = "dbops-%s-migrate-1" % watched_operation.run_id
    docker.containers["x"] = container(name, endpoints=(Endpoint("chat", "172.19.0.9"), Endpoint("none", "")))
    assert addresses() == ["172.19.0.9"]


def test_a_watch_that_ended_early_is_a_warning(watched_operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeWatchdog, "trouble", "the session is gone")
    run_watched(watched_operation, RUNNER, "seed", 60)
    assert watched_operation.warnings == ["The watch over the runner's sessions ended early: the session is gone"]


LOG = """2026-11-27 01:00:00.000 UTC [7] ERROR:  division by zero
2026-11-27 01:00:00.000 UTC [7] STATEMENT:  INSERT INTO users SELECT 1/0
2026-11-27 01:00:00.000 UTC [8] ERROR:  duplicate key value violates unique constraint "users_pkey"
2026-11-27 01:00:00.000 UTC [8] DETAIL:  Key (id)=(1) already there.
2026-11-27 01:00:00.000 UTC [8] STATEMENT:  INSERT INTO users
\tVALUES (1)
2026-11-27 01:00:00.000 UTC [8] ERROR:  relation "probe" does not exist at character 15
2026-11-27 01:00:00.000 UTC [8] STATEMENT:  SELECT * FROM probe
2026-11-27 01:00:00.000 UTC [9] ERROR:  value too long
2026-11-27 01:00:00.000 UTC [9] STATEMENT:  UPDATE users SET card = '4000-1234'
2026-11-27 01:00:00.000 UTC [10] ERROR:  null value in column "id"
2026-11-27 01:00:00.000 UTC [10] STATEMENT:  DELETE FROM rooms
"""


def test_what_the_server_refused_is_read_from_its_log_but_for_what_others_did(watched_operation: Operation) -> None:
    t.cast(FakeDocker, watched_operation.docker).texts[watched_operation.target.container.id] = LOG
    watched = run_watched(watched_operation, RUNNER, "seed", 60)
    [failed] = watched.refused
    assert (failed.sql, failed.session, failed.caught) == ("INSERT INTO users\nVALUES (1)", 8, False)
    assert watched.refused_unknown == ""
    assert [failed.session for failed in watched.uncertain] == [9, 10]  # never seen, so perhaps the runner's, perhaps not
    assert watched.where.startswith("docker logs --since ") and watched.where.endswith(watched_operation.target.container.name)


def test_of_what_may_be_somebody_elses_nothing_is_shown_but_where_it_is(watched_operation: Operation) -> None:
    """A statement may hold what is not ours to see; what the runner has sent in the sandbox is its own."""
    t.cast(FakeDocker, watched_operation.docker).texts[watched_operation.target.container.id] = LOG
    watched = run_watched(watched_operation, RUNNER, "migrate-1", 60)
    refused = watched.tell(watched_operation, RUNNER, executed=["DELETE FROM rooms"])
    assert [failed.sql for failed in refused.statements] == ["INSERT INTO users\nVALUES (1)", "DELETE FROM rooms"]
    [warning] = watched_operation.warnings
    [line] = refused.not_known
    assert "1 statement refused of sessions too short to tell whose they were; to see them: docker logs --since " in line
    assert "4000-1234" not in warning + line + repr(refused.facts())
    told = watched.tell(watched_operation, RUNNER, watched.refused + watched.uncertain)
    assert told.statements == () and told.not_known == []


def test_a_log_of_which_a_part_is_left_out_is_not_taken_for_a_whole_one(
    watched_operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = BoundedOutput(8)
    cut.add(b"x" * 100)
    monkeypatch.setattr(watched_operation.docker, "read_log", lambda *_arguments: Outcome(0, "", cut.text()))
    assert "too long for that time" in run_watched(watched_operation, RUNNER, "seed", 60).refused_unknown


def test_a_log_that_cannot_be_read_is_not_taken_for_one_without_errors(
    watched_operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_operation.docker, "read_log", lambda *_arguments: Outcome(1, "", "does not support reading"))
    assert "cannot be read" in run_watched(watched_operation, RUNNER, "seed", 60).refused_unknown
    watched_operation.maintenance.answers["'log_line_prefix'"] = [("%t ", "stderr", "off", "warning", "error", "C")]  # type: ignore[attr-defined]
    watched = run_watched(watched_operation, RUNNER, "seed", 60)
    told = watched.tell(watched_operation, RUNNER)
    assert told.not_known == ["Whether the server refused something of it meanwhile is not known: log_line_prefix has no %p."]
    assert told.facts() == {"refused": [], "refused_unknown": "log_line_prefix has no %p"}


def test_who_is_there_before_and_after_the_runner_is_somebody_else() -> None:
    present = [[(1, False, None, "")], [(1, False, None, ""), (2, False, None, ""), (5, True, None, "")], [(3, False, None, "")]]
    connection = FakeConnection({"a.datname IS NOT NULL": lambda _text, _parameters: present.pop(0) if len(present) > 1 else present[0]})
    with Watchdog(t.cast(t.Any, connection), "chat", "x", lambda: ["172.19.0.9"], LockLimits()) as watchdog:
        while len(present) > 1:
            time.sleep(0.005)
    assert (watchdog.own, watchdog.others) == ({5}, {1, 2, 3})
    assert connection.parameters[1] == ("chat", [], "x")


def test_without_a_limit_no_wait_is_cancelled_but_what_is_left_is_ended() -> None:
    connection = FakeConnection({})
    learnt = threading.Event()

    def addresses() -> list[str]:
        learnt.set()
        return ["172.19.0.9"]

    with Watchdog(t.cast(t.Any, connection), "chat", "x", addresses, LockLimits()):
        assert learnt.wait(10)
    assert not connection.said("NOT l.granted")
    assert connection.parameters[-1] == ("chat", ["172.19.0.9"], "x")
