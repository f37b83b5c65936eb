# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks that are broken for real: one function breaks and mends, and the table says what the first finding has to be.

What would be slow to do to the shared stack is done to throwaway containers beside it, on its network. They carry the stack's label, so
that nothing of them outlives it.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg2

from controller import Controller
from stack import BACKEND, LABEL, Container, Server, Stack, as_root, command, wait_until
from traffic import holding

Variables = dict[str, Any]
Break = Callable[["Workbench"], AbstractContextManager[Variables]]

#: A run that has been dead for long.
DEAD_RUN = "20260101T000000_abcdef"

#: The name of the branch that is broken.
BRANCH = "broken"


class Workbench:
    """The stack, and what is put beside it for a while."""

    def __init__(self, stack: Stack, controller: Controller) -> None:
        self.stack = stack
        self.controller = controller
        self.identifiers = [server.identifier for server in stack.servers]

    @property
    def preview(self) -> Server:
        return self.stack.preview

    @property
    def production(self) -> Server:
        return self.stack.production

    @property
    def env_files(self) -> str:
        return f"{self.stack.folder}/opt/chat-preview/*/.env.preview"

    def url(self, **parts: Any) -> str:
        """The address that the preview branches have, with some parts of it changed."""
        server = self.preview
        given = {
            "user": "postgres",
            "password": server.env["POSTGRES_PASSWORD"],
            "host": server.name,
            "port": 5432,
            "database": server.database,
            "query": "?sslmode=disable",
            **parts,
        }
        password = urllib.parse.quote(given["password"], safe="")
        return f"postgresql://{given['user']}:{password}@{given['host']}:{given['port']}/{given['database']}{given['query']}"

    @contextlib.contextmanager
    def container(self, name: str, *arguments: str, network: str = "") -> Iterator[Container]:
        """Arguments as `docker run` takes them: options, image, program."""
        full = f"{self.stack.name}-{name}"
        options = ["--detach", "--name", full, "--label", f"dbops-demo.stack={self.stack.name}"]
        command("docker", "rm", "--force", "--volumes", full, check=False)
        command("docker", "run", *options, "--network", network or self.stack.network, *arguments)
        try:
            yield Container(full)
        finally:
            command("docker", "rm", "--force", "--volumes", full, check=False)

    @contextlib.contextmanager
    def server(self, *options: str, size: str = "200m", program: tuple[str, ...] = ()) -> Iterator[Server]:
        """A server of its own with an empty database, on a small disk."""
        folder = "/var/lib/postgresql" if self.stack.major >= 18 else "/var/lib/postgresql/data"
        given = ["--env", "POSTGRES_PASSWORD=throw-away-word", "--env", "POSTGRES_INITDB_ARGS=--wal-segsize=1 --no-sync"]
        given += ["--tmpfs", f"{folder}:size={size}", *options, self.stack.postgres_image]
        with self.container("spare-postgres", *given, *(program or ("postgres",)), "-c", "fsync=off") as made:
            server = Server(made.name, "postgres", "spare", "preview", [], f"{self.stack.folder}/opt/backups/spare")
            wait_until(lambda: answers(server))
            yield server

    @contextlib.contextmanager
    def branch(
        self, url: str, *options: str, image: str = "v2", in_file: str = "", network: str = "", program: tuple[str, ...] = ()
    ) -> Iterator[Variables]:
        """A preview branch with this address, in its container and (unless another is given) in its file."""
        folder = f"{self.stack.folder}/opt/chat-preview/{BRANCH}"
        line = f"PREVIEW_DATABASE_URL={in_file or url}\n"
        self.stack.as_deploy(f"mkdir -p {folder} && touch {folder}/compose.yml && printf %s {shlex.quote(line)} > {folder}/.env.preview")
        environment = ["--env", f"PREVIEW_DATABASE_URL={url}"] if url else []
        try:
            with self.container(
                f"chat-backend-preview-{BRANCH}", *environment, *options, f"{BACKEND}:{image}", *program, network=network
            ) as made:
                yield {"dbops_backends": [*(backend.name for backend in self.preview.backends), made.name]}
        finally:
            self.stack.as_deploy(f"rm -rf {folder}")

    def state(self) -> dict[str, Any]:
        """What a diagnosis must leave as it is, as far as it can be seen in whatever state the stack is: cheap, since it is asked often."""
        names = command(
            "docker", "ps", "--all", "--filter", f"label=dbops-demo.stack={self.stack.name}", "--format", "{{.Names}}"
        ).stdout.split()
        containers = json.loads(command("docker", "inspect", *names).stdout)
        looked = {
            item["Name"]: (
                item["Id"],
                item["State"]["Paused"],
                item["State"]["Pid"] if item["RestartCount"] == 0 else 0,
                sorted(item["NetworkSettings"]["Networks"]),
            )
            for item in containers
        }
        files = as_root("find", f"{self.stack.folder}/opt", "-printf", "%p %y %m %u %s %T@\\n").stdout
        return {
            "containers": looked,
            "files": sorted(files.splitlines()),
            "holdings": {server.name: holdings(server) for server in self.stack.servers},
            "ours": self._ours(),
        }

    def _ours(self) -> list[str]:
        """Containers and networks of the collection that were made for this stack's servers, and its work folders on the host."""
        listed = "".join(
            command("docker", kind, "ls", *given, "--filter", f"label={LABEL}", "--format", "{{.Labels}}").stdout
            for kind, given in (("container", ["--all"]), ("network", []))
        )
        folders = self.stack.as_deploy("find ${TMPDIR:-/tmp} -maxdepth 1 -name 'dbops-*' -user deploy 2>/dev/null || true").stdout
        return [line for line in (listed + folders).splitlines() if any(identifier in line for identifier in self.identifiers)]


#: What a server and a database hold, but for what the server itself does to them meanwhile (freezing, statistics).
_SERVER_HOLDS = """
SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (
    SELECT format('%s %s %s %s %s', oid, datname, datallowconn, datconnlimit, datacl) FROM pg_database
    UNION ALL SELECT s::text FROM pg_db_role_setting s
    UNION ALL SELECT format('%s %s %s', rolname, rolsuper, rolpassword) FROM pg_authid
    UNION ALL SELECT slot_name FROM pg_replication_slots) every(x)
"""
_DATABASE_HOLDS = """
SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (
    SELECT format('%s %s %s %s', oid, relname, relfilenode, relacl) FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT format('%s %s %s %s', relid, n_tup_ins, n_tup_upd, n_tup_del) FROM pg_stat_user_tables) every(x)
"""


def holdings(server: Server) -> str:
    """Asked through the socket, which works whatever is wrong; what does not answer does not answer before and after."""
    looked = ["-c", _SERVER_HOLDS, "-c", f"\\connect {server.database}", "-c", _DATABASE_HOLDS]
    return command("docker", "exec", server.name, "psql", "-U", "postgres", "-XAtq", *looked, check=False).stdout


def answers(server: Server) -> bool:
    try:
        return server.value("SELECT 1", database="postgres") == 1
    except (psycopg2.Error, StopIteration, KeyError):
        return False


def sql_inside(server: Server, *statements: str, database: str = "postgres") -> None:
    """As the superuser, through the socket: that works whatever the password or pg_hba.conf."""
    for statement in statements:
        command("docker", "exec", server.name, "psql", "-U", "postgres", "-d", database, "-qc", statement)


def aimed_at(server: Server, **further: Any) -> Variables:
    """The inventory's host, with another server behind it."""
    return {"dbops_container": server.name, "dbops_database": "postgres", "dbops_backends": [], "dbops_diagnose_env_files": [], **further}


# --- the engine and the container -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(bench: Workbench) -> Iterator[Variables]:
    command("docker", "stop", bench.preview.name)
    try:
        yield {}
    finally:
        command("docker", "start", bench.preview.name)
        wait_until(lambda: answers(bench.preview))


@contextlib.contextmanager
def missing(bench: Workbench) -> Iterator[Variables]:
    command("docker", "rename", bench.preview.name, bench.preview.name + "-old")
    try:
        yield {}
    finally:
        command("docker", "rename", bench.preview.name + "-old", bench.preview.name)


@contextlib.contextmanager
def paused(bench: Workbench) -> Iterator[Variables]:
    command("docker", "pause", bench.preview.name)
    try:
        yield {}
    finally:
        command("docker", "unpause", bench.preview.name)


@contextlib.contextmanager
def restarting(bench: Workbench) -> Iterator[Variables]:
    options = ["--restart", "always", "--env", "POSTGRES_PASSWORD=throw-away-word", bench.stack.postgres_image]
    with bench.container("spare-postgres", *options, "postgres", "-c", "shared_buffers=lots") as made:
        wait_until(lambda: made.inspect()["RestartCount"] >= 1)
        yield {"dbops_container": made.name}


@contextlib.contextmanager
def out_of_memory(bench: Workbench) -> Iterator[Variables]:
    limit = ["--memory", "16m", "--memory-swap", "16m", "--entrypoint", "tail", bench.stack.postgres_image]
    with bench.container("spare-postgres", *limit, "/dev/zero") as made:
        wait_until(lambda: made.inspect()["State"]["Status"] == "exited")
        yield {"dbops_container": made.name}


@contextlib.contextmanager
def killed(bench: Workbench) -> Iterator[Variables]:
    with bench.server() as server:
        command("docker", "kill", server.name)
        yield aimed_at(server)


@contextlib.contextmanager
def unhealthy(bench: Workbench) -> Iterator[Variables]:
    with bench.server("--health-cmd", "echo no such luck; exit 1", "--health-interval", "200ms", "--health-retries", "1") as server:
        wait_until(lambda: server.inspect()["State"]["Health"]["Status"] == "unhealthy")
        yield aimed_at(server)


@contextlib.contextmanager
def engine_down(bench: Workbench) -> Iterator[Variables]:
    yield {"dbops_docker_host": f"unix://{bench.stack.folder}/no-engine.sock"}


@contextlib.contextmanager
def engine_hangs(_bench: Workbench) -> Iterator[Variables]:
    """Something takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {"dbops_docker_host": f"tcp://127.0.0.1:{listener.getsockname()[1]}"}


@contextlib.contextmanager
def engine_denied(bench: Workbench) -> Iterator[Variables]:
    """The socket is there, and not for this user."""
    path = f"{bench.stack.folder}/e.sock"
    as_root("python3", "-c", f"import os, socket; socket.socket(socket.AF_UNIX).bind({path!r}); os.chmod({path!r}, 0o600)")
    try:
        yield {"dbops_docker_host": f"unix://{path}"}
    finally:
        as_root("rm", "-f", path)


@contextlib.contextmanager
def wrong_port(_bench: Workbench) -> Iterator[Variables]:
    yield {"dbops_port": 5433}


@contextlib.contextmanager
def compose_twice(bench: Workbench) -> Iterator[Variables]:
    labels = [word for name in ("project=twice", "service=db") for word in ("--label", f"com.docker.compose.{name}")]
    sleeping = [*labels, "--entrypoint", "sleep", bench.stack.postgres_image, "600"]
    with bench.container("twice-db-1", *sleeping), bench.container("twice-db-2", *sleeping):
        yield {"dbops_container": "", "dbops_compose_project": "twice", "dbops_compose_service": "db"}


@contextlib.contextmanager
def name_twice(bench: Workbench) -> Iterator[Variables]:
    """A second Compose project has a service of the name that the branches connect to, on the same network."""
    given = [
        "--network-alias",
        bench.preview.name,
        "--label",
        "com.docker.compose.project=copy",
        "--label",
        "com.docker.compose.service=db-preview",
    ]
    with bench.container("copy-db-preview-1", *given, "--entrypoint", "sleep", bench.stack.postgres_image, "600"):
        yield {}


# --- disks ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def disk_full(bench: Workbench) -> Iterator[Variables]:
    with bench.server() as server:
        server.exec("sh", "-c", "dd if=/dev/zero of=$PGDATA/ballast bs=1M 2>/dev/null || true")
        yield aimed_at(server)


@contextlib.contextmanager
def slot_fills_disk(bench: Workbench) -> Iterator[Variables]:
    with bench.server() as server:
        server.do("SELECT pg_create_physical_replication_slot('forgotten', true)", database="postgres")
        server.do(
            "CREATE TABLE large AS SELECT repeat(md5(i::text), 40) AS text FROM generate_series(1, 24000) i",
            "DROP TABLE large",
            database="postgres",
        )
        yield aimed_at(server)


# --- the server -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def password_rotated(bench: Workbench) -> Iterator[Variables]:
    sql_inside(bench.preview, "ALTER ROLE postgres PASSWORD 'rotated-secret-word'")
    try:
        yield {}
    finally:
        known = bench.preview.env["POSTGRES_PASSWORD"].replace("'", "''")
        sql_inside(bench.preview, f"ALTER ROLE postgres PASSWORD '{known}'")


@contextlib.contextmanager
def password_in_inventory(_bench: Workbench) -> Iterator[Variables]:
    yield {"dbops_password": "an-older-secret-word"}


@contextlib.contextmanager
def hba_refuses(bench: Workbench) -> Iterator[Variables]:
    server = bench.preview
    server.exec("sh", "-c", "cp -p $PGDATA/pg_hba.conf /tmp/hba && echo 'local all all trust' > $PGDATA/pg_hba.conf")
    sql_inside(server, "SELECT pg_reload_conf()")
    try:
        yield {}
    finally:
        server.exec("sh", "-c", "cp -p /tmp/hba $PGDATA/pg_hba.conf")
        sql_inside(server, "SELECT pg_reload_conf()")
        wait_until(lambda: answers(server))


@contextlib.contextmanager
def too_many_connections(bench: Workbench) -> Iterator[Variables]:
    opened: list[Any] = []
    with bench.server(program=("postgres", "-c", "max_connections=12")) as server:
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                opened.append(server.connect("postgres"))
        try:
            yield aimed_at(server)
        finally:
            for connection in opened:
                connection.close()


@contextlib.contextmanager
def ordinary_connections_used_up(bench: Workbench) -> Iterator[Variables]:
    """Those that are kept for superusers are free: the diagnosis gets in, the applications do not."""
    opened: list[Any] = []
    with bench.server(program=("postgres", "-c", "max_connections=12")) as server:
        server.do("CREATE ROLE app LOGIN PASSWORD 'throw-away-app'", database="postgres")
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                opened.append(server.connect("postgres", user="app", password="throw-away-app"))
        try:
            yield aimed_at(server)
        finally:
            for connection in opened:
                connection.close()


@contextlib.contextmanager
def database_renamed(bench: Workbench) -> Iterator[Variables]:
    _rename(bench.preview, "chat_preview", "chat_elsewhere")
    try:
        yield {}
    finally:
        _rename(bench.preview, "chat_elsewhere", "chat_preview")


def _rename(server: Server, old: str, new: str) -> None:
    def renamed() -> bool:
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{old}'"
        try:
            server.do(end, f"ALTER DATABASE {old} RENAME TO {new}", database="postgres")
        except psycopg2.Error:
            return False
        return True

    wait_until(renamed)


@contextlib.contextmanager
def database_blocked(bench: Workbench) -> Iterator[Variables]:
    name = bench.preview.database
    sql_inside(bench.preview, f"ALTER DATABASE {name} SET dbops.swapping = '{DEAD_RUN}'", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        yield {}
    finally:
        sql_inside(bench.preview, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true", f"ALTER DATABASE {name} RESET dbops.swapping")


@contextlib.contextmanager
def read_only_database(bench: Workbench) -> Iterator[Variables]:
    name = bench.preview.database
    sql_inside(bench.preview, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        yield {}
    finally:
        sql_inside(bench.preview, f"ALTER DATABASE {name} RESET default_transaction_read_only")


@contextlib.contextmanager
def read_only_server(bench: Workbench) -> Iterator[Variables]:
    with bench.server() as server:
        server.do("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()", database="postgres")
        yield aimed_at(server)


@contextlib.contextmanager
def standby(bench: Workbench) -> Iterator[Variables]:
    prepare = 'initdb --no-sync -A trust "$PGDATA" >/dev/null && touch "$PGDATA/standby.signal"'
    prepare += ' && echo "host all all all trust" >>"$PGDATA/pg_hba.conf" && exec postgres "$@"'
    with bench.server("--user", "postgres", "--entrypoint", "sh", program=("-c", prepare, "sh", "-c", "listen_addresses=*")) as server:
        yield aimed_at(server)


@contextlib.contextmanager
def wraparound(bench: Workbench) -> Iterator[Variables]:
    """The server believes that 1.7 billion transactions have passed, and does not mind; the file of their states is there, as it would be."""
    prepare = (
        'initdb --no-sync -A trust "$PGDATA" >/dev/null && echo "host all all all trust" >>"$PGDATA/pg_hba.conf"'
        ' && pg_resetwal -x 1700003840 "$PGDATA" >/dev/null && dd if=/dev/zero of="$PGDATA/pg_xact/0655" bs=8192 count=32 2>/dev/null && exec postgres "$@"'
    )
    with bench.server(
        "--user",
        "postgres",
        "--entrypoint",
        "sh",
        program=("-c", prepare, "sh", "-c", "listen_addresses=*", "-c", "autovacuum_freeze_max_age=2000000000"),
    ) as server:
        yield aimed_at(server)


@contextlib.contextmanager
def lock_held(bench: Workbench) -> Iterator[Variables]:
    def wait_for_it() -> None:
        with contextlib.suppress(psycopg2.Error):
            bench.preview.do("SELECT count(*) FROM users")

    with holding(bench.preview, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE", "the nightly import"):
        waiter = threading.Thread(target=wait_for_it, daemon=True)
        waiter.start()
        time.sleep(1.5)
        yield {"dbops_diagnose_patience": 1}
    waiter.join(timeout=30)


@contextlib.contextmanager
def idle_in_transaction(bench: Workbench) -> Iterator[Variables]:
    with holding(bench.preview, "SELECT count(*) FROM users", "a forgotten console"):
        time.sleep(1.2)
        yield {"dbops_diagnose_patience": 1}


@contextlib.contextmanager
def collation_changed(bench: Workbench) -> Iterator[Variables]:
    name = bench.preview.database
    sql_inside(bench.preview, f"UPDATE pg_database SET datcollversion = '2.28' WHERE datname = '{name}'")
    try:
        yield {}
    finally:
        sql_inside(bench.preview, f"ALTER DATABASE {name} REFRESH COLLATION VERSION")


@contextlib.contextmanager
def half_built(bench: Workbench) -> Iterator[Variables]:
    name = f"chat_preview_next_{DEAD_RUN}"
    sql_inside(bench.preview, f'CREATE DATABASE "{name}"')
    try:
        yield {}
    finally:
        sql_inside(bench.preview, f'DROP DATABASE "{name}"')


@contextlib.contextmanager
def seed_interrupted(bench: Workbench) -> Iterator[Variables]:
    name = bench.preview.database
    sql_inside(bench.preview, f"ALTER DATABASE {name} SET dbops.seeding = '{DEAD_RUN}'")
    try:
        yield {}
    finally:
        sql_inside(bench.preview, f"ALTER DATABASE {name} RESET dbops.seeding")


@contextlib.contextmanager
def clock_skew(_bench: Workbench) -> Iterator[Variables]:
    yield {"__dbops_diagnose_now": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))}


# --- the contents ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def as_filled(_bench: Workbench) -> Iterator[Variables]:
    """The contents themselves are what is wrong."""
    yield {}


@contextlib.contextmanager
def replaced(bench: Workbench) -> Iterator[Variables]:
    """The journal tells of a backup that was made on the server before; this one has been set up anew."""
    with bench.server() as server:
        assert bench.controller.run("backup", "-l", "preview").ok
        sql_inside(server, f"CREATE DATABASE {bench.preview.database}")
        yield aimed_at(server, dbops_database=bench.preview.database)


@contextlib.contextmanager
def planned(_bench: Workbench) -> Iterator[Variables]:
    yield {"dbops_diagnose_plan": True}


@contextlib.contextmanager
def endless(_bench: Workbench) -> Iterator[Variables]:
    """The command that serves instead of the one that migrates."""
    yield {"dbops_diagnose_plan": True, "dbops_runner": ["/app/backend", "serve"], "dbops_plan_timeout": 3}


@contextlib.contextmanager
def in_another_schema(bench: Workbench) -> Iterator[Variables]:
    moves = [f"ALTER TABLE {table} SET SCHEMA app" for table in bench.preview.tables()]
    bench.preview.do("CREATE SCHEMA app", *moves)
    yield {}


@contextlib.contextmanager
def in_another_database(bench: Workbench) -> Iterator[Variables]:
    sql_inside(bench.preview, "CREATE DATABASE chat_yesterday TEMPLATE e2e_v2")
    yield {}


@contextlib.contextmanager
def half_migrated(bench: Workbench) -> Iterator[Variables]:
    """Its unique key does not fit the rows, so the migration fails after its first statements."""
    failed = bench.controller.run("migrate", "-l", "preview", dbops_migrate_image=f"{BACKEND}:broken", dbops_migrate_backup=False)
    assert not failed.ok and "The schema was left changed" in failed.message, failed.output
    yield {}


@contextlib.contextmanager
def invalid_index(bench: Workbench) -> Iterator[Variables]:
    with contextlib.suppress(psycopg2.Error):
        bench.preview.do("CREATE UNIQUE INDEX CONCURRENTLY one_message_a_room ON messages (room_messages)")
    yield {"dbops_diagnose_plan": True}


@contextlib.contextmanager
def role_without_grant(bench: Workbench) -> Iterator[Variables]:
    with _role(bench), bench.branch(bench.url(user="app", password="app-secret-word")) as variables:
        yield variables


@contextlib.contextmanager
def rows_hidden(bench: Workbench) -> Iterator[Variables]:
    with _role(bench), bench.branch(bench.url(user="app", password="app-secret-word")) as variables:
        bench.preview.do("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app", "ALTER TABLE messages ENABLE ROW LEVEL SECURITY")
        yield variables


@contextlib.contextmanager
def _role(bench: Workbench) -> Iterator[None]:
    bench.preview.do("CREATE ROLE app LOGIN PASSWORD 'app-secret-word'")
    try:
        yield
    finally:
        bench.preview.do("DROP OWNED BY app", "DROP ROLE app")


# --- the backends ---------------------------------------------------------------------------------------------------------


def address(**parts: Any) -> Break:
    """A branch whose address differs in this from the right one, in its file and in its container."""
    return lambda bench: bench.branch(bench.url(**parts))


@contextlib.contextmanager
def points_at_production(bench: Workbench) -> Iterator[Variables]:
    server = bench.production
    with bench.branch(bench.url(host=server.name, database="chat", password=server.env["POSTGRES_PASSWORD"])) as variables:
        yield variables


@contextlib.contextmanager
def seen_from_production(bench: Workbench) -> Iterator[Variables]:
    with points_at_production(bench):
        yield {}


@contextlib.contextmanager
def edited_and_not_restarted(bench: Workbench) -> Iterator[Variables]:
    """The file is right now; the container still has what stood there before."""
    with bench.branch(bench.url(database="chat_old"), in_file=bench.url()) as variables:
        yield variables


@contextlib.contextmanager
def edited_wrongly(bench: Workbench) -> Iterator[Variables]:
    """The container is right still; the next start will go wrong."""
    with bench.branch(bench.url(), in_file=bench.url(port=6432)) as variables:
        yield variables


@contextlib.contextmanager
def password_not_encoded(bench: Workbench) -> Iterator[Variables]:
    with bench.branch(f"postgresql://postgres:a/b@c#d@{bench.preview.name}:5432/chat_preview?sslmode=disable") as variables:
        yield variables


@contextlib.contextmanager
def no_address(bench: Workbench) -> Iterator[Variables]:
    with bench.branch("", "--restart", "always", in_file=bench.url()) as variables:
        made = Container(f"{bench.stack.name}-chat-backend-preview-{BRANCH}")
        wait_until(lambda: made.inspect()["RestartCount"] >= 1)  # it ends by itself, which must not be taken for a diagnosis' doing
        yield variables


@contextlib.contextmanager
def network_apart(bench: Workbench) -> Iterator[Variables]:
    network = f"{bench.stack.name}-apart"
    command("docker", "network", "create", "--label", f"dbops-demo.stack={bench.stack.name}", network)
    try:
        with bench.branch(bench.url(), network=network) as variables:
            yield variables
    finally:
        command("docker", "network", "rm", network)


@contextlib.contextmanager
def crash_loop(bench: Workbench) -> Iterator[Variables]:
    program = ("/app/backend", "no-such-command")
    with bench.branch(bench.url(), "--restart", "always", program=program) as variables:
        made = Container(f"{bench.stack.name}-chat-backend-preview-{BRANCH}")
        wait_until(lambda: made.inspect()["RestartCount"] >= 3)
        yield variables


@contextlib.contextmanager
def sick_backend(bench: Workbench) -> Iterator[Variables]:
    health = ("--health-cmd", "/app/backend no-such-command", "--health-interval", "200ms", "--health-retries", "1")
    with bench.branch(bench.url(), *health) as variables:
        made = Container(f"{bench.stack.name}-chat-backend-preview-{BRANCH}")
        wait_until(lambda: made.inspect()["State"]["Health"]["Status"] == "unhealthy")
        yield variables


@contextlib.contextmanager
def other_image(bench: Workbench) -> Iterator[Variables]:
    with bench.branch(bench.url(), image="v1") as variables:
        yield variables


@contextlib.contextmanager
def backend_stopped(bench: Workbench) -> Iterator[Variables]:
    [backend] = bench.production.backends
    command("docker", "stop", backend.name)
    try:
        yield {}
    finally:
        command("docker", "start", backend.name)
        wait_until(lambda: backend.inspect()["State"]["Health"]["Status"] == "healthy")


@dataclass(frozen=True)
class Broken:
    """A stack that is broken, and what a diagnosis has to find first. ``words``: what a person has to read in the first finding."""

    name: str
    break_and_mend: Break
    expected: str
    words: tuple[str, ...] = ()
    contents: str = "v2"
    limit: str = "preview"
    long: bool = False

    @property
    def dirties(self) -> bool:
        """Whether mending it leaves the databases as something else than they were filled."""
        return self.break_and_mend in (in_another_schema, in_another_database, half_migrated, invalid_index, rows_hidden, database_renamed)


BROKEN: tuple[Broken, ...] = (
    Broken("the database's container is stopped", stopped, "container_stopped", ("is stopped", "up --detach", "db-preview")),
    Broken("the database's container is gone", missing, "container_missing", ("There is no container",)),
    Broken("the database's container is paused", paused, "container_paused", ("docker unpause",), long=True),
    Broken(
        "the database's container restarts for ever", restarting, "container_restarting", ("again and again", "shared_buffers"), long=True
    ),
    Broken(
        "the database's container ran out of memory",
        out_of_memory,
        "container_out_of_memory",
        ("ran out of memory", "mem_limit"),
        long=True,
    ),
    Broken("the database's container was killed", killed, "container_out_of_memory", ("was killed (exit status 137)",), long=True),
    Broken("the database's container is unhealthy", unhealthy, "container_unhealthy", ("health check fails", "no such luck"), long=True),
    Broken("the engine is down", engine_down, "engine_down", ("systemctl start docker",)),
    Broken("the engine does not answer", engine_hangs, "engine_down", ("has not answered",), long=True),
    Broken("the engine is not for this user", engine_denied, "engine_denied", ("usermod",), long=True),
    Broken("the port is wrong", wrong_port, "wrong_port", ("it listens on 5432", "dbops_port: 5432"), long=True),
    Broken("a Compose service has two containers", compose_twice, "compose_twice", ("has 2 containers",), long=True),
    Broken(
        "two Compose projects have the same service",
        name_twice,
        "name_twice",
        ("Two containers answer", "docker network disconnect"),
        long=True,
    ),
    Broken("the disk is full", disk_full, "disk_full", ("is full",)),
    Broken("a slot fills the disk", slot_fills_disk, "slot_fills_disk", ("'forgotten'", "pg_drop_replication_slot"), long=True),
    Broken("the password was rotated in the server only", password_rotated, "password_rotated", ("POSTGRES_PASSWORD", "\\password")),
    Broken(
        "the password was rotated everywhere but in the inventory",
        password_in_inventory,
        "password_rotated",
        ("dbops_password", "POSTGRES_PASSWORD is"),
        long=True,
    ),
    Broken("pg_hba.conf refuses", hba_refuses, "hba_refuses", ("pg_hba.conf", "pg_reload_conf")),
    Broken("there are too many connections", too_many_connections, "too_many_connections", ("also those that are kept for superusers",)),
    Broken(
        "the applications' connections are used up",
        ordinary_connections_used_up,
        "too_many_connections",
        ("Most by", "role app"),
        long=True,
    ),
    Broken("the database has another name", database_renamed, "database_missing", ("chat_elsewhere",), long=True),
    Broken("the server was set up anew", replaced, "server_replaced", ("is not the one that held", "dbops_restore_backup=chat_preview_2")),
    Broken("an interrupted swap has left the database closed", database_blocked, "database_blocked", (DEAD_RUN,), long=True),
    Broken(
        "the database is read-only",
        read_only_database,
        "server_read_only",
        ("database 'chat_preview'", "RESET default_transaction_read_only"),
        long=True,
    ),
    Broken("the server is read-only", read_only_server, "server_read_only", ("postgresql.auto.conf",), long=True),
    Broken("the server is a standby", standby, "server_read_only", ("standby",), long=True),
    Broken("transaction ids run out", wraparound, "wraparound", ("1700 million", "vacuumdb"), long=True),
    Broken("somebody holds a lock", lock_held, "lock_blocked", ("the nightly import", "pg_terminate_backend")),
    Broken("a transaction was left open", idle_in_transaction, "idle_in_transaction", ("a forgotten console",), long=True),
    Broken("the collation has another version", collation_changed, "collation_mismatch", ("2.28", "recollate.yml"), long=True),
    Broken("an interrupted run has left a database", half_built, "leftovers", (f"chat_preview_next_{DEAD_RUN}",), long=True),
    Broken("a seed was interrupted", seed_interrupted, "seed_interrupted", (DEAD_RUN,), long=True),
    Broken("the controller's clock is wrong", clock_skew, "clock_skew", ("the controller", "ahead of"), long=True),
    Broken("the migration is pending", planned, "migration_pending", ("table public.reactions", "migrate.yml"), contents="v1"),
    Broken("a migration does not end", endless, "migration_endless", ("does not end", "within 3 s"), contents="v1"),
    Broken("nothing was ever migrated", planned, "migration_pending", ("table public.users",), contents="nothing", long=True),
    Broken(
        "a migration was left half-way", half_migrated, "migration_half_applied", ("left the schema changed",), contents="v1", long=True
    ),
    Broken("the seed was never run", as_filled, "tables_empty", ("are empty", "seed.yml"), contents="v2-empty", long=True),
    Broken("the data is in another schema", in_another_schema, "data_elsewhere", ("schema 'app'", "search_path"), long=True),
    Broken("the data is in another database", in_another_database, "data_elsewhere", ("chat_yesterday",), contents="v2-empty"),
    Broken("a failed CREATE INDEX has left an index", invalid_index, "index_invalid", ("one_message_a_room", "DROP INDEX"), long=True),
    Broken("the application's role may not read", role_without_grant, "grant_missing", ("Role 'app'", "GRANT SELECT")),
    Broken("row-level security hides the rows", rows_hidden, "rows_hidden", ("public.messages", "'app'"), long=True),
    Broken(
        "a branch has the wrong host",
        address(host="chat-postgres-preveiw"),
        "url_wrong_host",
        ("chat-postgres-preveiw", "does not resolve"),
    ),
    Broken("a branch has localhost", address(host="localhost"), "url_wrong_host", ("that container itself",), long=True),
    Broken("a branch has the wrong port", address(port=5433), "url_wrong_port", ("5433, not 5432",), long=True),
    Broken("a branch has the wrong database", address(database="chat"), "url_wrong_database", ("'chat', which does not exist",), long=True),
    Broken("a branch has the wrong user", address(user="postgers"), "url_wrong_user", ("no such role",), long=True),
    Broken(
        "a branch has the wrong password",
        address(password="yesterdays-secret-word"),
        "url_wrong_password",
        ("password of user 'postgres'",),
    ),
    Broken("a branch has the wrong sslmode", address(query="?sslmode=require"), "url_wrong_sslmode", ("has no SSL",), long=True),
    Broken("a branch points at production", points_at_production, "url_production", ("points at production", "host 'chat-production'")),
    Broken(
        "a branch points at production, seen from there",
        seen_from_production,
        "url_production",
        ("points at production",),
        limit="production",
        long=True,
    ),
    Broken("a branch's password is not encoded", password_not_encoded, "url_unreadable", ("percent-encoded",), long=True),
    Broken("a branch has no address", no_address, "url_missing", ("PREVIEW_DATABASE_URL",), long=True),
    Broken(
        "a branch's file was edited and not its container made anew",
        edited_and_not_restarted,
        "url_wrong_database",
        ("edited", "not made anew"),
    ),
    Broken(
        "a branch's file is wrong and its container still right",
        edited_wrongly,
        "env_file_differs",
        ("6432", "after the next start"),
        long=True,
    ),
    Broken("a branch is on another network", network_apart, "network_apart", ("docker network connect",)),
    Broken("a backend crashes at every start", crash_loop, "backend_crash_loop", ("usage: backend",), long=True),
    Broken("a backend is unhealthy", sick_backend, "backend_unhealthy", ("health check",), long=True),
    Broken("branches run different images", other_image, "images_differ", ("chat-backend:v1", "chat-backend:v2"), long=True),
    Broken("the backend is stopped", backend_stopped, "backends_stopped", ("is not running", "up --detach"), limit="production", long=True),
)


def run_diagnosis(bench: Workbench, broken: Broken, variables: Variables, **further: Any) -> Any:
    """The playbook as a user runs it; a pending migration is planned only where that is what it is about, since it takes its time."""
    given = {"dbops_diagnose_env_files": [bench.env_files], "dbops_diagnose_plan": False, **variables, **further}
    return bench.controller.run("diagnose", "-l", broken.limit, **given)


def first_kind(run: Any) -> str:
    """The kind of the first finding; empty where there is none."""
    findings = run.result().get("findings") or [{}]
    return str(findings[0].get("kind", ""))
