# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the target's disk of a run that goes on by itself: who it is, where it stands, its result.

One folder a run, private to the SSH user, below ``~/.local/state/dbops.postgres`` (or ``XDG_STATE_HOME``): never on the volume of the
backups for its own sake, since that is the one that may be full. It goes when the result has reached somebody.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Standing

RUN, STANDING, RESULT, ERRORS = "run.json", "standing.json", "result.json", "errors"

#: Touched by whoever looks; and by whoever has the result.
SEEN, COLLECTED = "seen", "collected"

#: Bytes that are set aside for a result before the work begins, so that a disk that became full cannot swallow it.
_RESERVED = 1024 * 1024

#: Seconds after which the files of a run that has ended go, whoever has read them.
_KEPT = 86400

#: Seconds without a look after which nobody follows a run any more, and another may.
_ABANDONED = 15

#: Seconds in which the result of such a run still answers the one who asks for the same again.
_STILL_AN_ANSWER = 900


@dataclass(frozen=True)
class RunFiles:
    """The files of one run.

    :param token: by which whoever began it finds it again; ``digest``: of all that was asked for.
    :param target: which database of which container, as it was asked for.
    :param pid: of its process, ``ticks`` when that began (field 22 of ``/proc/<pid>/stat``), so that no other is taken for it.
    """

    folder: str
    token: str
    operation: str
    host: str
    target: dict[str, str]
    digest: str
    operator: str
    started: str
    pid: int = 0
    ticks: int = 0

    @property
    def alive(self) -> bool:
        return self.pid > 0 and ticks_of(self.pid) == self.ticks

    @property
    def seconds_unseen(self) -> float:
        """Since somebody last looked how far it is."""
        try:
            return time.time() - os.stat(self.path(SEEN)).st_mtime
        except OSError:
            return 0.0

    @property
    def seconds_ended(self) -> float:
        """Since its last sign of life."""
        try:
            return time.time() - os.stat(self.path(STANDING)).st_mtime
        except OSError:
            return float(_KEPT)

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody looks any more, and nobody has its result."""
        if os.path.exists(self.path(COLLECTED)) or self.seconds_unseen < _ABANDONED:
            return False
        return self.alive or (bool(self.result()) and self.seconds_ended < _STILL_AN_ANSWER)

    def answer(self) -> dict[str, t.Any]:
        """What whoever follows it has to know."""
        known = ("token", "folder", "pid", "ticks", "operation", "operator", "started")
        return dict({name: getattr(self, name) for name in known}, alive=self.alive)

    def gone(self) -> str:
        """A sentence about a run whose files are not there any more."""
        return (
            "What this run of '%s' left on the host is gone, so its result cannot be told: the journal has it, and status.yml says how things are."
            % self.operation
        )

    def lost(self) -> str:
        """A sentence about a run that has ended without a result."""
        errors = self.errors()
        return (
            "The process of this %s on the host was killed before its end (for want of memory, perhaps): type the same line again, which first cleans"
            " up what it left.%s" % (self.operation, " What it printed is in '%s'." % errors if errors else "")
        )

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def standing(self) -> dict[str, t.Any]:
        return _read_json(self.path(STANDING))

    def result(self) -> bytes:
        """What the run printed for Ansible; empty where it has not ended, or was killed."""
        try:
            with open(self.path(RESULT), "rb") as stream:
                return stream.read().strip(b"\x00 \n\r")
        except OSError:
            return b""

    def errors(self) -> str:
        """The path of what it printed beside its result; empty where that is nothing."""
        try:
            return self.path(ERRORS) if os.stat(self.path(ERRORS)).st_size else ""
        except OSError:
            return ""

    def look(self) -> None:
        """Note that somebody looks."""
        with contextlib.suppress(OSError), open(self.path(SEEN), "ab"):
            os.utime(self.path(SEEN))

    def note_collected(self) -> None:
        with contextlib.suppress(OSError), open(self.path(COLLECTED), "ab"):
            pass

    def describe(self) -> None:
        """Write down who this is, for whoever comes later."""
        _write(self.path(RUN), {name: text for name, text in asdict(self).items() if name != "folder"})

    def tell(self, standing: Standing) -> None:
        _write(self.path(STANDING), dict(asdict(standing), line=standing.line, operation=self.operation))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(self.folder))


def root() -> str:
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "dbops.postgres")


def prepare(run: RunFiles) -> None:
    """Make the folder of a run, with room for its result.

    :raises OSError: where there is no such room.
    """
    os.makedirs(os.path.dirname(run.folder), mode=0o700, exist_ok=True)
    os.mkdir(run.folder, 0o700)
    try:
        descriptor = os.open(run.path(RESULT), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _RESERVED)
        finally:
            os.close(descriptor)
        run.look()
    except OSError:
        run.remove()
        raise


def known_runs() -> list[RunFiles]:
    """Newest first; what cannot be read is passed over, and what has ended long ago goes."""
    try:
        names = os.listdir(root())
    except OSError:
        return []
    found = [run for run in map(_read_run, names) if run]
    for run in found:
        if not run.alive and run.seconds_ended > _KEPT:
            run.remove()
    return sorted((run for run in found if os.path.isdir(run.folder)), key=lambda run: run.started, reverse=True)


def find(wanted: RunFiles) -> RunFiles | None:
    """The run of this token; else one that was asked for the same, and that nobody follows any more."""
    known = known_runs()
    for run in known:
        if run.token == wanted.token:
            return run
    for run in known:
        if (run.operation, run.target, run.digest) == (wanted.operation, wanted.target, wanted.digest) and run.is_abandoned:
            return run
    return None


def ticks_of(pid: int) -> int:
    """When a process began, in clock ticks since the start of the system; 0 where there is none, or only its exit status is left."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return 0 if fields[0] == "Z" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def _read_run(name: str) -> RunFiles | None:
    folder = os.path.join(root(), name)
    found = _read_json(os.path.join(folder, RUN))
    try:
        return RunFiles(folder=folder, **found) if found else None
    except TypeError:
        return None  # of another version


def _read_json(path: str) -> dict[str, t.Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: str, data: dict[str, t.Any]) -> None:
    """Whole or not at all. Whoever looks loses nothing where the disk is full, so nothing is said of that."""
    partial = path + ".partial"
    with contextlib.suppress(OSError):
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(data, stream)
        os.rename(partial, path)
