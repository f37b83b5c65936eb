# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes things go wrong at a chosen moment, and shows what is there afterwards.

Where an operation is, it says itself: in the last statement of the session that holds its lock. Nothing here waits for luck: a
module is stopped (SIGSTOP) when it is where a test wants it, looked at, and only then killed.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stack import Server, Stack, command, wait_until

_CARD = re.compile(r"/\* dbops (\{.*\}) \*/", re.DOTALL)

#: The session that holds an operation's lock, whichever operation.
_LOCK_SESSION = (
    "SELECT pid, client_port, query FROM pg_stat_activity WHERE application_name ~ '^dbops %s [0-9]{8}T[0-9]{6}_[0-9a-f]{6} lock$'"
)

#: Names of databases that a swap keeps on purpose.
_KEPT = re.compile(r"_before_(restore|reset|undo|rejected)_[0-9]{8}T[0-9]{6}")

#: Run on the target host: every file of a backup is the one that its manifest names.
_VERIFY = """
import hashlib, json, os, sys
for folder in sys.argv[1:]:
    with open(os.path.join(folder, "manifest.json")) as stream:
        files = json.load(stream)["files"]
    for entry in files:
        with open(os.path.join(folder, entry["path"]), "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() != entry["sha256"]:
                print(folder, entry["path"])
    if not files:
        print(folder, "is empty")
"""


class Hand:
    """A shell on the target host, as the user that Ansible logs in as, which does at once what it is told."""

    def __init__(self, stack: Stack) -> None:
        self._argv = ["ssh", "-F", str(stack.folder / "ssh" / "config"), stack.name, "sh"]
        self._server = (stack.folder / "ssh" / "sshd.pid").read_text().strip()

    def __enter__(self) -> Hand:
        self._shell = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._shell.communicate(timeout=10)

    def do(self, line: str) -> str:
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"{{ {line}\n}} </dev/null; echo END-$?\n")
        self._shell.stdin.flush()
        said = []
        for text in self._shell.stdout:
            if text.startswith("END-"):
                assert text == "END-0\n", f"{line!r} said {''.join(said)}"
                return "".join(said)
            said.append(text)
        raise AssertionError(f"the shell on the target ended at {line!r}")

    def modules(self) -> list[str]:
        """The processes of modules that run on the target now: every Python that came through this stack's sshd, whoever its parent is by now."""
        processes = [line.split(None, 2) for line in command("ps", "-e", "-o", "pid=,user:32=,comm=").stdout.splitlines()]
        environments = [f"/proc/{pid}/environ" for pid, user, name in processes if user == "deploy" and name.startswith("python")]
        if not environments:
            return []
        # sshd tells whom it serves by which of its ports.
        found = self.do(f'grep -zls "^SSH_CONNECTION=.* ${{SSH_CONNECTION##* }}$" {" ".join(environments)} || true')
        return re.findall(r"/proc/(\d+)/environ", found)

    def kill_modules(self) -> None:
        modules = self.modules()
        assert modules, "no module runs"
        self.do(f"kill -9 {' '.join(modules)}")

    def module_of(self, client_port: int) -> str:
        """The process whose connection to a server comes from this port; another stack's may hold one of the same number."""
        holders = set(re.findall(r"pid=(\d+)", self.do(f"ss -Htnp 'sport = :{client_port}'")))
        own = holders & set(self.modules()) if len(holders) > 1 else holders
        assert own, f"port {client_port} is held by {holders or 'nobody'}"
        return min(own, key=int)  # a module that is starting a program holds it twice for a moment

    def cut_connections(self) -> None:
        """What a broken line does: the processes of sshd that serve Ansible's connections die, what they have started does not."""
        own = self.do("echo $PPID").strip()
        children = command("ps", "-o", "pid=", "--ppid", self._server).stdout.split()
        for child in children:
            serving = command("ps", "-o", "pid=", "--ppid", child, check=False).stdout.split()
            if own not in (child, *serving):
                self.do(f"kill -9 {' '.join(serving)} || true" if serving else "true")


@dataclass(frozen=True)
class Caught:
    """An operation that is stopped where a test wants it."""

    phase: str
    module: str
    run_id: str
    hand: Hand

    def kill(self) -> None:
        self.hand.do(f"kill -9 {self.module}")

    def go_on(self) -> None:
        """Where a terminal was closed, the system itself has woken it to be told so."""
        self.hand.do(f"kill -CONT {self.module} 2>/dev/null || true")


class Eye:
    """Watches what an operation on a server says of itself."""

    def __init__(self, server: Server, operation: str) -> None:
        self._connection = server.connect("postgres")
        self._query = _LOCK_SESSION % operation

    def __enter__(self) -> Eye:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def look(self) -> tuple[int, int, dict[str, str]] | None:
        """The lock session's process in the server, the port that it comes from, and who holds the lock; ``None`` while nobody does."""
        with self._connection.cursor() as cursor:
            cursor.execute(self._query)
            row = cursor.fetchone()
        card = _CARD.search(row[2]) if row else None
        return (row[0], row[1], json.loads(card[1])) if row and card else None

    def phase(self) -> str:
        seen = self.look()
        return seen[2].get("phase", "") if seen else ""

    def wait_for(self, phase: str, seconds: float = 90) -> tuple[int, int, dict[str, str]]:
        """Looks without a pause: some phases are over within milliseconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            seen = self.look()
            if seen and seen[2].get("phase") == phase:
                return seen
        raise AssertionError(f"phase '{phase}' was not seen within {seconds} s")


def stop_in(hand: Hand, server: Server, operation: str, phase: str, after: float = 0) -> Caught | None:
    """Stop an operation's module inside a phase; ``None`` where it was faster, and then it goes on.

    :param after: seconds into the phase. Many a phase begins with a connection to the server, which has a time limit: a module that
        is to stand still for long must not be stopped in the middle of that.
    """
    with Eye(server, operation) as eye:
        _pid, port, _card = wait_until(eye.look, 60)
        module = hand.module_of(port)
        seen = eye.wait_for(phase)
        time.sleep(after)
        caught = Caught(phase, module, seen[2]["run_id"], hand)
        hand.do(f"kill -STOP {module} 2>/dev/null || true")
        time.sleep(0.2)  # the server may not have read yet that the module was about to enter the next phase
        if eye.phase() == phase:
            return caught
        caught.go_on()
        return None


@contextlib.contextmanager
def at_the_end_of(hand: Hand, server: Server, operation: str, phase: str) -> Iterator[Caught]:
    """Stop an operation when it has done all of a phase and is about to enter the next one.

    The server's process that serves the lock session is stopped; the module waits for it to take note of the next phase.
    """
    with Eye(server, operation) as eye:
        pid, port, card = eye.wait_for(phase)
        module = hand.module_of(port)
        server.signal("STOP", pid)
        try:
            assert eye.phase() == phase
            wait_until(lambda: _unread(server, port), 60)
            yield Caught(phase, module, card["run_id"], hand)
        finally:
            server.signal("CONT", pid, check=False)


def _unread(server: Server, port: int) -> bool:
    """Whether the server has yet to read something that came from this port."""
    for line in server.exec("cat", "/proc/net/tcp").stdout.splitlines()[1:]:
        _number, _local, remote, _state, queues, *_rest = line.split()
        if int(remote.partition(":")[2], 16) == port and int(queues.partition(":")[2], 16) > 0:
            return True
    return False


def left_behind(stack: Stack, servers: Sequence[Server] = ()) -> list[str]:
    """Everything that a run has left and no run needs: containers, networks, folders, half-built or blocked databases."""
    found = stack.leftovers()
    for server in servers or stack.servers:
        found += [f"file {name}" for name in stack.backup_files(server) if name.startswith(".")]
        for name, open_to_all in server.rows("SELECT datname, datallowconn FROM pg_database WHERE NOT datistemplate", database="postgres"):
            if name not in ("postgres", server.database) and not _KEPT.search(name):
                found.append(f"database {name}")
            if name == server.database and not open_to_all:
                found.append(f"database {name} is blocked")
        settings = "SELECT setconfig::text FROM pg_db_role_setting WHERE setconfig::text LIKE '%%dbops.swapping%%'"
        found += [f"setting {text}" for (text,) in server.rows(settings, database="postgres")]
        sessions = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'dbops %%'"
        found += [f"session {name}" for (name,) in server.rows(sessions, database="postgres")]
    return found


def damaged_backups(stack: Stack, server: Server) -> list[str]:
    """Files under a final name that are not what their manifest says."""
    folders = " ".join(f"'{server.backups}/{name}'" for name in stack.backups(server))
    return stack.as_deploy(f"python3 -c '{_VERIFY}' {folders}").stdout.splitlines() if folders else []


def journal(stack: Stack, server: Server) -> list[dict[str, Any]]:
    lines = stack.as_deploy(f"cat {server.backups}/journal.jsonl 2>/dev/null || true").stdout.splitlines()
    return [json.loads(line) for line in lines]


@contextlib.contextmanager
def repeatedly(action: Callable[[], Any], pause: float = 0.0) -> Iterator[None]:
    """Do something in the background again and again, while the body runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            action()
            stop.wait(pause)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)
