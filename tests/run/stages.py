# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stage: runs programs, keeps their output in a log, and counts what passed, failed and was skipped.

A program's exit code alone proves little: several of the tools used here exit 0 after checking nothing. So each check has a
judge that must find, in the program's own output, how much was checked.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from machine import CACHE, ROOT, environment

TAIL_LINES = 40
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Tally:
    """How many checks passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @property
    def green(self) -> bool:
        """Something ran, and nothing failed."""
        return self.passed > 0 and self.failed == 0


@dataclass(frozen=True)
class Finished:
    """A program that ended: its exit code and all that it printed."""

    code: int
    output: str


@dataclass(frozen=True)
class Verdict:
    """What a judge found: the counts, a few words for the person who watches, and what a failure should show."""

    tally: Tally
    note: str = ""
    details: str = ""


Judge = Callable[[Finished], Verdict]


def ok(note: str, count: int = 1) -> Verdict:
    return Verdict(Tally(passed=count), note)


def bad(note: str, count: int = 1, details: str = "") -> Verdict:
    return Verdict(Tally(failed=count), note, details)


def skip(note: str, count: int = 1) -> Verdict:
    return Verdict(Tally(skipped=count), note)


def exits_zero(subject: str) -> Judge:
    """For programs that are handed their (non-empty) subject by name, so that exit code 0 does mean that it was checked."""
    return lambda done: ok(subject) if done.code == 0 else bad(f"exit code {done.code}")


def says(pattern: str, note: str) -> Judge:
    """For programs that find their own subject: exit code 0 and a printed number above zero."""

    def judge(done: Finished) -> Verdict:
        if done.code != 0:
            return bad(f"exit code {done.code}")
        found = re.search(pattern, done.output)
        if not found or int(found.group(1)) == 0:
            return bad("exit code 0, but it checked nothing")
        return ok(note.format(found.group(1)))

    return judge


class Stage:
    """One stage of the run: its log, its checks, its counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tally = Tally()
        self.log = CACHE / "test" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False

    def check(
        self,
        what: str,
        argv: list[str],
        judge: Judge,
        *,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        limit: int = 900,
        always: bool = False,
    ) -> bool:
        """Run a program and judge it; True if nothing about it failed."""
        begun = time.monotonic()
        done = self.run(argv, cwd=cwd, env=env, limit=limit, always=always)
        return self.record(what, judge(done), seconds=time.monotonic() - begun, output=done.output)

    def record(self, what: str, verdict: Verdict, *, seconds: float = 0.0, output: str = "") -> bool:
        """Count a verdict and show it as one line; a failure shows the end of its output too."""
        self.tally += verdict.tally
        word = "FAIL" if verdict.tally.failed else "skip" if not verdict.tally.passed else "ok"
        lines = [f"  {word:4}  {f'{self.name}: {what}':42}  {seconds:6.1f} s  {verdict.note}".rstrip()]
        shown = verdict.details or output
        if verdict.tally.failed and shown:
            lines += [f"        | {line}" for line in shown.rstrip().splitlines()[-TAIL_LINES:]]
            lines.append(f"        (all of it: {self.log.relative_to(ROOT)})")
        say("\n".join(lines))  # at once: stages may run side by side
        return not verdict.tally.failed

    def run(
        self, argv: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None, limit: int = 900, always: bool = False
    ) -> Finished:
        """Run a program with its output going to the log; end it, and what it started, after `limit` seconds.

        `always`: also in a stage that was ended, because it cleans up.
        The output goes to a file and not through a pipe: a daemon that a program leaves behind would hold a pipe open for ever.
        """
        if self._ended and not always:
            raise KeyboardInterrupt
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(argv)}\n".encode())
            log.flush()
            start = log.tell()
            try:
                process = subprocess.Popen(
                    argv,
                    cwd=cwd,
                    env=environment(env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as exc:
                log.write(f"{exc}\n".encode())
                return Finished(127, str(exc))
            if not always:
                self._running = process
                if self._ended:  # just now
                    _end(process)
            try:
                code = process.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                _end(process)
                log.write(f"\nended after {limit} seconds\n".encode())
                code = 124
            except BaseException:
                _end(process)
                raise
        with self.log.open("rb") as log:
            log.seek(start)
            output = log.read().decode(errors="replace")
        return Finished(code, _COLOUR.sub("", output))

    def end(self) -> None:
        """End the program that another thread runs here, and begin no other; what cleans up goes on."""
        self._ended = True
        if self._running is not None and self._running.poll() is None:
            _end(self._running)


def side_by_side(lanes: Sequence[Callable[[], None]], stop: Callable[[], None]) -> None:
    """Run each lane in a thread of its own and wait for all.

    :param stop: called where this is interrupted or a lane broke: it makes the lanes end soon, which is then waited for.
    """
    if len(lanes) == 1:
        lanes[0]()
        return
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        running = [pool.submit(lane) for lane in lanes]
        try:
            for lane in wait(running, return_when=FIRST_EXCEPTION).done:
                lane.result()
        except BaseException:
            stop()
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program's whole process group, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=20)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def say(text: str) -> None:
    """Print at once, so that a person (or a CI log) sees where the run is."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
