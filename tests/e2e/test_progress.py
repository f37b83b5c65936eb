# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The story "stuck, or working?": how far an operation is, on a terminal, in a job's log and from a second terminal; and that it goes on
where nobody is connected any more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from controller import ROOT, Controller, Started
from faults import Eye, Hand, damaged_backups, journal, left_behind
from stack import Server, Stack, command, wait_until
from traffic import holding, waiting_for_locks

#: A person sees something new at least so often.
MOST_SECONDS = 10

#: Python keeps back what it writes into a file.
AT_ONCE = {"PYTHONUNBUFFERED": "1"}

LINE = re.compile(r"\[chat-production\] backup: dump, [\d.a-z ]+: \d of 5 tables, .*?MB")


@contextmanager
def paused_dump(server: Server, hand: Hand) -> Iterator[None]:
    """A dump that stands still in the middle of the rows, until this ends."""
    with Eye(server, "backup") as eye:
        _pid, _port, card = eye.wait_for("backup: dump")
    dump = f"dbops-{card['run_id']}-dump"
    wait_until(lambda: command("docker", "update", "--cpus", "0.1", dump, check=False).returncode == 0)
    written = f"cat {server.backups}/.dbops-*/dump/*.dat* 2>/dev/null | wc -c"
    wait_until(lambda: int(hand.do(written)) > 1_000_000, 120)
    wait_until(lambda: command("docker", "pause", dump, check=False).returncode == 0)  # one that is held so short may not freeze at once
    try:
        yield
    finally:
        command("docker", "unpause", dump)
        command("docker", "update", "--cpus", "2", dump)


@pytest.fixture
def large(v2: None, production: Server) -> None:
    production.make_large(150_000)


@contextmanager
def held(controller: Controller, server: Server) -> Iterator[Started]:
    """A backup that waits in the middle, until this ends."""
    with holding(server, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
        started = controller.start("backup", "-l", "production", env={"USER": "alice", **AT_ONCE})
        wait_until(lambda: any(query.startswith("LOCK TABLE") for query in waiting_for_locks(server)))
        yield started


def is_followed(started: Started) -> bool:
    """Whether Ansible knows by now that it works on by itself."""
    return "[chat-production] backup: " in started.output_so_far


def test_a_job_says_how_far_it_is_and_a_second_terminal_too(
    large: None, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    backing_up = controller.start("backup", "-l", "production", env={"USER": "alice", **AT_ONCE})
    seen: list[tuple[float, str]] = []
    with paused_dump(production, hand):
        begun = time.monotonic()
        while time.monotonic() - begun < 35:
            text = backing_up.output_so_far
            lines = LINE.findall(text)
            if len(lines) > len(seen):
                seen.append((time.monotonic(), lines[-1]))
            time.sleep(0.2)
        looked = controller.run("progress", "-l", "production", dbops_progress_follow=False)
        following = controller.start("progress", "-l", "production", env=AT_ONCE)
        wait_until(lambda: is_followed(following))
    done = backing_up.wait()
    assert done.ok, done.output
    assert len(seen) >= 3
    moments = [begun, *(moment for moment, _line in seen)]
    assert max(later - earlier for earlier, later in zip(moments, moments[1:], strict=False)) <= MOST_SECONDS
    assert re.search(r"MB, table public\.\w+", done.output), "what is worked on now"

    assert looked.ok and looked.remote_tasks == 1
    [run] = looked.result()["runs"]
    assert (run["operation"], run["operator"], run["alive"], run["standing"]["phase"]) == ("backup", "alice", True, "backup: dump")
    assert run["standing"]["bytes_done"] > 0
    assert f"kill -TERM {run['pid']}" in " ".join(looked.result()["summary"])

    followed = following.wait()
    assert followed.ok and "[chat-production] backup: " in followed.output
    assert "No operation on database" in followed.output
    assert left_behind(stack) == []


def test_a_terminal_has_one_line_that_is_written_over(
    large: None, controller: Controller, production: Server, hand: Hand, tmp_path: Path
) -> None:
    argv = controller.argv("backup", "-l", "production")
    environment = {name: text for name, text in controller.environment(tmp_path / "record").items() if name not in ("CI", "GITHUB_ACTIONS")}
    child = pexpect.spawn(argv[0], list(argv[1:]), cwd=str(ROOT), env=environment, timeout=120, encoding="utf-8", dimensions=(50, 120))
    with paused_dump(production, hand):
        for _time in range(5):
            child.expect(r"\r\[chat-production\] backup: dump, [^\r\n]* of 5 tables[^\r\n]*")
            assert len(child.after) <= 121
    rest = child.read()
    child.close()
    assert child.exitstatus == 0, rest
    assert re.search(r"\r +\r", rest), "the line is cleared"
    assert "is complete and verified" in " ".join(rest.split())


def test_whoever_types_the_same_line_again_is_attached(
    v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    with held(controller, production) as started:
        wait_until(lambda: is_followed(started), 60)
        started.process.kill()  # what a laptop that is closed does
        started.process.wait()
        refused = controller.run("backup", "-l", "production")
        assert "is busy: backup by alice" in refused.message, "somebody may be looking still"
        time.sleep(16)
        again = controller.start("backup", "-l", "production", env=AT_ONCE)
        wait_until(lambda: is_followed(again), 60)
    done = again.wait()
    assert done.ok, done.output
    assert "Nothing new was begun" in done.output and "by 'alice'" in done.output
    entries = journal(stack, production)
    assert [entry["result"] for entry in entries] == ["busy", "ok"]
    assert done.result()["operation"]["run_id"] == entries[1]["run_id"]
    assert stack.backups(production) == [done.result()["backup"]["id"]]
    assert damaged_backups(stack, production) == [] and left_behind(stack) == []
    further = controller.run("backup", "-l", "production")
    assert further.ok and len(stack.backups(production)) == 2, "its result was told: the same line now makes a new one"


def test_what_ended_while_nobody_looked_is_told_to_whoever_asks_again(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    with held(controller, production) as started:
        wait_until(lambda: is_followed(started), 60)
        started.process.kill()
        started.process.wait()
    wait_until(lambda: journal(stack, production), 60)
    time.sleep(16)
    seen = controller.run("progress", "-l", "production")
    assert "type the line that began it once more" in seen.output
    done = controller.run("backup", "-l", "production")
    assert done.ok and "what follows is its result" in done.output
    assert stack.backups(production) == [done.result()["backup"]["id"]]


def test_a_job_that_is_cancelled_ends_its_operation_on_the_host(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    with held(controller, production) as started:
        wait_until(lambda: is_followed(started), 60)
        started.process.terminate()
        started.process.wait()
        [entry] = wait_until(lambda: journal(stack, production), 60)
    assert "Interrupted by signal 15" in entry["message"]
    wait_until(lambda: left_behind(stack) == [])
    assert stack.backups(production) == []


@pytest.mark.long
def test_a_connection_that_stays_away_says_how_to_go_on(
    v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    """The address of the host answers nobody any more; the operation there knows nothing of it."""
    with held(controller, production) as started:
        wait_until(lambda: is_followed(started), 60)
        with stack.sshd_stopped():
            hand.cut_connections()
            cut = started.wait()
        assert not cut.ok
        assert "The backup goes on there: type the same line again" in " ".join(cut.output.split())
    again = controller.run("backup", "-l", "production")
    assert again.ok and "Nothing new was begun" in again.output
    assert len(stack.backups(production)) == 1
