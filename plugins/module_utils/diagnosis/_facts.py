# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a diagnosis gathers, and what its checks make of it: plain data, so that every check can be tried without an engine or a server."""

from __future__ import annotations

import re
import shlex
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.backend._connection_url import ConnectionAddress
from ansible_collections.dbops.postgres.plugins.module_utils.backend._env_file import EnvFile
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import LABEL_RUN
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.server._vitals import Slot
from ansible_collections.dbops.postgres.plugins.module_utils.text._log_summary import LogSummary

RED = "red"
YELLOW = "yellow"

#: Every kind of finding, the likeliest root cause first: what stands higher explains what stands lower, never the other way round.
#: Red: something does not work now. Yellow: it works, and somebody should look.
KINDS: dict[str, str] = {
    # nothing can be asked
    "docker_missing": RED,
    "engine_denied": RED,
    "engine_down": RED,
    # what stops a whole server
    "compose_twice": RED,
    "container_missing": RED,
    "slot_fills_disk": RED,
    "disk_full": RED,
    "container_out_of_memory": RED,
    "container_paused": RED,
    "container_restarting": RED,
    "container_stopped": RED,
    "no_network": RED,
    # the server does not let us in
    "server_starting": RED,
    "wrong_port": RED,
    "server_silent": RED,
    "hba_refuses": RED,
    "password_rotated": RED,
    "too_many_connections": RED,
    "login_refused": RED,
    # the server lets us in, and the database is not usable
    "database_blocked": RED,
    "server_replaced": RED,
    "database_missing": RED,
    "server_read_only": RED,
    "wraparound": RED,
    "lock_blocked": RED,
    # the applications look elsewhere
    "name_twice": RED,
    "url_production": RED,
    "network_apart": RED,
    "url_unreadable": RED,
    "url_missing": RED,
    "url_wrong_host": RED,
    "url_wrong_port": RED,
    "url_wrong_database": RED,
    "url_wrong_user": RED,
    "url_wrong_password": RED,
    "url_wrong_sslmode": RED,
    # the database is not what the applications expect
    "data_elsewhere": RED,
    "migration_half_applied": RED,
    "migration_pending": RED,
    "grant_missing": RED,
    "rows_hidden": RED,
    "tables_empty": RED,
    # consequences, where nothing above explains them
    "server_process_killed": RED,
    "container_unhealthy": RED,
    "backend_out_of_memory": RED,
    "backend_crash_loop": RED,
    "backends_stopped": RED,
    "backend_unhealthy": RED,
    # it works, and somebody should look
    "idle_in_transaction": YELLOW,
    "index_invalid": YELLOW,
    "collation_mismatch": YELLOW,
    "clock_skew": YELLOW,
    "env_file_differs": YELLOW,
    "env_file_trouble": YELLOW,
    "images_differ": YELLOW,
    "leftovers": YELLOW,
    "seed_interrupted": YELLOW,
    "slot_holds_wal": YELLOW,
    "wraparound_near": YELLOW,
    "prepared_transaction": YELLOW,
    "rows_may_be_hidden": YELLOW,
    "migration_endless": YELLOW,
    "plan_failed": YELLOW,
    "operation_running": YELLOW,
    "backend_stopped": YELLOW,
    "backend_missing": YELLOW,
    "address_elsewhere": YELLOW,
    "disk_filling": YELLOW,
    "error_lines": YELLOW,
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    :param do: lines to type, in order; one that begins with ``#`` is said, not typed.
    :param evidence: lines that show it, of a log for example.
    """

    kind: str
    looked_at: str
    found: str
    why: str
    do: tuple[str, ...]
    evidence: tuple[str, ...] = ()

    @property
    def colour(self) -> str:
        return KINDS[self.kind]

    @property
    def rank(self) -> int:
        return list(KINDS).index(self.kind)


@dataclass(frozen=True)
class Production:
    """A production database of the inventory: what nothing else may point at."""

    host: str
    container: str
    database: str


@dataclass(frozen=True)
class Expected:
    """What the inventory says of the database that is looked at. ``patience``: seconds from which a wait counts as long."""

    host: str
    environment: str
    database: str
    container: str = ""
    compose_project: str = ""
    compose_service: str = ""
    user: str = ""
    port: int = 5432
    maintenance_database: str = "postgres"
    backends: tuple[str, ...] = ()
    productions: tuple[Production, ...] = ()
    patience: float = 30.0

    @property
    def is_production(self) -> bool:
        return self.environment == "production"

    @property
    def named(self) -> str:
        """How the inventory names the container."""
        return self.container or "%s of Compose project %s" % (self.compose_service, self.compose_project)


@dataclass(frozen=True)
class Disk:
    """A file system. Bytes; ``what`` lies on it."""

    what: str
    path: str
    size: int
    free: int

    @property
    def used_share(self) -> float:
        return 1 - self.free / self.size if self.size else 0.0


#: How PostgreSQL (or the network) says no, by a sign in its words; the order counts.
_REFUSALS = (
    ("hba", ("no pg_hba.conf entry", "pg_hba.conf rejects")),
    ("password", ("password authentication failed", "no password supplied", "empty password")),
    ("full", ("too many clients", "remaining connection slots", "too many connections")),
    ("blocked", ("not currently accepting connections",)),
    ("starting", ("starting up", "in recovery mode", "not yet accepting", "shutting down")),
    ("ssl", ("does not support SSL", "SSL is not enabled", "invalid sslmode value")),
    ("role", ("is not permitted to log in",)),
    ("right", ("permission denied for database", "User does not have CONNECT")),
    ("refused", ("Connection refused",)),
    ("silent", ("timeout expired", "timed out", "No route to host", "unreachable", "Network is")),
    ("name", ("could not translate host name",)),
    ("disk", ("No space left on device",)),
)
_NO_DATABASE = re.compile(r'database "[^"]*" does not exist')
_NO_ROLE = re.compile(r'role "[^"]*" does not exist')


@dataclass(frozen=True)
class Tried:
    """One attempt to connect. ``refusal``: PostgreSQL's own words, empty where it let us in. ``marker``: of the database that answered."""

    refusal: str = ""
    marker: str = ""
    server_id: str = ""

    @property
    def kind(self) -> str:
        """Why it was refused, in one word; empty where it was not."""
        return refusal_kind(self.refusal)


def refusal_kind(refusal: str) -> str:
    if not refusal:
        return ""
    for kind, signs in _REFUSALS:
        if any(sign in refusal for sign in signs):
            return kind
    if _NO_DATABASE.search(refusal):
        return "database"
    return "role" if _NO_ROLE.search(refusal) else "other"


@dataclass(frozen=True)
class Claim:
    """A connection address that a backend has, or that stands in a file.

    :param source: ``container`` or ``file``.
    :param owner: the container's name or the file's path.
    :param trouble: why the text is no address; then ``address`` is ``None``.
    :param meant: the container that its host names for the one who uses it; ``reachable`` where both are on one network.
    """

    source: str
    owner: str
    variable: str
    address: ConnectionAddress | None = None
    trouble: str = ""
    meant: Container | None = None
    reachable: bool = True
    tried: Tried | None = None


@dataclass(frozen=True)
class Branch:
    """A backend: its container (which may not be there), its environment file (likewise), and what each says of the database."""

    name: str
    container: Container | None = None
    file: EnvFile | None = None
    has: Claim | None = None
    reads: Claim | None = None
    several: tuple[str, ...] = ()

    @property
    def compose(self) -> str:
        """The command line that acts on its Compose project, empty where it has none."""
        return compose_line(self.container) if self.container else ""


def compose_line(container: Container) -> str:
    """``docker compose --project-directory ... --file ...`` as Compose itself noted them on the container."""
    labels = container.labels
    folder, files = labels.get("com.docker.compose.project.working_dir", ""), labels.get("com.docker.compose.project.config_files", "")
    project, service = labels.get("com.docker.compose.project", ""), labels.get("com.docker.compose.service", "")
    if not project or not service:
        return ""
    words = ["docker", "compose", "--project-name", project]
    words += ["--project-directory", folder] if folder else []
    for name in filter(None, files.split(",")):
        words += ["--file", name]
    return " ".join(map(shlex.quote, words))


def up_line(container: Container, *options: str) -> str:
    """The line that makes a container anew as its Compose file says, or starts it where Compose does not know it."""
    compose = compose_line(container)
    if not compose:
        return "docker start " + container.name
    return " ".join([compose, "up", "--detach", *options, container.labels["com.docker.compose.service"]])


@dataclass(frozen=True)
class Wait:
    """A session that waits for a lock, and the one at the root of it. ``blocker_pid`` 0: a prepared transaction."""

    pid: int
    seconds: float
    query: str
    blocker_pid: int
    blocker: str
    blocker_state: str
    blocker_seconds: float
    waiting: int = 1


@dataclass(frozen=True)
class Database:
    """One database of the server. ``age``: transactions since its oldest row that is not frozen."""

    name: str
    open: bool = True
    template: bool = False
    age: int = 0
    collation: str = ""
    collation_now: str = ""
    limit: int = -1
    sessions: int = 0


@dataclass(frozen=True)
class ServerFacts:
    """What the server says of itself. ``sessions_by``: who holds connections, most first. ``read_only``: where that was switched on."""

    identifier: str = ""
    version: str = ""
    in_recovery: bool = False
    ssl: bool = False
    superuser: bool = False
    data_folder: str = ""
    max_connections: int = 100
    reserved: int = 3
    connections: int = 0
    sessions_by: tuple[tuple[str, int], ...] = ()
    databases: tuple[Database, ...] = ()
    roles: dict[str, bool] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    read_only: tuple[tuple[str, str], ...] = ()
    waits: tuple[Wait, ...] = ()
    idle: tuple[tuple[int, str, float], ...] = ()
    prepared: tuple[tuple[str, float], ...] = ()
    markers: dict[str, str] = field(default_factory=dict)
    swapping: str = ""
    seeding: str = ""
    running: str = ""
    clock: float = 0.0
    host_clock: float = 0.0
    exclusive_locks: int = 0
    leftovers: tuple[str, ...] = ()

    def database(self, name: str) -> Database | None:
        return next((item for item in self.databases if item.name == name), None)


@dataclass(frozen=True)
class Table:
    """A table. ``rows``: whether it has any, ``None`` where that could not be seen."""

    schema: str
    name: str
    rows: bool | None = None
    policies: int = 0
    row_security: bool = False

    @property
    def full_name(self) -> str:
        return "%s.%s" % (self.schema, self.name)


@dataclass(frozen=True)
class View:
    """What an application's role sees. ``schemas``: where it looks, in order; ``denied``, ``hidden``: tables it may not read, or sees no row of."""

    role: str
    schemas: tuple[str, ...]
    denied: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    denied_schemas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What is in the database. ``elsewhere``: other databases that hold rows in tables of the same names."""

    tables: tuple[Table, ...] = ()
    views: tuple[View, ...] = ()
    invalid_indexes: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class PlanFacts:
    """What is pending. ``trouble``: why it could not be planned; ``endless``: since it did not end."""

    empty: bool = True
    statements: int = 0
    changes: tuple[str, ...] = ()
    image: str = ""
    trouble: str = ""
    endless: bool = False


@dataclass
class Facts:
    """Everything that was gathered. What is ``None`` or empty was not seen; ``unseen`` says in sentences what and why."""

    expected: Expected
    engine_trouble: str = ""
    containers: tuple[Container, ...] = ()
    container: Container | None = None
    candidates: tuple[Container, ...] = ()
    backends: tuple[Container, ...] = ()
    logs: dict[str, LogSummary] = field(default_factory=dict)
    disks: tuple[Disk, ...] = ()
    listening: tuple[int, ...] | None = None
    ours: Tried | None = None
    password_given: bool = False
    other_way_in: str = ""
    server: ServerFacts | None = None
    contents: Contents | None = None
    branches: tuple[Branch, ...] = ()
    strangers: tuple[Branch, ...] = ()
    plan: PlanFacts | None = None
    journal: tuple[dict[str, t.Any], ...] = ()
    clocks: tuple[tuple[str, float], ...] = ()
    seen: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    now: float = 0.0

    @property
    def database_name(self) -> str:
        return self.expected.database

    @property
    def user(self) -> str:
        """The role that operations connect as."""
        return self.expected.user or (self.container.env.get("POSTGRES_USER", "") if self.container else "") or "postgres"

    def log(self, name: str) -> LogSummary:
        return self.logs.get(name, LogSummary())

    def psql(self, statement: str, database: str = "") -> str:
        """A line that executes a statement inside the database's container."""
        name = self.container.name if self.container else self.expected.named
        words = ["docker", "exec", name, "psql", "--username", self.user, "--dbname", database or self.database_name]
        words += ["--port", str(self.expected.port)] if self.expected.port != 5432 else []
        return " ".join(map(shlex.quote, [*words, "--command", statement]))

    def playbook(self, verb: str, *arguments: str) -> str:
        return " ".join(["ansible-playbook", "%s.yml" % verb, "-l", shlex.quote(self.expected.host or "HOST"), *arguments])


def neighbours(one: Container, containers: t.Iterable[Container]) -> dict[str, list[Container]]:
    """Every name and address under which ``one`` can reach a container: those of the networks that both are on."""
    found: dict[str, list[Container]] = {}
    networks = {endpoint.network for endpoint in one.endpoints}
    for other in containers:
        if LABEL_RUN in other.labels:
            continue
        names: set[str] = set()
        for endpoint in other.endpoints:
            if endpoint.network in networks:
                names |= {other.name, other.id[:12], endpoint.address, *endpoint.aliases}
        for name in names - {""}:
            found.setdefault(name, []).append(other)
    return found


def named(host: str, containers: t.Iterable[Container]) -> Container | None:
    """The container of that name or address, on whatever network."""
    for other in containers:
        if LABEL_RUN not in other.labels and (host in other.hostnames or any(host == place.address for place in other.endpoints if host)):
            return other
    return None
