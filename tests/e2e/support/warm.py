# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`ansible-playbook` without the seconds in which Python loads Ansible: a process that has loaded it forks itself for each run.

What runs is Ansible's own command line, in a process of its own, with the environment, folder and output that it was given. Loading
settles what Ansible reads once (`ansible.cfg`, `ANSIBLE_*`), so a `Warm` serves only runs that agree with it on that.

    python warm.py SOCKET     the process that forks; it ends with its standard input
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: What Ansible and Python read while they are loaded.
_SETTLED = ("ANSIBLE_", "PYTHON", "LC_", "LANG", "PATH", "HOME")

_NUMBER = struct.Struct("<i")


class Warm:
    """Starts playbook runs from a process that is ready for them."""

    def __init__(self, folder: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self._cwd = cwd
        self._settled = _settled(env)
        self._address = folder / "warm.socket"
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._address)],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def serves(self, cwd: Path, env: Mapping[str, str]) -> bool:
        return cwd == self._cwd and _settled(env) == self._settled

    def start(self, argv: Sequence[str], env: Mapping[str, str], output: int) -> Playbook:
        """Begin a run; `output` takes what it prints."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        deadline = time.monotonic() + 60
        while True:
            try:
                connection.connect(str(self._address))
                break
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, "the process that forks did not start"
                time.sleep(0.05)
        asked = json.dumps({"argv": list(argv), "env": dict(env)}).encode()
        descriptors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]))]
        connection.sendmsg([_NUMBER.pack(len(asked))], descriptors)
        connection.sendall(asked)
        return Playbook(connection)


class Playbook:
    """A run under way, with the part of `subprocess.Popen` that the tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = _NUMBER.unpack(_receive(connection, _NUMBER.size))[0]
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("ansible-playbook", timeout or 0)
            self.returncode = _NUMBER.unpack(_receive(self._connection, _NUMBER.size))[0]
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _settled(env: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in env.items() if name.startswith(_SETTLED)}


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        assert part, "the process that forks is gone"
        received += part
    return received


# --- the process that forks -----------------------------------------------------------------------------------------------


def _serve(address: str) -> None:
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _peer = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
        connection.close()


def _load() -> None:
    """Everything that a run imports; where a name is another one in some version, that run imports it itself."""
    for name in (
        "ansible.cli.playbook",
        "ansible.executor.module_common",
        "ansible.executor.process.worker",
        "ansible.executor.task_executor",
        "ansible.plugins.action.normal",
        "ansible.plugins.callback.default",
        "ansible.plugins.connection.ssh",
        "ansible.plugins.shell.sh",
        "ansible.plugins.strategy.linear",
        "ansible.template",
    ):
        with contextlib.suppress(ImportError):
            __import__(name)


def _attend(connection: socket.socket) -> None:
    """Fork once more, tell the run's process id, wait for its end, tell its exit status. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, ancillary, _flags, _address = connection.recvmsg(_NUMBER.size, socket.CMSG_SPACE(array.array("i", [0]).itemsize))
    output = array.array("i", ancillary[0][2])[0]
    asked = json.loads(_receive(connection, _NUMBER.unpack(head)[0]))
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run(asked["argv"], asked["env"], output)
    connection.sendall(_NUMBER.pack(pid))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):  # nobody wants to know any more
        connection.sendall(_NUMBER.pack(code))
    os._exit(0)


def _run(argv: Sequence[str], env: Mapping[str, str], output: int) -> None:
    """Never returns."""
    code: Any = 1
    try:
        os.environ.clear()
        os.environ.update(env)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        sys.argv[:] = argv
        from ansible.cli.playbook import PlaybookCLI

        PlaybookCLI.cli_executor(list(argv))
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    _serve(sys.argv[1])
