# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real processes: what is tried here cannot be played."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.progress import _run_files
from ansible_collections.dbops.postgres.plugins.module_utils.progress._run_files import RunFiles

#: Stands for a module: it divides itself; one half waits, the other works.
MODULE = """
import json, os, signal, sys, time
sys.path.insert(0, sys.argv[3])
import conftest  # offers the collection
from ansible_collections.dbops.postgres.plugins.module_utils.progress import _own_process, _run_files
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
run = _run_files.RunFiles(os.path.join(_run_files.root(), "aa"), "aa", "backup", "h", {}, "d", "alice", "2026-11-23T03:00:00Z")
wait, work = float(sys.argv[1]), sys.argv[2]
old = _own_process.part(run)
if old:
    ended = _own_process.wait(old, wait)
    print(json.dumps({"ended": ended, "pid": old.pid, "alive": old.alive, "result": old.result().decode()}))
    sys.stdout.flush()
    os._exit(0)
progress = Progress()
_own_process.tell(run, progress)
progress.enter("backup: dump")
exec(work)
print(json.dumps({"changed": True}))
"""


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def start(wait: float, work: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", MODULE, str(wait), work, str(Path(__file__).resolve().parents[2])]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition: t.Callable[[], t.Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answer(process: subprocess.Popen[str]) -> dict[str, t.Any]:
    out, errors = process.communicate(timeout=30)
    assert out, errors
    return dict(json.loads(out))


def the_run() -> RunFiles:
    [run] = _run_files.known_runs()
    return run


def ended(run: RunFiles) -> RunFiles:
    wait_until(lambda: not run.alive)
    return run


def test_short_work_has_ended_when_the_one_that_waits_answers() -> None:
    assert answer(start(20, "time.sleep(0.2)")) == {
        "ended": True,
        "pid": the_run().pid,
        "alive": False,
        "result": '{"changed": true}',
    }


def test_long_work_goes_on_when_the_one_that_was_started_is_gone() -> None:
    said = answer(start(0.1, "time.sleep(1.5)"))
    assert (said["ended"], said["alive"], said["result"]) == (False, True, "")
    wait_until(lambda: the_run().standing()["phase"] == "backup: dump")
    assert json.loads(ended(the_run()).result()) == {"changed": True}
    assert Path(the_run().path(_run_files.RESULT)).stat().st_size < 100


def test_it_tells_how_far_it_is_again_and_again() -> None:
    answer(start(0.1, "time.sleep(2)"))
    lines = set()
    while the_run().alive:
        lines.add(the_run().standing()["line"])
        time.sleep(0.1)
    assert len(lines) >= 3


def test_it_has_neither_terminal_nor_session_of_the_one_that_started_it() -> None:
    answer(start(0.1, "print(os.getsid(0) == os.getpid(), sys.stdin.read() == ''); time.sleep(0.3)"))
    assert ended(the_run()).result().decode().splitlines()[0] == "True True"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_end_of_the_one_that_waits_is_not_its_end(number: int) -> None:
    process = start(20, "time.sleep(1)")
    wait_until(_run_files.known_runs)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert json.loads(ended(the_run()).result()) == {"changed": True}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_the_one_that_waits_is_told_to_do_reaches_it(number: int) -> None:
    """Where Ansible works without SSH, a job that is cancelled signals this process."""
    process = start(20, "signal.signal(%d, lambda *_: (print('told'), sys.exit(1))); open(run.path('ready'), 'w'); time.sleep(20)" % number)
    wait_until(lambda: _run_files.known_runs() and Path(the_run().path("ready")).exists())
    process.send_signal(number)
    assert answer(process)["result"] == "told"


def test_one_that_is_killed_leaves_no_result() -> None:
    said = answer(start(20, "os.kill(os.getpid(), 9)"))
    assert (said["ended"], said["alive"], said["result"]) == (True, False, "")


def test_what_it_prints_beside_its_result_is_kept_for_whoever_asks_why() -> None:
    answer(start(20, "1 / 0"))
    assert "ZeroDivisionError" in Path(the_run().errors()).read_text()


def test_where_there_is_no_room_nothing_is_divided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    _out, errors = start(0.1, "pass").communicate(timeout=30)
    assert "NotADirectoryError" in errors
