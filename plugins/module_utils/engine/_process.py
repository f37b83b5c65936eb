# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a local program: an argument list (never a shell), bounded output, a time limit."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import typing as t
from dataclasses import dataclass

#: Bytes of a program's output that are kept when the caller asks for bounded output: this much of the start and of the end.
KEPT = 32 * 1024


@dataclass(frozen=True)
class Outcome:
    """What a program left behind. ``stdout`` and ``stderr`` are text; undecodable bytes are replaced."""

    rc: int
    stdout: str
    stderr: str
    timed_out: bool = False

    @property
    def output(self) -> str:
        """Both streams, for showing."""
        return "\n".join(part.strip() for part in (self.stdout, self.stderr) if part.strip())


_LEFT_OUT = re.compile(r"^\[\.\.\. \d+ bytes left out \.\.\.\]$", re.MULTILINE)


class BoundedOutput:
    """The first and the last bytes of a stream of any length, in constant memory."""

    def __init__(self, kept: int | None, keep: t.Callable[[str], bool] | None = None) -> None:
        self._kept = kept
        self._keep = keep
        self._line = b""
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, chunk: bytes) -> None:
        """The next bytes, of which only the lines stay that ``keep`` wants."""
        if not self._keep:
            self._add(chunk)
            return
        *lines, self._line = (self._line + chunk).split(b"\n")
        for line in lines:
            if self._keep(line.decode("utf-8", "replace").rstrip("\r")):
                self._add(line + b"\n")

    def end(self) -> None:
        """Nothing more comes."""
        self._add(self._line)
        self._line = b""

    def _add(self, chunk: bytes) -> None:
        if self._kept is None:
            self._head += chunk
            return
        room = self._kept - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room < len(chunk) else b""
        excess = len(self._tail) - self._kept
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        if not self._dropped:
            return _decode(self._head + self._tail)
        return "%s\n[... %d bytes left out ...]\n%s" % (_decode(self._head), self._dropped, _decode(self._tail))


def is_cut(text: str) -> bool:
    """Whether this is what ``BoundedOutput`` has left of a stream that was longer."""
    return bool(_LEFT_OUT.search(text))


def _decode(data: bytearray) -> str:
    return data.decode("utf-8", "replace").replace("\x00", "\ufffd")


def run_process(
    argv: t.Sequence[str],
    env: t.Mapping[str, str] | None = None,
    stdin_path: str | None = None,
    stdout_path: str | None = None,
    timeout: float | None = None,
    kept: int | None = KEPT,
    folder: str | None = None,
    keep: t.Callable[[str], bool] | None = None,
    hear: t.Callable[[str], bool] | None = None,
) -> Outcome:
    """Run ``argv`` to its end.

    :param env: added to this process's environment; this is how secrets travel, never ``argv``.
    :param stdin_path: file that the program reads, else it has no input.
    :param stdout_path: file (mode 0600) that takes the output instead of memory.
    :param timeout: seconds; past them the program is killed and ``timed_out`` is set.
    :param kept: bytes kept of the start and of the end of each stream, ``None`` for everything.
    :param folder: where it runs.
    :param keep: asked, while it runs, of each line of what it says beside its output whether that is kept; ``hear``: of its output.
    :raises FileNotFoundError: where the program is not installed.
    """
    stdin: t.Any = open(stdin_path, "rb") if stdin_path else subprocess.DEVNULL
    stdout: t.Any = os.open(stdout_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) if stdout_path else subprocess.PIPE
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(os.environ, LC_ALL="C", **(env or {})),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,  # a terminal that closes or a Ctrl-C is for this process, which then ends its children in order
        )
    finally:
        if stdin_path:
            stdin.close()
        if stdout_path:
            os.close(stdout)
    return _collect(process, timeout, {"stdout": BoundedOutput(kept, hear), "stderr": BoundedOutput(kept, keep)})


def _collect(process: subprocess.Popen[bytes], timeout: float | None, streams: dict[str, BoundedOutput]) -> Outcome:
    threads = []
    for name, stream in streams.items():
        pipe = getattr(process, name)
        if pipe is not None:
            thread = threading.Thread(target=_drain, args=(pipe, stream), daemon=True)
            thread.start()
            threads.append(thread)
    # Popen.wait with a timeout looks only every 50 ms, which is much of a short call; a thread is told at once.
    waiter = threading.Thread(target=process.wait, daemon=True)
    waiter.start()
    try:
        waiter.join(timeout)
        timed_out = waiter.is_alive()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    for thread in threads:
        thread.join(timeout=10)
    return Outcome(process.returncode, streams["stdout"].text(), streams["stderr"].text(), timed_out)


def _drain(pipe: t.IO[bytes], stream: BoundedOutput) -> None:
    with pipe:
        for chunk in iter(lambda: pipe.read1(65536), b""):  # type: ignore[attr-defined]
            stream.add(chunk)
    stream.end()
