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


@pytest.mark.parametrize("first", [True, False])
def test_a_lane_that_breaks_stops_the_others_at_once_and_is_not_kept_quiet(first: bool) -> None:
    stopped = threading.Event()

    def broken() -> None:
        raise ValueError("broken")

    def waits() -> None:
        assert stopped.wait(10)

    with pytest.raises(ValueError, match="broken"):
        side_by_side([broken, waits] if first else [waits, broken], stopped.set)


def begin(stage: Stage, seen: list[str], always: bool) -> threading.Thread:
    """Run programs in a thread until the stage is ended; what came of it is in ``seen``."""

    def run() -> None:
        try:
            seen.append("ended" if stage.run(["sleep", "60" if not always else "2"], always=always).code else "done")
            stage.run(["sleep", "60"])
        except KeyboardInterrupt:
            seen.append("no other")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while "$ sleep" not in stage.log.read_text():
        time.sleep(0.01)
    return thread


@pytest.mark.parametrize(("always", "first"), [(False, "ended"), (True, "done")])
def test_a_stage_that_is_ended_ends_its_program_unless_that_cleans_up_and_begins_no_other(stage: Stage, always: bool, first: str) -> None:
    seen: list[str] = []
    thread = begin(stage, seen, always)
    stage.end()
    thread.join(timeout=30)
    assert seen == [first, "no other"]
    assert stage.check("cleaning", ["true"], exits_zero("done"), always=True)
