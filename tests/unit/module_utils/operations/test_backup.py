# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One verified backup, or nothing: the order of things, the estimate, and what is left when a step fails."""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import ServicePart, read_backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Image
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _backup
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import (
    Estimate,
    back_up,
    describe,
    make_backup,
)
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_description import roles_in_use
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Grant, Setting
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import fingerprint
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Interrupted, ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import (
    OTHER_RUN,
    RUN,
    SERVER_ID,
    FakeConnection,
    container,
    operation,
    properties,
    published,
)

MAINTENANCE = {
    "SELECT 1 FROM pg_database": [(1,)],
    "pg_database_size": [(4096,)],
    "FROM pg_database d JOIN pg_tablespace": [(16384, True, "c", "chat_owner", "UTF8", "C", "C", "", "", "pg_default", -1, "")],
}
DATABASE = {
    "pg_export_snapshot": [("00000003-1",)],
    "has_function_privilege": [(True,)],
    "FROM pg_config": [("'--with-zstd'",)],
    "SELECT oid::bigint": [(16384,)],
    "pg_snapshot_xmax": [(750,)],
    "FROM pg_extension ORDER": [("plpgsql", "1.0")],
    "FROM pg_shdepend": [("chat_owner",), ("reader",)],
    "ORDER BY c.relpages DESC": [("public", "users", 16385)],
    "array_agg(a.attname": [(16385, ["id", 'na"me'], ["itself", "bytes"])],
    "hash_record_extended": [(3, "7", "-1")],
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\nWHERE c.relkind = 'r'": [("public", "users")],
    "count(*) FROM ONLY": [(3,)],
    "pg_largeobject_metadata": [(2,)],
    "FROM pg_constraint": [("constraint x on public.users", "CHECK (true)")],
    "sum(relpages": [(2048,)],
}


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder / "backups"
        self.folder.mkdir()
        self.maintenance, self.database = FakeConnection(MAINTENANCE), FakeConnection(DATABASE)
        self.journal: list[str] = []
        self.fails: dict[str, BaseException] = {}
        monkeypatch.setattr(_dump, "dump", self._dump)
        monkeypatch.setattr(_dump, "read_in_full", lambda _tools, _work: self._step("verify"))

    def _step(self, name: str) -> None:
        self.journal.append(name)
        if name in self.fails:
            raise self.fails[name]

    def _dump(self, _tools: t.Any, database: str, snapshot: str, work: str, jobs: int, compression: str) -> None:
        Path(work, "dump").mkdir(mode=0o700)
        Path(work, "dump", "toc.dat").write_text("%s %s %d %s" % (database, snapshot, jobs, compression))
        self._step("dump")

    def operation(self, check_mode: bool = False, backends: tuple = ()) -> Operation:
        return operation(self.folder, self.maintenance, sessions=self.database, risk=Risk.SAVE, check_mode=check_mode, backends=backends)

    @property
    def finals(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


# --- making one -----------------------------------------------------------------------------------------------------------


def test_a_backup_is_dumped_from_one_snapshot_read_back_and_published(stage: Stage) -> None:
    running = stage.operation()
    backup = make_backup(running, BackupOptions("nightly", 4))
    assert [path for path in running.folders if not Path(path).is_dir()] == [], "a work folder that has become the backup is none any more"
    assert stage.journal == ["dump", "verify"]
    assert stage.finals == ["chat_20261123_030000_nightly"]
    verify_files(read_backup(backup.path))
    assert Path(backup.dump, "toc.dat").read_text() == "chat 00000003-1 4 zstd:1"
    assert stage.database.statements[0] == "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    assert stage.database.statements[-1] == "COMMIT"


def test_the_manifest_holds_what_the_snapshot_held(stage: Stage) -> None:
    image = container(labels={"org.opencontainers.image.revision": "abc", "org.opencontainers.image.version": "v1"})
    manifest = make_backup(stage.operation(backends=(image,)), BackupOptions()).manifest
    assert manifest.tables == (TableRows("public", "users", 3),)
    assert (manifest.large_objects, manifest.database_oid, manifest.next_transaction, manifest.database_size) == (2, 16384, 750, 4096)
    assert manifest.schema_fingerprint == fingerprint({"constraint x on public.users": "CHECK (true)"})
    assert manifest.roles == ("chat_owner", "reader")
    assert manifest.backend["revision"] == "abc" and manifest.backend["image"] == "chat-backend:v1"
    assert (manifest.run_id, manifest.operator, manifest.server_identifier) == (RUN, "ann", SERVER_ID)
    assert {entry.path for entry in manifest.files} == {"dump/toc.dat", "schema.json"}


def test_what_each_table_holds_is_digested_in_the_snapshot_that_is_dumped(stage: Stage) -> None:
    backup = make_backup(stage.operation(), BackupOptions("", 3))
    assert backup.manifest.contents == {"public.users": "0000000000000007ffffffffffffffff"}
    assert backup.manifest.contents_unknown == ""
    assert read_backup(backup.path).manifest == backup.manifest
    assert stage.database.said("hash_record_extended")[0].count('ROW(t."id", t."na""me" COLLATE "C")') == 1
    snapshots = stage.database.said("SET TRANSACTION SNAPSHOT")
    assert snapshots == ["SET TRANSACTION SNAPSHOT '00000003-1'"] * 4  # who asks which tables there are, and three that read them


@pytest.mark.parametrize(
    ("wanted", "size", "why"),
    [
        ("auto", 10**9, ""),
        ("auto", 11 * 2**30, "the database is larger than 10.0 GB"),
        ("always", 11 * 2**30, ""),
        ("never", 1, "dbops_backup_content_hash is never"),
    ],
)
def test_where_nothing_is_digested_the_manifest_says_why(stage: Stage, wanted: str, size: int, why: str) -> None:
    stage.maintenance.answers["pg_database_size"] = [(size,)]
    running = stage.operation()
    backup = make_backup(running, BackupOptions(content_hash=wanted))
    assert backup.manifest.contents_unknown.startswith(why) and bool(backup.manifest.contents) is not bool(why)
    assert backup.manifest.rows == 3
    assert any(why in line for line in describe(running, backup)) and len(describe(running, backup)) == (3 if why else 2)


def test_a_server_that_has_no_session_to_spare_is_backed_up_all_the_same(stage: Stage) -> None:
    stage.database.answers["hash_record_extended"] = ServerError("remaining connection slots are reserved.")
    running = stage.operation()
    backup = make_backup(running, BackupOptions())
    assert backup.manifest.rows == 3 and backup.manifest.contents == {}
    assert backup.manifest.contents_unknown == "they could not be read for it (remaining connection slots are reserved)"
    assert any("only compare the counts: they could not be read" in line for line in describe(running, backup))


def test_an_interruption_is_no_reason_to_count_instead(stage: Stage) -> None:
    stage.database.answers["hash_record_extended"] = Interrupted("SIGTERM")
    with pytest.raises(Interrupted):
        make_backup(stage.operation(), BackupOptions())
    assert stage.finals == []


@pytest.mark.parametrize("error", ["failed", "interrupted"])
def test_a_dump_that_fails_ends_the_sessions_that_read_beside_it(stage: Stage, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Like a session that waits for a lock: it ends with an error when it is cancelled, and nobody counts in its place."""
    reading, failed = threading.Event(), threading.Event()

    def read(_text: str, _parameters: t.Any) -> list[tuple[int, str, str]]:
        reading.set()
        assert failed.wait(10), "the session was not given up"
        raise ServerError("canceling statement due to user request")

    stage.database.answers["hash_record_extended"] = read
    stage.database.cancel = failed.set  # type: ignore[method-assign]

    def dump(*_arguments: t.Any) -> None:
        assert reading.wait(10)
        raise DbopsError(error) if error == "failed" else Interrupted(error)

    monkeypatch.setattr(_dump, "dump", dump)
    with pytest.raises(DbopsError, match=error):
        make_backup(stage.operation(), BackupOptions())
    assert stage.finals == []
    assert not stage.database.said("count(*) FROM ONLY")


@pytest.mark.parametrize("step", ["dump", "verify"])
@pytest.mark.parametrize("error", [DbopsError("no"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_a_step_that_fails_leaves_nothing_under_a_final_name(stage: Stage, step: str, error: BaseException) -> None:
    stage.fails[step] = error
    running = stage.operation()
    with pytest.raises(type(error)):
        make_backup(running, BackupOptions())
    assert stage.finals == []
    running.close()
    assert list(stage.folder.iterdir()) == []


def test_a_failed_count_leaves_nothing_under_a_final_name(stage: Stage) -> None:
    stage.database.answers["hash_record_extended"] = DbopsError("row-level security")
    stage.database.answers["count(*) FROM ONLY"] = DbopsError("row-level security")
    with pytest.raises(DbopsError, match="row-level security"):
        make_backup(stage.operation(), BackupOptions())
    assert stage.finals == []


def test_a_failed_dump_does_not_wait_for_the_counting(stage: Stage) -> None:
    stage.fails["dump"] = DbopsError("no")
    with pytest.raises(DbopsError, match="no"):
        make_backup(stage.operation(), BackupOptions())
    assert "(cancel)" in stage.database.statements


def test_a_user_who_may_not_see_how_the_server_was_built_gets_gzip(stage: Stage) -> None:
    stage.database.answers["has_function_privilege"] = [(False,)]
    assert make_backup(stage.operation(), BackupOptions()).manifest.compression == "gzip:1"


def test_every_role_that_a_restore_needs_is_named() -> None:
    grants = (Grant("", "CONNECT", False), Grant("reader", "CREATE", False))
    owned = properties(owner="boss", grants=grants, settings=(Setting("ann", "work_mem", "1"), Setting("", "x", "1")))
    assert roles_in_use(t.cast(t.Any, FakeConnection({"pg_shdepend": [("chat_owner",)]})), owned) == ("ann", "boss", "chat_owner", "reader")


# --- the module's work ----------------------------------------------------------------------------------------------------


def test_a_backup_says_where_it_is_and_how_to_go_back(stage: Stage) -> None:
    result = back_up(stage.operation(), BackupOptions())
    assert result.changed
    assert "1 table" in result.summary[0] and "3 rows" in result.summary[0]
    assert "-e dbops_restore_backup=chat_20261123_030000 -e dbops_confirm=restore:chat" in result.summary[1]
    assert result.journal == {"backup": "chat_20261123_030000"}
    assert result.facts["backup"]["path"] == str(stage.folder / "chat_20261123_030000")


def test_check_mode_makes_none_and_shows_the_same_diff(stage: Stage) -> None:
    published(stage.folder, id="chat_20261122_030000", run_id=OTHER_RUN)
    check = back_up(stage.operation(check_mode=True), BackupOptions("nightly"))
    assert stage.journal == [] and stage.finals == ["chat_20261122_030000"]
    assert check.changed and check.summary[0].startswith("Would back up database 'chat' to '%s/" % stage.folder)
    run = back_up(stage.operation(), BackupOptions("nightly"))
    assert check.diff == run.diff
    assert check.diff is not None and (check.diff["before"], check.diff["after"]) == ("1 backup of chat\n", "2 backups of chat\n")


# --- room -----------------------------------------------------------------------------------------------------------------


def test_too_little_room_is_said_before_anything_is_written(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Archive, "free_space", lambda _archive: 1000)
    with pytest.raises(
        DbopsError, match=r"too little room .*: about 2\.0 kB needed \(the size of the tables, uncompressed\), 1000 bytes free"
    ) as refused:
        back_up(stage.operation(), BackupOptions())
    assert stage.journal == [] and stage.finals == []
    assert refused.value.details["estimate"]["needed"] == 2048


def test_the_estimate_grows_with_the_database(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Archive, "free_space", lambda _archive: 10**9)
    backup = published(stage.folder, database_size=2048, id="chat_20261122_030000")  # half the size that the database has now
    estimate = _backup.estimate_space(stage.operation())
    assert estimate == Estimate(int(4096 * (backup.manifest.size / 2048) * 1.2), 10**9, "from the backup 'chat_20261122_030000'")


def test_a_backup_of_another_server_says_nothing_about_the_room(stage: Stage) -> None:
    published(stage.folder, server_identifier="42")
    assert _backup.estimate_space(stage.operation()).basis == "the size of the tables, uncompressed"


def test_passwords_are_kept_where_that_is_asked_for_and_may_be_read(stage: Stage) -> None:
    verifier = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
    stage.database.answers.update(
        {
            "RECURSIVE": [("chat_owner",)],
            "rolconnlimit": [("chat_owner", -1, False, True, False, False, True, False, False)],
            "FROM pg_authid": [("chat_owner", verifier)],
        }
    )
    made = []
    for number, options in enumerate((BackupOptions(), BackupOptions(role_passwords=True), BackupOptions(role_passwords=True))):
        stage.database.answers["has_table_privilege"] = [(number == 2,)]
        running = stage.operation()
        made.append((running, make_backup(running, options).manifest.role_definitions[0].verifier))
        running.close()
    assert [found for _running, found in made] == ["", "", verifier]
    assert [any("only a superuser may read" in text for text in running.warnings) for running, _found in made] == [False, True, False]
    assert verifier not in made[2][0].redactor.text("it is %s" % verifier)


def test_what_else_the_service_needs_is_listed_without_secrets(stage: Stage) -> None:
    compose = {
        "com.docker.compose.project": "chat",
        "com.docker.compose.service": "backend",
        "com.docker.compose.project.config_files": "/srv/chat/docker-compose.yml",
        "com.docker.compose.project.environment_file": "/srv/chat/.env",
    }
    running = stage.operation(backends=(container(labels=compose, env={"DB_URL": "hidden-word"}),))
    running.docker.images = {"sha256:backend": Image("sha256:backend", {}, (), {}, ("registry/chat@sha256:1",))}  # type: ignore[attr-defined]
    backup = make_backup(running, BackupOptions())
    database, backend = backup.manifest.service
    assert (database.container, database.image, database.digest) == ("chat-postgres-prod", "postgres:17", "")
    assert backend == ServicePart(
        *("chat-backend", "chat-backend:v1", "sha256:backend", "registry/chat@sha256:1"),
        *("chat", "backend", "/srv/chat/docker-compose.yml", "/srv/chat/.env"),
    )
    assert "hidden-word" not in Path(backup.path, "manifest.json").read_text()
    assert read_backup(backup.path).manifest.service == backup.manifest.service
