# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests put in the place of the engine and the server: small classes that remember what they were asked."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import typing as t
from dataclasses import dataclass, field, replace
from pathlib import Path

from psycopg2 import sql

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import FileEntry, Manifest
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container, Endpoint, Image
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Repository, Snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Evidence, Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Caller, Request
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import Target, TargetOptions
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Grant, Properties, Setting
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address, Server
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor

RECORDED = Path(__file__).parent / "recorded"

RUN = "20261123T030000_3f9a2c"
OTHER_RUN = "20261122T030000_aaaaaa"
SERVER_ID = "7300000000000000001"
AT = datetime.datetime(2026, 11, 23, 3, 0, 0, tzinfo=datetime.timezone.utc)
ADDRESS = Address("172.19.0.3", 5432, "postgres", "hidden-word")


def recorded(name: str) -> str:
    """The text of a file that was recorded from the real thing."""
    return (RECORDED / name).read_text(encoding="utf-8")


# --- the server -----------------------------------------------------------------------------------------------------------


def plain(statement: t.Any) -> str:
    """A statement as text. psycopg2 itself quotes only with a connection, so names and values are quoted here."""
    if isinstance(statement, sql.Composed):
        return "".join(plain(part) for part in statement.seq)
    if isinstance(statement, sql.SQL):
        return statement.string
    if isinstance(statement, sql.Identifier):
        return ".".join('"%s"' % part.replace('"', '""') for part in statement.strings)
    if isinstance(statement, sql.Literal):
        value = statement.wrapped
        return "'%s'" % value.replace("'", "''") if isinstance(value, str) else str(value).lower()
    return str(statement)


Answer = t.Union[t.List[t.Tuple[t.Any, ...]], BaseException, t.Callable[..., t.Any]]


#: What a server answers that logs as one does whose settings nobody has touched.
LOGGING = ("%m [%p] ", "stderr", "off", "warning", "error", "C")


class FakeConnection:
    """A session that remembers statements and answers by the first sign that the statement's text holds.

    :param answers: ``{sign: rows, an error to raise, or a function of (text, parameters)}``; nothing known means no rows.
    """

    def __init__(self, answers: dict[str, Answer] | None = None, server_version: int = 170005) -> None:
        self.answers = dict(answers or {})
        self.server_version = server_version
        self.statements: list[str] = []
        self.parameters: list[t.Any] = []
        self.closed = 0
        self.notices: list[str] = []

    def cursor(self) -> FakeCursor:
        return FakeCursor(self)

    def close(self) -> None:
        self.closed = 1

    def cancel(self) -> None:
        self.statements.append("(cancel)")
        self.parameters.append(None)

    def said(self, sign: str) -> list[str]:
        """The statements that hold ``sign``."""
        return [statement for statement in self.statements if sign in statement]

    def answer(self, text: str, parameters: t.Any) -> list[tuple[t.Any, ...]]:
        self.statements.append(text)
        self.parameters.append(parameters)
        for sign, found in self.answers.items():
            if sign in text:
                if callable(found):
                    found = found(text, parameters)
                if isinstance(found, BaseException):
                    raise found
                return list(found or [])
        if "'pg_read_all_stats'" in text:
            return [(True,)]
        return [LOGGING] if "'log_line_prefix'" in text else []


class FakeCursor:
    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self._rows: list[tuple[t.Any, ...]] = []

    def __enter__(self) -> FakeCursor:
        return self

    def __exit__(self, *_exception: t.Any) -> None:
        return None

    @property
    def rowcount(self) -> int:
        return len(self._rows)

    def execute(self, statement: t.Any, parameters: t.Any = None) -> None:
        self._rows = self._connection.answer(plain(statement), parameters)

    def fetchall(self) -> list[tuple[t.Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[t.Any, ...] | None:
        return self._rows[0] if self._rows else None


# --- the engine -----------------------------------------------------------------------------------------------------------


class FakeEngine:
    """Stands for the ``docker`` program: remembers every call and answers by the first sign that its argument list holds."""

    def __init__(self, **answers: Outcome | str) -> None:
        self.answers: dict[str, Outcome | str | BaseException] = {sign.replace("_", " "): answer for sign, answer in answers.items()}
        self.calls: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.options: list[dict[str, t.Any]] = []

    def __call__(self, argv: t.Sequence[str], env: t.Mapping[str, str] | None = None, **options: t.Any) -> Outcome:
        self.calls.append(list(argv))
        self.environments.append(dict(env or {}))
        self.options.append(options)
        for sign, answer in self.answers.items():
            if sign in " ".join(argv):
                if isinstance(answer, BaseException):
                    raise answer
                return Outcome(0, answer, "") if isinstance(answer, str) else answer
        return Outcome(0, "", "")

    @property
    def lines(self) -> list[str]:
        """The calls as a person would type them, where no word holds a blank."""
        return [" ".join(call) for call in self.calls]

    def called(self, sign: str) -> list[list[str]]:
        return [call for call in self.calls if sign in " ".join(call)]


class FakeDocker:
    """Stands for ``_docker.Docker`` where a test is not about the command line: containers by id or name, and what was done to them."""

    def __init__(self, *containers: Container, images: t.Mapping[str, Image] | None = None) -> None:
        self.containers = {container.id: container for container in containers}
        self.images = dict(images or {})
        self.executed: list[tuple[str, tuple[str, ...]]] = []
        self.restarted: list[str] = []
        self.removed: list[tuple[str, str]] = []
        self.jobs: list[t.Any] = []
        self.outcomes: list[Outcome] = []
        self.texts: dict[str, str] = {}
        self.carriers: list[tuple[str, str, str]] = []
        self.on_exec: t.Callable[[str, tuple[str, ...]], Outcome] = lambda _container, _argv: Outcome(0, "", "")
        self.on_restart: t.Callable[[str], None] = lambda _container: None

    def container(self, name: str) -> Container:
        for container in self.containers.values():
            if name in (container.id, container.name):
                return container
        raise EngineError("There is no container '%s' on this host." % name)

    def present(self, containers: t.Iterable[Container]) -> list[Container]:
        return [self.containers[container.id] for container in containers if container.id in self.containers]

    def image(self, name: str) -> Image:
        if name not in self.images:
            raise EngineError("Image '%s' is not on this host: pull it first with 'docker pull %s'." % (name, name))
        return self.images[name]

    def has_image(self, name: str) -> bool:
        return name in self.images

    def exec(self, container: str, argv: t.Sequence[str], **_options: t.Any) -> Outcome:
        self.executed.append((container, tuple(argv)))
        return self.on_exec(container, tuple(argv))

    def run(self, job: t.Any, timeout: float | None = None, **_options: t.Any) -> Outcome:
        self.jobs.append(job)
        return self.outcomes.pop(0) if self.outcomes else Outcome(0, "", "")

    def restart(self, container: str, timeout: float = 120) -> None:
        self.restarted.append(container)
        self.on_restart(container)

    def logs(self, container: str, **_options: t.Any) -> str:
        return self.texts.get(container, "")

    def read_log(self, container: str, _since: str, _tail: int, _kept: int | None) -> Outcome:
        return Outcome(0, "", self.texts.get(container, ""))

    def labelled(self, _label: str, _value: str) -> list[tuple[str, str, str]]:
        return self.carriers

    def remove(self, kind: str, name: str) -> None:
        self.removed.append((kind, name))


class FakeClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# --- samples --------------------------------------------------------------------------------------------------------------


def container(name: str = "chat-backend", **changes: t.Any) -> Container:
    return replace(
        Container(
            id=name + "-id",
            name=name,
            image_id="sha256:backend",
            image="chat-backend:v1",
            status="running",
            env={},
            labels={},
            endpoints=(Endpoint("chat", "172.19.0.4"),),
            created="2026-11-23T02:00:00Z",
            started="2026-11-23T02:00:01Z",
        ),
        **changes,
    )


def properties(**changes: t.Any) -> Properties:
    return replace(
        Properties(
            owner="chat_owner",
            encoding="UTF8",
            collate="en_US.utf8",
            ctype="en_US.utf8",
            provider="libc",
            locale="",
            collation_version="2.36",
            tablespace="pg_default",
            connection_limit=-1,
            comment="",
            grants=(Grant("", "CONNECT", False), Grant("reader", "TEMPORARY", True)),
            settings=(Setting("", "dbops.environment", "production"), Setting("reader", "search_path", '"$user", public')),
        ),
        **changes,
    )


def manifest(**changes: t.Any) -> Manifest:
    return replace(
        Manifest(
            id="chat_20261123_030000",
            database="chat",
            environment="production",
            host="chat-production",
            reason="",
            run_id=RUN,
            operator="ann",
            controller="desk",
            revision="0123abc",
            created="2026-11-23T03:00:00Z",
            finished="2026-11-23T03:00:05Z",
            server_identifier=SERVER_ID,
            server_version="17.5",
            server_version_number=170005,
            container="chat-postgres-prod",
            image="postgres:17",
            image_id="sha256:server",
            pg_dump_version="17.5",
            compression="zstd:3",
            database_size=4096,
            database_oid=16384,
            next_transaction=750,
            schema_fingerprint="0" * 64,
            extensions={"plpgsql": "1.0"},
            roles=("chat_owner", "reader"),
            properties=properties(),
            tables=(TableRows("public", "users", 3), TableRows("public", "messages", 5)),
            large_objects=0,
            backend={"image": "chat-backend:v1"},
            files=(FileEntry("dump/toc.dat", 3, "0" * 64),),
        ),
        **changes,
    )


def evidence(**changes: t.Any) -> Evidence:
    return replace(
        Evidence(
            host="chat-preview",
            database="chat_preview",
            environment="preview",
            marker="preview",
            server_id=SERVER_ID,
            pinned_server_id=SERVER_ID,
        ),
        **changes,
    )


#: The schema that a published backup was made of, unless a test gives another.
SCHEMA = {"table public.users": "owner chat_owner"}


def published(folder: Path, schema: dict[str, str] | None = None, **changes: t.Any) -> t.Any:
    """A real, complete backup in ``folder`` with a small made-up dump."""
    archive = Archive(str(folder))
    work = Path(archive.work_folder(RUN, "backup"))
    (work / "dump").mkdir(mode=0o700)
    (work / "dump" / "toc.dat").write_bytes(b"toc" * 100)
    (work / "dump" / "1.dat.gz").write_bytes(bytes(range(256)))
    (work / "schema.json").write_text(json.dumps(SCHEMA if schema is None else schema))
    return archive.publish(str(work), manifest(**changes))


@dataclass
class FakeLock:
    """Stands for the operation lock; ``journal`` remembers what happened to it in order."""

    journal: list[str] = field(default_factory=list)

    def set_phase(self, phase: str) -> None:
        self.journal.append("phase " + phase)

    def take(self, wait: float, aside: str = "") -> None:
        self.journal.append("take" + aside.replace("\n", " "))

    def announce(self) -> None:
        self.journal.append("announce")


def request(risk: Risk = Risk.FORWARD, **changes: t.Any) -> Request:
    return replace(
        Request(
            operation="migrate",
            risk=risk,
            target=TargetOptions(database="chat", container="chat-postgres-prod"),
            caller=Caller(host="chat-production", operator="ann", controller="desk", revision="0123abc"),
        ),
        **changes,
    )


def operation(
    folder: Path | str = "/nowhere",
    connection: FakeConnection | None = None,
    docker: t.Any = None,
    sessions: FakeConnection | None = None,
    backends: tuple[Container, ...] = (),
    **request_changes: t.Any,
) -> Operation:
    """An operation on fakes: ``connection`` is its maintenance session, ``sessions`` what every other session is."""
    asked = request(backup_dir=str(folder), **request_changes)
    server = container("chat-postgres-prod", id="server-id", image="postgres:17", image_id="sha256:server")
    made = FakeOperation(
        request=asked,
        run_id=RUN,
        docker=docker or FakeDocker(server, *backends),
        redactor=Redactor(),
        target=Target(asked.target.database, "postgres", server, ADDRESS, backends, asked.target.runner_container),
        server=Server(SERVER_ID, "17.5", 170005, False, True),
        evidence=evidence(
            host=asked.caller.host,
            database=asked.target.database,
            environment=asked.environment,
            marker=asked.environment,
        ),
        archive=Archive(str(folder)),
        lock=t.cast(t.Any, FakeLock()),
        maintenance=t.cast(t.Any, connection or FakeConnection()),
        started_at=AT,
    )
    made.other = sessions or made.maintenance
    return made


class FakeOperation(Operation):
    """An operation whose sessions are one fake connection; ``opened`` remembers which sessions were opened."""

    other: t.Any = None

    def session(self, database: str = "", read_only: bool = False) -> contextlib.AbstractContextManager[t.Any]:
        self.opened.append((database or self.database, read_only))
        return contextlib.nullcontext(self.other)

    @property
    def opened(self) -> list[tuple[str, bool]]:
        return self.__dict__.setdefault("_opened", [])


class FakeRestic:
    """Stands for ``offsite._restic.Restic``: keeps copies of folders under ``there``, whose name is the snapshot's.

    :param refusing: backups that cannot be sent, and what is said of them.
    """

    def __init__(self, there: Path, made: bool = True, refusing: t.Mapping[str, str] | None = None) -> None:
        self.repository = Repository("s3:https://backup.example.com/chat", "chat-production")
        self.there = there
        self.made = made
        self.refusing = dict(refusing or {})
        self.asked: list[str] = []
        self._kept: list[Snapshot] = []

    def exists(self) -> bool:
        return self.made

    def create(self) -> None:
        self.asked.append("create")
        self.made = True

    def snapshots(self, tags: t.Sequence[str]) -> list[Snapshot]:
        return [snapshot for snapshot in self._kept if set(tags) <= set(snapshot.tags)]

    def send(
        self, folder: str, name: str, tags: t.Sequence[str], time: str, without: str = "", done: t.Callable[[int], None] | None = None
    ) -> tuple[str, int]:
        self.asked.append("send " + name)
        if name in self.refusing:
            raise DbopsError(self.refusing[name])
        snapshot = "%08d-of-ours" % (len(self._kept) + 1)
        shutil.copytree(Path(folder, name), self.there / snapshot / name, ignore=shutil.ignore_patterns(without))
        self._kept.append(Snapshot(snapshot, time, tuple(tags)))
        return snapshot[:8], 42  # as restic 0.14 does

    def fetch(self, snapshot: str, folder: str) -> None:
        self.asked.append("fetch " + snapshot)
        shutil.copytree(self.there / snapshot, folder, dirs_exist_ok=True)

    def read_file(self, snapshot: str, path: str, to: str) -> None:
        shutil.copy(self.there / snapshot / path, to)

    def unlock(self) -> None:
        self.asked.append("unlock")

    def check(self, share: str) -> None:
        self.asked.append("check " + share)
