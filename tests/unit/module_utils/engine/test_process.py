# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running real small programs: bounded output, time limits, files, and secrets that stay out of the argument list."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import KEPT, BoundedOutput, Outcome, run_process


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_exit_status_and_both_streams_come_back() -> None:
    outcome = run_process(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert outcome == Outcome(3, "out\n", "err\n")
    assert outcome.output == "out\nerr"


def test_output_shows_no_empty_stream() -> None:
    assert Outcome(0, "\n", " x ").output == "x"


def test_nothing_is_interpreted_by_a_shell() -> None:
    assert run_process(["echo", "$HOME; `id` * | cat"]).stdout == "$HOME; `id` * | cat\n"


def test_a_missing_program_is_said_to_be_missing() -> None:
    with pytest.raises(FileNotFoundError):
        run_process(["no-such-program-here"])


def test_a_missing_program_leaves_no_open_files(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        run_process(["no-such-program-here"], stdin_path=str(source), stdout_path=str(tmp_path / "out"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_environment_is_added_to_ours_and_messages_are_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    outcome = run_process(python("import os; print(os.environ['OURS'], os.environ['THEIRS'], os.environ['LC_ALL'])"), env={"THEIRS": "2"})
    assert outcome.stdout == "1 2 C\n"


def test_a_program_without_input_reads_nothing() -> None:
    assert run_process(["cat"]).stdout == ""


def test_input_comes_from_a_file_and_output_goes_to_a_private_one(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"a\x00b" * 100000)
    outcome = run_process(["cat"], stdin_path=str(source), stdout_path=str(target))
    assert outcome == Outcome(0, "", "")
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_program_that_takes_too_long_is_killed() -> None:
    started = time.monotonic()
    outcome = run_process(python("import time, sys; print('begun', flush=True); time.sleep(60)"), timeout=0.7)
    assert outcome.timed_out
    assert outcome.rc == -9
    assert outcome.stdout == "begun\n"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("timeout", [None, 50])
def test_an_interruption_kills_the_program(tmp_path: Path, timeout: float | None) -> None:
    """A signal's exception comes out of the wait; the program must not go on without us."""
    pid_file = tmp_path / "pid"
    code = (
        "import os, time; f = open(%r + '.new', 'w'); f.write(str(os.getpid())); f.close(); os.rename(%r + '.new', %r); time.sleep(60)"
        % ((str(pid_file),) * 3)
    )

    class Interrupted(Exception):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        if pid_file.exists() and time.time() - pid_file.stat().st_mtime > 0.2:  # it has long been started
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # as a module does: a second one may be under way already
            raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with pytest.raises(Interrupted):
            run_process(python(code), timeout=timeout)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_fifty_megabytes_of_output_are_bounded_in_memory() -> None:
    code = "import sys; line = b'0123456789abcde\\n' * 65536\nfor _ in range(50): sys.stdout.buffer.write(line)\nsys.stdout.buffer.write(b'the end')"
    tracemalloc.start()
    outcome = run_process(python(code))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024
    assert outcome.stdout.startswith("0123456789abcde\n")
    assert outcome.stdout.endswith("the end")
    assert "bytes left out" in outcome.stdout
    assert len(outcome.stdout) < 2 * KEPT + 100


def test_all_output_is_kept_where_that_was_asked_for() -> None:
    assert len(run_process(python("print('x' * 1000000)"), kept=None).stdout) == 1000001


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert run_process(python("import sys; sys.stdout.buffer.write(b'a\\xffb\\x00c')")).stdout == "a\ufffdb\ufffdc"


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 30))
def test_what_is_left_out_is_the_middle_and_its_size_is_told(chunks: list, kept: int) -> None:
    bounded = BoundedOutput(kept)
    for chunk in chunks:
        bounded.add(chunk)
    whole = b"".join(chunks)
    if len(whole) <= 2 * kept:
        assert bounded.text() == whole.decode("utf-8", "replace").replace("\x00", "\ufffd")
    else:
        head, dropped, tail = bounded.text().partition("\n[... %d bytes left out ...]\n" % (len(whole) - 2 * kept))
        assert dropped
        assert head == whole[:kept].decode("utf-8", "replace").replace("\x00", "\ufffd")
        assert tail == whole[-kept:].decode("utf-8", "replace").replace("\x00", "\ufffd")


def test_a_character_across_the_border_stays_whole_where_nothing_was_left_out() -> None:
    bounded = BoundedOutput(3)
    bounded.add("aaé".encode())
    assert bounded.text() == "aaé"
