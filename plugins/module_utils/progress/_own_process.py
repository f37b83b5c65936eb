# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The work goes on in a process of its own, which no connection and no terminal can end; the one that Ansible has started waits for it.

Ansible's own ``async`` does the like, at the price of two more transfers and of a module's arguments on the disk
(https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_async.html).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import typing as t
from dataclasses import replace

from ansible_collections.dbops.postgres.plugins.module_utils.progress import _run_files
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.progress._run_files import RunFiles

#: Seconds between two signs of life.
_TELLING = 0.5


def part(run: RunFiles) -> RunFiles | None:
    """Divide this process: the new one gets ``None``, and goes on with the work; the old one gets the run, with its process.

    :raises OSError: where there is no room for it, before anything was divided.
    """
    _run_files.prepare(run)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        pid = os.fork()
    except OSError:
        run.remove()
        raise
    if pid:
        return replace(run, pid=pid, ticks=_run_files.ticks_of(pid))
    os.setsid()
    _redirect(run)
    replace(run, pid=os.getpid(), ticks=_run_files.ticks_of(os.getpid())).describe()
    return None


def _redirect(run: RunFiles) -> None:
    """What this process prints is its result, and has a place on the disk already."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, run.path(_run_files.RESULT), os.O_WRONLY),
        (2, run.path(_run_files.ERRORS), os.O_WRONLY | os.O_CREAT),
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    atexit.register(_cut_off)


def _cut_off() -> None:
    """The room that the result did not need."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.ftruncate(1, os.lseek(1, 0, os.SEEK_CUR))


def tell(run: RunFiles, progress: Progress) -> None:
    """From now on say how far this process is, until it ends."""
    run.tell(progress.standing())
    threading.Thread(target=_keep_telling, args=(run, progress), daemon=True).start()


def _keep_telling(run: RunFiles, progress: Progress) -> t.NoReturn:
    while True:
        time.sleep(_TELLING)
        run.tell(progress.standing())


def wait(run: RunFiles, seconds: float) -> bool:
    """Whether the run, a child of this process, has ended within that time. What this process is told to do, it tells the run."""
    with _signals_handed_to(run.pid):
        end = time.monotonic() + seconds
        while os.waitpid(run.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        return True


@contextlib.contextmanager
def _signals_handed_to(pid: int) -> t.Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda signalled, _frame: _hand_on(pid, signalled)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hand_on(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
