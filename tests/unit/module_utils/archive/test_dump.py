# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's own tools in one-shot containers: their options, the password's way, and the sentence of a failure."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump, _load
from ansible_collections.dbops.postgres.plugins.module_utils.archive._dump import ToolBox, best_compression, tool_failure
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Address, Server
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import ADDRESS, RUN, FakeDocker, container

SERVER = Server("1", "18.0", 180000, False, True)
FAILED = Outcome(1, "", "pg_dump: warning: x\npg_dump: error: no such table\nDETAIL:  y\nHINT:  z\nHINT:  too much\n")


def tools(folder: Path, docker: FakeDocker, address: Address = ADDRESS) -> ToolBox:
    return ToolBox(docker, container("db", image_id="sha256:server"), address, RUN, "1/chat", str(folder), SERVER)  # type: ignore[arg-type]


def test_a_dump_runs_in_the_databases_own_image_and_network_as_this_user(tmp_path: Path) -> None:
    docker = FakeDocker()
    _dump.dump(tools(tmp_path, docker), "chat", "00000003-1", "/work", 4, "zstd:1")
    job = docker.jobs[0]
    assert job.argv == (
        "pg_dump", "--format=directory", "--verbose", "--jobs=4", "--compress=zstd:1", "--no-password", _dump.LOCK_WAIT, "--file=/dbops/backup/dump",
        "--snapshot=00000003-1",
    )  # fmt: skip
    assert (job.image, job.network) == ("sha256:server", "container:db-id")
    assert job.user == "%d:%d" % (os.getuid(), os.getgid())
    assert job.labels == {"dbops.run": RUN, "dbops.target": "1/chat"}
    assert job.mounts == (
        (str(tmp_path / "pgpass"), "/dbops/pgpass", False),
        (str(tmp_path / "pg_service.conf"), "/dbops/pg_service.conf", False),
        ("/work", "/dbops/backup", True),
    )


def test_without_a_snapshot_none_is_named(tmp_path: Path) -> None:
    docker = FakeDocker()
    _dump.dump(tools(tmp_path, docker), "chat", "", "/work", 1, "1")
    assert not any(word.startswith("--snapshot") for word in docker.jobs[0].argv)


def test_reading_back_and_restoring_only_read_the_backup(tmp_path: Path) -> None:
    docker = FakeDocker()
    _dump.read_in_full(tools(tmp_path, docker), "/work")
    _load.load(tools(tmp_path, docker), "/work", "chat_next", 2)
    assert docker.jobs[0].argv == ("pg_restore", "--verbose", "--file=/dev/null", "/dbops/backup/dump")
    assert docker.jobs[1].argv == (
        "pg_restore",
        "--verbose",
        "--no-password",
        "--dbname=",
        "--exit-on-error",
        "--jobs=2",
        "/dbops/backup/dump",
    )
    assert docker.jobs[1].env["PGDATABASE"] == "chat_next"
    assert [job.mounts[-1] for job in docker.jobs] == [("/work", "/dbops/backup", False)] * 2


def test_the_password_travels_in_a_private_file_only(tmp_path: Path) -> None:
    docker = FakeDocker()
    tools(tmp_path, docker, Address("h", 5432, "u", "a:b\\c d")).run("x", ["psql"])
    path = tmp_path / "pgpass"
    assert path.read_text() == "*:*:*:*:a\\:b\\\\c d\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    job = docker.jobs[0]
    assert "a:b" not in repr(job)
    assert job.env["PGPASSFILE"] == "/dbops/pgpass"
    assert (job.env["PGHOST"], job.env["PGPORT"], job.env["PGUSER"]) == ("h", "5432", "u")


def test_the_tools_notice_a_server_whose_address_is_gone(tmp_path: Path) -> None:
    docker = FakeDocker()
    tools(tmp_path, docker).run("x", ["psql"])
    assert (tmp_path / "pg_service.conf").read_text().splitlines() == [
        "[dbops]", "keepalives_idle=10", "keepalives_interval=5", "keepalives_count=3", "tcp_user_timeout=300000",
    ]  # fmt: skip
    job = docker.jobs[0]
    assert (job.env["PGSERVICEFILE"], job.env["PGSERVICE"]) == ("/dbops/pg_service.conf", "dbops")


def test_the_password_file_is_written_once(tmp_path: Path) -> None:
    docker = FakeDocker()
    box = tools(tmp_path, docker)
    box.run("x", ["psql"])
    box.run("y", ["psql"])
    assert [job.name for job in docker.jobs] == ["dbops-%s-x" % RUN, "dbops-%s-y" % RUN]


@pytest.mark.parametrize(
    ("version", "configure", "compression"),
    [
        (140011, "'--with-zstd'", "1"),
        (150004, "'--with-zstd'", "1"),
        (160000, "'--with-zstd'", "zstd:1"),
        (170005, "'--with-lz4'", "gzip:1"),
        (180000, "", "gzip:1"),
    ],
)
def test_the_best_compression_that_the_image_has_is_used(version: int, configure: str, compression: str) -> None:
    assert best_compression(version, configure) == compression


# --- failures -------------------------------------------------------------------------------------------------------------


def test_a_failure_says_postgresqls_own_sentence_first() -> None:
    words = tool_failure("pg_dump", FAILED, "database 'chat'")
    assert words == "pg_dump failed on database 'chat' (exit status 1): pg_dump: error: no such table DETAIL:  y HINT:  z."


@pytest.mark.parametrize(("stderr", "said"), [("", "no message"), ("killed\n", "killed"), ("FATAL:  no\n", "FATAL:  no")])
def test_a_failure_without_an_error_line_says_what_there_is(stderr: str, said: str) -> None:
    assert tool_failure("psql", Outcome(2, "", stderr), "x").endswith("(exit status 2): %s." % said)


def test_what_the_server_said_to_the_tool_is_told_too() -> None:
    stderr = "pg_dump: error: PQgetResult() failed.\npg_dump: detail: Error message from server: FATAL:  terminated\npg_dump: detail: Command was: COPY\n"
    assert "PQgetResult() failed. pg_dump: detail: Error message from server: FATAL:  terminated" in tool_failure(
        "pg_dump", Outcome(1, "", stderr), "x"
    )


def test_every_tool_that_fails_is_an_error(tmp_path: Path) -> None:
    for call in (
        lambda box: _dump.dump(box, "chat", "", "/w", 1, "1"),
        lambda box: _dump.read_in_full(box, "/w"),
        lambda box: _load.load(box, "/w", "chat_next", 1),
    ):
        docker = FakeDocker()
        docker.outcomes = [FAILED]
        with pytest.raises(DbopsError, match="no such table") as failed:
            call(tools(tmp_path, docker))
        assert "HINT" in failed.value.details["output"]


def test_a_failed_restore_names_the_database_that_it_was_building(tmp_path: Path) -> None:
    docker = FakeDocker()
    docker.outcomes = [FAILED]
    with pytest.raises(DbopsError, match="the new database 'chat_next'"):
        _load.load(tools(tmp_path, docker), "/w", "chat_next", 1)
