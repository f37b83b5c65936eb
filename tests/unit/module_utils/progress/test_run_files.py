# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.progress import _run_files
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.progress._run_files import RunFiles

TARGET = {"database": "chat", "container": "chat-postgres-prod"}


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "dbops.postgres"


def a_run(name: str = "aa", **changes: t.Any) -> RunFiles:
    folder = str(Path(_run_files.root()) / name)
    run = RunFiles(folder, name, "restore", "chat-production", TARGET, "d1", "alice", "2026-11-23T03:00:00Z", os.getpid(), 0)
    run = replace(run, ticks=_run_files.ticks_of(os.getpid()))
    return replace(run, **changes)


def begun(name: str = "aa", unseen: float = 0, ended: float = 0, result: str = "", **changes: t.Any) -> RunFiles:
    """A run whose files are there; ``unseen`` and ``ended`` seconds ago."""
    run = a_run(name, **changes)
    _run_files.prepare(run)
    run.describe()
    run.tell(Progress().standing())
    Path(run.path(_run_files.RESULT)).write_text(result, encoding="utf-8")
    for file, seconds in ((_run_files.SEEN, unseen), (_run_files.STANDING, ended)):
        at = Path(run.path(file)).stat().st_mtime - seconds
        os.utime(run.path(file), (at, at))
    return run


DEAD = {"pid": 2**22 + 1, "ticks": 7}


def test_it_is_private(state: Path) -> None:
    run = begun()
    assert stat.S_IMODE(state.stat().st_mode) == stat.S_IMODE(Path(run.folder).stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in Path(run.folder).iterdir() if path.name != _run_files.SEEN} == {0o600}


def test_room_for_the_result_is_there_before_the_work_begins() -> None:
    run = a_run()
    _run_files.prepare(run)
    assert Path(run.path(_run_files.RESULT)).stat().st_size == 1024 * 1024
    assert run.result() == b""


def test_without_that_room_nothing_is_left(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    def full(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        _run_files.prepare(a_run())
    assert not state.exists()


def test_a_disk_that_became_full_costs_the_work_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun()

    def full(*_arguments: t.Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    run.tell(Progress().standing())
    run.look()


def test_what_it_tells_is_a_line_for_a_person_and_the_numbers() -> None:
    told = begun().standing()
    assert told["line"].startswith("starting") and told["operation"] == "restore"
    assert set(told) >= {"tables_done", "tables", "bytes_done", "bytes_total", "rate", "left", "phase_seconds"}


class TestItsProcess:
    def test_this_one_lives(self) -> None:
        assert a_run().alive

    def test_one_that_has_its_number_but_is_another_is_not_it(self) -> None:
        assert not a_run(ticks=1).alive

    def test_one_of_which_only_the_exit_status_is_left_does_not_live(self) -> None:
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert _run_files.ticks_of(child.pid) == 0
        child.wait()
        assert _run_files.ticks_of(child.pid) == 0


class TestFinding:
    def test_a_run_is_found_by_its_token_whatever_became_of_it(self) -> None:
        begun("aa", **DEAD)
        found = _run_files.find(a_run("aa", digest="other"))
        assert found and not found.alive

    @pytest.mark.parametrize(
        ("how", "found"),
        [
            ({"unseen": 60}, True),
            ({"unseen": 5}, False),
            ({"unseen": 60, "digest": "d2"}, False),
            ({"unseen": 60, "operation": "backup"}, False),
            ({"unseen": 60, "target": dict(TARGET, container="chat-postgres-preview")}, False),
            ({"unseen": 60, "ended": 50, "result": '{"changed": true}', **DEAD}, True),
            ({"unseen": 9000, "ended": 1000, "result": '{"changed": true}', **DEAD}, False),
            ({"unseen": 60, "ended": 50, **DEAD}, False),
        ],
        ids=[
            "nobody looks",
            "somebody looks",
            "asked otherwise",
            "another operation",
            "another server",
            "ended unseen",
            "long ago",
            "killed",
        ],
    )
    def test_the_same_asked_again_finds_what_nobody_follows(self, how: dict[str, t.Any], found: bool) -> None:
        begun("bb", **how)
        assert bool(_run_files.find(a_run("aa"))) is found

    def test_what_somebody_has_had_answers_nobody_else(self) -> None:
        run = begun("bb", unseen=60, ended=50, result="{}", **DEAD)
        run.note_collected()
        assert _run_files.find(a_run("aa")) is None
        assert _run_files.find(a_run("bb")) is not None

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"token": "cc"}', json.dumps({"another": "version"})])
    def test_what_cannot_be_read_is_passed_over(self, text: str, state: Path) -> None:
        (state / "cc").mkdir(parents=True)
        (state / "cc" / _run_files.RUN).write_text(text)
        (state / "dd").mkdir()
        begun("bb")
        assert [run.token for run in _run_files.known_runs()] == ["bb"]

    def test_the_files_of_yesterday_go_and_those_of_a_living_run_stay(self, state: Path) -> None:
        begun("old", ended=100000, **DEAD)
        begun("new", ended=100, **DEAD)
        begun("long", ended=100000)
        assert {run.token for run in _run_files.known_runs()} == {"new", "long"}
        assert sorted(path.name for path in state.iterdir()) == ["long", "new"]


def test_one_that_was_killed_says_how_to_go_on() -> None:
    run = begun(**DEAD)
    assert "type the same line again" in run.lost() and "errors" not in run.lost()
    Path(run.path(_run_files.ERRORS)).write_text("Traceback")
    assert run.path(_run_files.ERRORS) in run.lost()


def test_the_result_is_what_was_printed_without_the_room_that_was_set_aside() -> None:
    run = begun(result='\n{"changed": true}\n' + "\x00" * 100)
    assert run.result() == b'{"changed": true}'


def test_without_a_home_for_state_it_is_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/deploy")
    assert _run_files.root() == "/home/deploy/.local/state/dbops.postgres"
