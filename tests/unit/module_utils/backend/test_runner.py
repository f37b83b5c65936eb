# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The migration runner: its command, its image and environment, where it runs, and why it failed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import (
    STATE_TABLES,
    Runner,
    command_of,
    failure_of,
    find_runner,
    harmless_mounts,
    is_state_table,
    last_lines,
    run_for_real,
    run_in_sandbox,
)
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Endpoint, Image, Mount
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, EngineError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeDocker, container

BACKEND = container(
    env={"PATH": "/bin", "DATABASE_URL": "postgres://x", "MODE": "production"},
    endpoints=(Endpoint("chat", "172.19.0.4"), Endpoint("mail", "172.20.0.4")),
    user="65532:65532",
)
IMAGES = {
    "sha256:backend": Image("sha256:backend", {"PATH": "/bin", "MODE": "development"}, (), {}),
    "chat-backend:v2": Image("sha256:new", {"PATH": "/usr/bin"}, (), {}),
}
RUNNER = Runner(("/app/backend", "migrate"), "chat-backend:v1", "sha256:backend", BACKEND, {"DATABASE_URL": "postgres://x"})


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "purpose", "command"),
    [
        (["ent"], "migrate", ("/app/backend", "migrate")),
        (["ent"], "seed", ("/app/backend", "seed")),
        (["/app/backend", "migrate", "--all"], "migrate", ("/app/backend", "migrate", "--all")),
        (["/app/backend migrate"], "migrate", ("/app/backend", "migrate")),
        (["sh -c 'a b'"], "migrate", ("sh", "-c", "a b")),
        (["sh", "-c", "it's"], "migrate", ("sh", "-c", "it's")),
        (["alembic"], "migrate", ("alembic",)),
    ],
)
def test_a_command_is_a_preset_or_the_words_themselves(given: list, purpose: str, command: tuple) -> None:
    assert command_of(given, purpose) == command


@pytest.mark.parametrize("given", [[], [""], ["  "], ["", ""]])
def test_no_command_is_refused_with_the_presets(given: list) -> None:
    with pytest.raises(DbopsError, match="ent"):
        command_of(given, "migrate")


def test_a_command_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(DbopsError, match="'it's' cannot be split"):
        command_of(["it's"], "migrate")


# --- the image and its environment ----------------------------------------------------------------------------------------


def test_what_the_container_adds_to_its_image_goes_along() -> None:
    runner = find_runner(FakeDocker(images=IMAGES), BACKEND, ("x",), "")
    assert (runner.image, runner.image_id) == ("chat-backend:v1", "sha256:backend")
    assert runner.env == {"DATABASE_URL": "postgres://x", "MODE": "production"}


def test_another_image_keeps_its_own_defaults() -> None:
    runner = find_runner(FakeDocker(images=IMAGES), BACKEND, ("x",), "chat-backend:v2")
    assert (runner.image, runner.image_id) == ("chat-backend:v2", "sha256:new")
    assert "PATH" not in runner.env


def test_an_image_that_is_not_on_the_host_is_refused() -> None:
    with pytest.raises(EngineError, match="docker pull chat-backend:v9"):
        find_runner(FakeDocker(images=IMAGES), BACKEND, ("x",), "chat-backend:v9")


# --- where it runs --------------------------------------------------------------------------------------------------------


def test_in_the_sandbox_there_is_no_other_network_and_nothing_of_the_real_one() -> None:
    docker = FakeDocker()
    run_in_sandbox(docker, RUNNER, "name", {"dbops.run": "x"}, "dbops-x-sandbox", 9)
    job = docker.jobs[0]
    assert (job.network, job.further_networks, job.volumes_from) == ("dbops-x-sandbox", (), "")
    assert (job.image, job.argv, job.user, job.labels) == ("sha256:backend", RUNNER.argv, "65532:65532", {"dbops.run": "x"})
    assert job.env == RUNNER.env


def test_for_real_it_joins_every_network_of_the_backend_and_names_its_sessions() -> None:
    docker = FakeDocker()
    run_for_real(docker, RUNNER, "name", {}, "dbops migrate x", 9)
    job = docker.jobs[0]
    assert (job.network, job.further_networks, job.volumes_from) == ("chat", ("mail",), BACKEND.id)
    assert job.env == {"DATABASE_URL": "postgres://x", "PGAPPNAME": "dbops migrate x"}
    assert RUNNER.env == {"DATABASE_URL": "postgres://x"}  # the runner itself is not changed


def test_a_backend_that_shares_anothers_network_has_its_runner_there_too() -> None:
    docker = FakeDocker()
    run_for_real(docker, Runner(("x",), "i", "i", container(endpoints=())), "name", {}, "a", 9)
    assert docker.jobs[0].network == "container:chat-backend-id"


def test_only_harmless_mounts_go_into_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "1.sql").write_text("x")
    (tmp_path / "run" / "postgresql").mkdir(parents=True)
    listening = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(str(tmp_path / "run" / "postgresql"))  # the path of a socket must be short
    try:
        listening.bind(".s.PGSQL.5432")
    finally:
        os.chdir(str(before))
    mounts = [
        Mount("bind", str(tmp_path / "secret"), "/secret"),
        Mount("bind", str(tmp_path / "migrations"), "/migrations"),
        Mount("bind", str(tmp_path / "run"), "/run"),
        Mount("bind", str(tmp_path / "run" / "postgresql" / ".s.PGSQL.5432"), "/socket"),
        Mount("bind", str(tmp_path / "missing"), "/missing"),
        Mount("volume", "/var/lib/docker/volumes/x", "/data"),
    ]
    found = harmless_mounts(container(mounts=tuple(mounts)))
    listening.close()
    assert found == ((str(tmp_path / "secret"), "/secret", False), (str(tmp_path / "migrations"), "/migrations", False))


# --- what came of it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(0, "", ""), ""),
        (Outcome(1, "", ""), "'/app/backend migrate' in image 'chat-backend:v1' failed with exit status 1"),
        (Outcome(-9, "", "", timed_out=True), "did not end within 600 s and was stopped (dbops_migrate_timeout)"),
        (Outcome(0, "", "", timed_out=True), "did not end within 600 s"),
        (Outcome(137, "", ""), "was killed (exit status 137): did it run out of memory?"),
        (Outcome(126, "", ""), "could not be started: is that program in the image?"),
        (Outcome(127, "", ""), "could not be started: is that program in the image?"),
    ],
)
def test_why_a_runner_failed_is_a_sentence(outcome: Outcome, words: str) -> None:
    assert words in failure_of(RUNNER, outcome, 600, "dbops_migrate_timeout")
    assert bool(failure_of(RUNNER, outcome, 600, "dbops_migrate_timeout")) == bool(words)


def test_the_end_of_the_output_is_one_line() -> None:
    assert last_lines(Outcome(1, "a\n\nb\n c \n", "d\ne\nf\n"), 3) == "d | e | f"
    assert last_lines(Outcome(1, "a\n", "")) == "a"
    assert last_lines(Outcome(1, "", "")) == ""


# --- state tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    ["alembic_version", "django_migrations", "flyway_schema_history", "schema_migrations", "goose_db_version", "atlas_schema_revisions"],
)
def test_the_widespread_runners_are_known(table: str) -> None:
    assert is_state_table("public", table, STATE_TABLES)


def test_everyday_names_only_count_in_the_schema_of_their_runner() -> None:
    for table in ("changes", "events", "tags", "projects"):
        assert not is_state_table("public", table, STATE_TABLES)
        assert is_state_table("sqitch", table, STATE_TABLES)


def test_further_state_tables_may_be_named() -> None:
    assert is_state_table("app", "my_migrations", (*STATE_TABLES, "my_migrations"))
    assert not is_state_table("public", "users", STATE_TABLES)
