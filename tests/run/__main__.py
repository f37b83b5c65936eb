# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All tests: `python3 tests/run [--all] [stage ...]`, what `make test` and `make test-all` call. Standard library only, since it
runs before anything is installed. `--all`: the end-to-end tests that are marked `long` too.

Prints one line per check and, last, one line that sums up: `N passed, N failed, N skipped`. The exit code is 0 only if something
passed and nothing failed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable

import checks_code
import checks_docs
import checks_e2e
import checks_package
import checks_sanity
import checks_unit
from machine import ROOT
from stages import Stage, Tally, bad, exits_zero, say, side_by_side

STAGES: dict[str, Callable[[Stage], None]] = {
    "lint": checks_code.check,
    "unit": checks_unit.check,
    "docs": checks_docs.check,
    "package": checks_package.check,
    "sanity": checks_sanity.check,
    "e2e": checks_e2e.check,
}

#: What runs side by side, and of that, what runs in a row: docs and sanity share a copy of the checkout. The end-to-end tests have
#: lanes of their own, and the machine to themselves.
SCHEDULE = ((("lint", "unit", "package"), ("docs", "sanity")), (("e2e",),))


def prepare(stage: Stage, wanted: list[str]) -> None:
    """Install what the wanted stages need; only the end-to-end tests need the engine."""
    stage.check(
        "demo/prepare",
        [str(ROOT / "demo" / "prepare"), "all" if "e2e" in wanted else "lint"],
        exits_zero("tools are there"),
        limit=1800,
    )


class Lane:
    """Stages that run in a row."""

    def __init__(self, names: Iterable[str]) -> None:
        self.tally = Tally()
        self._waiting = deque(names)
        self._stage: Stage | None = None

    def run(self) -> None:
        while self._waiting:
            name = self._waiting.popleft()
            self._stage = Stage(name)
            self.tally += run_stage(self._stage, STAGES[name])

    def stop(self) -> None:
        self._waiting.clear()
        if self._stage is not None:
            self._stage.end()


def run_stage(stage: Stage, check: Callable[[Stage], None]) -> Tally:
    """One stage from its heading to its counts. A stage that executed nothing has failed, and so has one that broke."""
    say(f"== {stage.name}")
    begun = time.monotonic()
    try:
        check(stage)
    except Exception:  # a defect of the runner is a failure to count, not a reason to end without the summary line
        stage.record("the runner itself", bad("raised an exception"), output=traceback.format_exc())
    if stage.tally.passed + stage.tally.failed == 0:
        stage.record("everything", bad("executed nothing"))
    say(f"-- {stage.name}: {stage.tally} in {time.monotonic() - begun:.0f} s")
    return stage.tally


def run_lanes(rows: Iterable[Iterable[str]]) -> Tally:
    """Several rows of stages, side by side."""
    lanes = [Lane(row) for row in rows]

    def stop() -> None:
        for lane in lanes:
            lane.stop()

    side_by_side([lane.run for lane in lanes], stop)
    return sum((lane.tally for lane in lanes), Tally())


def main(arguments: list[str]) -> int:
    if "--all" in arguments:
        arguments = [word for word in arguments if word != "--all"]
        os.environ[checks_e2e.ALL] = "1"
    unknown = [name for name in arguments if name not in STAGES]
    if unknown:
        say(f"no such stage: {', '.join(unknown)} (there are: {', '.join(STAGES)})")
        return 2
    wanted = [name for name in STAGES if name in arguments or (not arguments and (name != "e2e" or checks_e2e.scenarios()))]
    # The preparation counts only when it fails: it tests nothing.
    total = Tally(failed=run_stage(Stage("prepare"), lambda stage: prepare(stage, wanted)).failed)
    if not total.failed:
        for rows in SCHEDULE:
            chosen = [[name for name in row if name in wanted] for row in rows]
            total += run_lanes(row for row in chosen if row)
    say(str(total))
    return 0 if total.green else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job that is cancelled leaves nothing running either
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        say("interrupted")
        code = 130
    sys.exit(code)
