# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stages that run side by side: all of them run, and an interruption ends all of them."""

from __future__ import annotations

import importlib.util
import threading
import time
from pathlib import Path

import pytest

import stages
from stages import Stage, exits_zero, side_by_side

RUNNER = Path(__file__).resolve().parents[2] / "run" / "__main__.py"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(stages, "CACHE", tmp_path)
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    return Stage("one")


def test_every_stage_is_in_the_schedule_once() -> None:
    specification = importlib.util.spec_from_file_location("tests_run", RUNNER)
    assert specification and specification.loader
    runner = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(runner)
    scheduled = [name for rows in runner.SCHEDULE for row in rows for name in row]
    assert sorted(scheduled) == sorted(runner.STAGES)


def test_lanes_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)
    side_by_side([lambda: both.wait() and None, lambda: both.wait() and None], lambda: None)


def test_a_lane_that_breaks_stops_the_others_and_is_not_kept_quiet() -> None:
    stopped = threading.Event()

    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        side_by_side([broken, lambda: stopped.wait(10) and None], stopped.set)
    assert stopped.is_set()


def test_a_stage_that_is_ended_ends_its_program_and_begins_no_other_but_to_clean_up(stage: Stage) -> None:
    def run() -> None:
        with pytest.raises(KeyboardInterrupt):
            while True:
                stage.run(["sleep", "60"])

    thread = threading.Thread(target=run)
    begun = time.monotonic()
    thread.start()
    while stage._running is None:
        time.sleep(0.01)
    stage.end()
    thread.join()
    assert time.monotonic() - begun < 30
    assert stage.check("cleaning", ["true"], exits_zero("done"), always=True)
