# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stack under test, seen without any code of the collection: containers, databases, files."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tests" / "stack" / "e2e"
BACKEND = "dbops-demo/chat-backend"

#: Whom tests/stack/sshd lets in.
LOGIN = "deploy"

#: What tells our containers and networks from all others.
LABEL = "dbops.run"

#: A line with a secret of its own, in dumps of newer versions.
_RESTRICT = re.compile(rb"^\\(un)?restrict .*\n", re.MULTILINE)

T = TypeVar("T")


def command(*argv: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{shlex.join(argv)} exited {done.returncode}: {done.stderr}{done.stdout}"
    return done


def as_root(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return command(*([] if os.geteuid() == 0 else ["sudo", "--non-interactive"]), *argv, check=check)


def wait_until(condition: Callable[[], T], seconds: float = 30) -> T:
    """Look again and again until something is true; returns what the condition returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(0.05)
    return found


class Container:
    def __init__(self, name: str) -> None:
        self.name = name

    def inspect(self) -> dict[str, Any]:
        facts: list[dict[str, Any]] = json.loads(command("docker", "inspect", self.name).stdout)
        return facts[0]

    @property
    def address(self) -> str:
        networks = self.inspect()["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    @functools.cached_property
    def env(self) -> dict[str, str]:
        return dict(item.split("=", 1) for item in self.inspect()["Config"]["Env"])

    @property
    def started_at(self) -> str:
        return str(self.inspect()["State"]["StartedAt"])

    def exec(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return command("docker", "exec", self.name, *argv, check=check)


class Server(Container):
    """A database server of the stack and the database on it that an inventory host stands for."""

    def __init__(self, name: str, database: str, host: str, environment: str, backends: list[str], backups: str) -> None:
        super().__init__(name)
        self.database = database
        self.host = host
        self.environment = environment
        self.backends = [Container(backend) for backend in backends]
        self.backups = backups

    def connect(self, database: str = "", user: str = "postgres", password: str = "", autocommit: bool = True) -> Any:
        connection = psycopg2.connect(
            host=self.address, user=user, password=password or self.env["POSTGRES_PASSWORD"], dbname=database or self.database
        )
        connection.autocommit = autocommit
        return connection

    def rows(self, query: str, *parameters: Any, database: str = "") -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: str, *parameters: Any, database: str = "") -> Any:
        found = self.rows(query, *parameters, database=database)
        return found[0][0] if found else None

    def make_large(self, rows: int) -> None:
        """A table that nothing can compress: a kilobyte a row."""
        text = "string_agg(md5(random()::text || id), '')"
        numbers = f"generate_series(1, {rows}) id, generate_series(1, 32)"
        self.do(f"CREATE TABLE large AS SELECT id, {text} AS text FROM {numbers} GROUP BY id")

    def do(self, *statements: str, database: str = "") -> None:
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def signal(self, name: str, pid: int, check: bool = True) -> None:
        """Send a signal to one of the server's processes, such as `STOP` to a session's."""
        self.exec("sh", "-c", f"kill -{name} {pid}", check=check)

    @property
    def identifier(self) -> str:
        return str(self.value("SELECT system_identifier FROM pg_control_system()", database="postgres"))

    @property
    def marker(self) -> str | None:
        settings = self.value(
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = %s AND setrole = 0",
            self.database,
            database="postgres",
        )
        return dict(item.split("=", 1) for item in settings or []).get("dbops.environment")

    def mark(self, environment: str) -> None:
        action = f"SET dbops.environment = '{environment}'" if environment else "RESET dbops.environment"
        self.do(f"ALTER DATABASE {self.database} {action}", database="postgres")

    def databases(self) -> list[str]:
        """All of them but the tests' own templates."""
        return [name for (name,) in self.rows("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1", database="postgres")]

    def tables(self) -> dict[str, int]:
        """Exact row counts by table."""
        names = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return {name: self.value(f'SELECT count(*) FROM "{name}"') for (name,) in names}

    def columns(self, table: str) -> set[str]:
        return {
            name
            for (name,) in self.rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", table
            )
        }

    def dump(self, database: str = "", *options: str) -> bytes:
        """A plain dump with the container's own pg_dump: the same bytes for the same contents."""
        argv = ["docker", "exec", self.name, "pg_dump", "-U", "postgres", *options, database or self.database]
        return _RESTRICT.sub(b"", subprocess.run(argv, capture_output=True, check=True).stdout)

    def contents(self) -> dict[str, Any]:
        """Everything that a check must leave as it is: each database's digest, and what the server itself knows."""
        known = {
            "databases": "SELECT oid, datname, datallowconn, datconnlimit, datacl::text FROM pg_database ORDER BY 1",
            "settings": "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2",
            "roles": "SELECT oid, rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1",
        }
        found: dict[str, Any] = {}
        with contextlib.closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            for name, query in known.items():
                cursor.execute(query)
                found[name] = cursor.fetchall()
        for _oid, name, open_to_all, *_rest in found["databases"]:
            if open_to_all and not name.startswith("template"):
                found[f"digest of {name}"] = hashlib.sha256(self.dump(name)).hexdigest()
        return found


@dataclass(frozen=True)
class Stack:
    """One running stack; ``name`` is what the engine and SSH know it by."""

    name: str
    state: Path
    folder: Path
    production: Server
    preview: Server

    @classmethod
    def running(cls, name: str) -> Stack | None:
        """The stack of that name, where `tests/stack/e2e up` has started it and it still runs."""
        state = ROOT / ".stack" / name
        if not (state / "inventory" / "hosts.yml").is_file():
            return None
        unique = (state / "name").read_text().strip()
        if not command("docker", "ps", "--quiet", "--filter", f"label=dbops-demo.stack={unique}").stdout:
            return None
        folder = (state / "dir").readlink()
        lines = command(str(ROOT / "demo" / "stack"), "env", "--name", unique, "--dir", str(folder)).stdout.splitlines()
        env = {key: shlex.split(text)[0] for key, text in (line.split("=", 1) for line in lines)}
        return cls(
            unique,
            state,
            folder,
            Server(
                env["PRODUCTION_CONTAINER"],
                "chat",
                "chat-production",
                "production",
                [env["PRODUCTION_BACKEND"]],
                env["BACKUP_DIR"] + "/chat-production",
            ),
            Server(
                env["PREVIEW_CONTAINER"],
                "chat_preview",
                "chat-preview",
                "preview",
                env["PREVIEW_BACKENDS"].split(),
                env["BACKUP_DIR"] + "/chat-preview",
            ),
        )

    @property
    def inventory(self) -> Path:
        return self.state / "inventory"

    @property
    def inventory_unpinned(self) -> Path:
        return self.state / "inventory-unpinned"

    @property
    def servers(self) -> tuple[Server, Server]:
        return self.production, self.preview

    @property
    def major(self) -> int:
        return int(self.production.value("SHOW server_version_num")) // 10000

    @property
    def postgres_image(self) -> str:
        return str(self.production.inspect()["Config"]["Image"])

    @property
    def network(self) -> str:
        return next(iter(self.production.inspect()["NetworkSettings"]["Networks"]))

    def fill(self, contents: str) -> None:
        """Put both databases into a known state and empty the backup folders: see tests/stack/e2e."""
        command(str(SCRIPT), "contents", contents, "--name", self.state.name)
        for server in self.servers:  # a run whose controller a test has killed must not answer the next test
            self.as_deploy(f"grep -ls '{server.name}' ~/.local/state/dbops.postgres/*/run.json | xargs -r dirname | xargs -r rm -rf")

    def as_deploy(self, script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the target host, as the user that Ansible logs in as.

        The host is this machine, so there is no need to wait for SSH each time one of the many looks is taken.
        """
        return as_root("runuser", "--login", LOGIN, "--command", script, check=check)

    @contextlib.contextmanager
    def sshd_stopped(self) -> Iterator[None]:
        """Nobody who connects is answered."""
        pid = (self.folder / "ssh" / "sshd.pid").read_text().strip()
        as_root("kill", "-STOP", pid)
        try:
            yield
        finally:
            as_root("kill", "-CONT", pid)

    def backup_files(self, server: Server) -> list[str]:
        """The names in a backup folder."""
        return self.as_deploy(f"ls -A {server.backups} 2>/dev/null || true").stdout.split()

    def backups(self, server: Server) -> list[str]:
        """The backups in a backup folder, oldest first: what has the look of one, whoever made it."""
        return sorted(name for name in self.backup_files(server) if name.startswith(server.database))

    def files(self) -> list[str]:
        """Everything below the backup folders: name, kind, mode, owner, time, and digest of the contents."""
        return self.as_deploy(
            f"cd {shlex.quote(str(self.folder))}/opt/backups && find . -printf '%p %y %m %u %T@\\n' | sort && find . -type f -exec sha256sum {{}} + | sort"
        ).stdout.splitlines()

    def leftovers(self) -> list[str]:
        """Our containers and networks, and work folders on the host, of whichever run."""
        found = command("docker", "ps", "--all", "--filter", f"label={LABEL}", "--format", "container {{.Names}} {{.Labels}}").stdout
        found += command("docker", "network", "ls", "--filter", f"label={LABEL}", "--format", "network {{.Name}} {{.Labels}}").stdout
        identifiers = [server.identifier for server in self.servers]
        folders = self.as_deploy("find ${TMPDIR:-/tmp} -maxdepth 1 -name 'dbops-*' -user deploy 2>/dev/null || true").stdout
        return [line for line in (found + folders).splitlines() if any(identifier in line for identifier in identifiers)]

    def everything(self) -> dict[str, Any]:
        """All that a check must not change, and that a test can look at from outside."""
        names = [container.name for server in self.servers for container in (server, *server.backends)]
        containers = command("docker", "inspect", "--format", "{{.Name}} {{.Id}} {{.State.StartedAt}}", *names).stdout
        return {
            "databases": {server.name: server.contents() for server in self.servers},
            "files": self.files(),
            "containers": containers.splitlines(),
            "leftovers": self.leftovers(),
        }


def unused_volumes() -> set[str]:
    """What a container has left that is gone; other stacks may work on the same engine."""
    return set(command("docker", "volume", "ls", "--quiet", "--filter", "dangling=true").stdout.split())


@contextlib.contextmanager
def provide(name: str, major: int) -> Iterator[Stack]:
    """The stack of that name: one that runs already, or one for as long as it is needed."""
    found = Stack.running(name)
    if found:
        yield found
        return
    command(str(SCRIPT), "up", "--name", name, "--postgres", str(major))
    try:
        started = Stack.running(name)
        assert started
        yield started
    finally:
        command(str(SCRIPT), "down", "--name", name)
