# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The story "stuck, or working?": a dump that takes minutes, seen from a second terminal, and cut off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller import Controller
from faults import Eye, Hand, damaged_backups, journal, left_behind
from stack import Server, Stack, command, wait_until

#: Of Python on the controller and on the target.
MOST_MEGABYTES = 100


@pytest.fixture
def large(v2: None, production: Server) -> None:
    production.make_large(150_000)


def peak_megabytes(pid: int | str) -> float:
    """The most memory that a process has had so far."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def children(pid: int) -> list[int]:
    found = [int(child) for child in command("ps", "-o", "pid=", "--ppid", str(pid), check=False).stdout.split()]
    return found + [grandchild for child in found for grandchild in children(child)]


def pythons(pid: int) -> list[int]:
    return [each for each in [pid, *children(pid)] if Path(f"/proc/{each}/comm").read_text().startswith(("python", "ansible"))]


@pytest.mark.long
def test_a_slow_dump_is_seen_to_work_and_survives_the_end_of_its_connection(
    large: None, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    backing_up = controller.start("backup", "-l", "production", env={"USER": "alice"})
    with Eye(production, "backup") as eye:
        _pid, port, card = eye.wait_for("backup: dump")
        dump = f"dbops-{card['run_id']}-dump"
        wait_until(lambda: command("docker", "update", "--cpus", "0.02", dump, check=False).returncode == 0)
        module = hand.module_of(port)

        told = controller.run_module(
            "dbops.postgres.database_info",
            "chat-production",
            {"container": production.name, "database": "chat", "backup_dir": production.backups},
        )
        assert told.returncode == 0, told.stdout
        for words in ("operation: backup", "operator: alice", "phase: 'backup: dump'", f"run_id: {card['run_id']}"):
            assert words in told.stdout
        refused = controller.run("backup", "-l", "production")
        assert "is busy: backup by alice" in refused.message and "phase 'backup: dump'" in refused.message

        written = f"cat {production.backups}/.dbops-*/dump/*.dat* 2>/dev/null | wc -c"
        wait_until(lambda: int(hand.do(written)) > 5_000_000, 120)
        assert peak_megabytes(module) < MOST_MEGABYTES
        for process in pythons(backing_up.process.pid):
            assert peak_megabytes(process) < MOST_MEGABYTES

        assert eye.phase() == "backup: dump"
        hand.cut_connections()
        command("docker", "update", "--cpus", "2", dump)
        done = backing_up.wait()
        assert done.ok, done.output

    following = controller.run("backup", "-l", "production", dbops_lock_wait=120)
    assert following.ok, following.output
    assert [entry["result"] for entry in journal(stack, production)] == ["busy", "ok", "ok"]
    assert len(stack.backups(production)) == 2
    assert damaged_backups(stack, production) == []
    assert left_behind(stack) == []
