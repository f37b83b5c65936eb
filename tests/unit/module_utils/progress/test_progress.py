# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress, Standing
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError

MB = 1024 * 1024


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(clock)


def test_the_line_has_phase_tables_bytes_rate_and_time_left(progress: Progress, clock: Clock) -> None:
    clock.now += 5
    progress.enter("restore: load")
    progress.expect(tables=12, total=1000 * MB)
    for second in range(1, 11):
        clock.now += 1
        progress.reach_bytes(second * 20 * MB)
    progress.reach(3, "table public.messages")
    standing = progress.standing()
    assert (standing.seconds, standing.phase_seconds, standing.tables_done, standing.rate) == (15, 10, 3, 20 * MB)
    assert standing.left == 40
    assert standing.line == (
        "restore: load, 10 s: 3 of 12 tables, 200.0 MB of about 1000.0 MB, 20.0 MB/s, about 40 s left, table public.messages"
    )


def test_before_anything_is_known_the_line_is_the_phase(progress: Progress, clock: Clock) -> None:
    clock.now += 3
    assert progress.standing().line == "starting, 3.0 s"
    progress.enter("migrate: run")
    progress.part("backup 2 of 5")
    clock.now += 61
    assert progress.standing().line == "migrate: run (backup 2 of 5), 1 min 1 s"


def test_a_new_phase_forgets_what_the_one_before_had_done(progress: Progress, clock: Clock) -> None:
    progress.expect(5, 100)
    progress.reach(4, "table public.a")
    progress.reach_bytes(90)
    clock.now += 1
    progress.enter("backup: verify")
    assert progress.standing() == Standing("backup: verify", 1.0, 0.0)


@pytest.mark.parametrize(("done", "total"), [(0, 1000 * MB), (MB, 1000 * MB), (2000 * MB, 1000 * MB), (500 * MB, 0)])
def test_no_time_is_promised_that_cannot_be_known(progress: Progress, clock: Clock, done: int, total: int) -> None:
    """Nothing yet; too little yet; more than was estimated; no estimate."""
    progress.expect(total=total)
    clock.now += 10
    progress.reach_bytes(done)
    standing = progress.standing()
    assert standing.left == 0 and "left" not in standing.line
    assert ("of about" in standing.line) is (0 < done <= total)


def test_the_rate_is_that_of_the_last_half_minute(progress: Progress, clock: Clock) -> None:
    for second in range(1, 101):
        clock.now += 1
        progress.reach_bytes(second * 100 * MB if second <= 50 else 5000 * MB + (second - 50) * MB)
    assert progress.standing().rate == MB


def test_a_stall_shows(progress: Progress, clock: Clock) -> None:
    progress.expect(total=100 * MB)
    for second in range(1, 61):
        clock.now += 1
        progress.reach_bytes(min(second, 10) * MB)
    standing = progress.standing()
    assert (standing.rate, standing.left) == (0, 0)
    assert "10.0 MB of about 100.0 MB" in standing.line and "/s" not in standing.line


class TestMeasuring:
    def test_a_source_is_asked_while_it_lasts_and_not_too_often(self, progress: Progress, clock: Clock) -> None:
        asked = []

        def source() -> int:
            asked.append(clock.now)
            return len(asked) * MB

        with progress.measuring(source):
            for _half in range(8):
                clock.now += 0.5
                progress.standing()
        assert asked == [1000.5, 1002.5]
        clock.now += 60
        progress.standing()
        assert len(asked) == 2

    @pytest.mark.parametrize("error", [ServerError("gone"), OSError(5, "Input/output error"), ValueError("none")])
    def test_what_cannot_be_measured_is_not_told_and_breaks_nothing(self, progress: Progress, error: Exception) -> None:
        def source() -> int:
            raise error

        with progress.measuring(source):
            assert progress.standing().bytes_done == 0

    def test_a_question_under_way_ends_before_what_it_asks_is_taken_away(self, progress: Progress) -> None:
        asked, go_on, closed = threading.Event(), threading.Event(), threading.Event()
        seen = []

        def source() -> int:
            asked.set()
            go_on.wait(10)
            seen.append(closed.is_set())
            return 1

        asking = threading.Thread(target=progress.standing)
        with progress.measuring(source):
            asking.start()
            assert asked.wait(10)
            threading.Timer(0.1, go_on.set).start()
        closed.set()
        asking.join(10)
        assert seen == [False]


def test_tables_are_counted_from_many_threads(progress: Progress) -> None:
    progress.expect(400)
    threads = [threading.Thread(target=lambda: [progress.table_done("t") for _time in range(100)]) for _thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.standing().tables_done == 400
