# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`preview_reset.yml`: a fresh preview database while its backends are connected and written to. Never production."""

from __future__ import annotations

import contextlib

import pytest

from controller import CheckThenRun, Controller
from stack import Server, Stack, command, wait_until
from traffic import Writer

SEEDED = {"messages": 60, "reactions": 20, "rooms": 3, "users": 5}


def clients(server: Server) -> set[str]:
    """The addresses of the clients that are connected to the database."""
    query = "SELECT DISTINCT host(client_addr) FROM pg_stat_activity WHERE datname = %s AND client_addr IS NOT NULL"
    return {address for (address,) in server.rows(query, server.database, database="postgres")}


@pytest.mark.core
def test_a_reset_does_what_its_check_has_shown(v1: None, check_then_run: CheckThenRun, preview: Server) -> None:
    preview.do("UPDATE rooms SET topic = 'left by a branch'", "CREATE TABLE left_by_a_branch (id int)")
    _checked, done = check_then_run("preview_reset", "-l", "preview")
    assert preview.tables() == SEEDED
    assert preview.value("SELECT count(*) FROM rooms WHERE topic <> ''") == 0
    assert preview.marker == "preview"
    assert done.result()["baseline_rebuilt"] is True
    [replaced] = [name for name in preview.databases() if name not in ("postgres", "chat_preview")]
    assert replaced.startswith("chat_preview_before_reset_") and replaced == done.result()["replaced"]


def test_the_next_reset_is_a_copy_of_the_baseline_until_what_made_it_changes(
    v2: None, check_then_run: CheckThenRun, controller: Controller, preview: Server
) -> None:
    first = controller.run("preview_reset", "-l", "preview")
    assert first.ok and first.result()["baseline_rebuilt"] is True
    made = preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview_baseline' AND datistemplate AND NOT datallowconn")
    assert made

    preview.do("UPDATE rooms SET topic = 'left by a branch'", "CREATE TABLE left_by_a_branch (id int)")
    _checked, second = check_then_run("preview_reset", "-l", "preview")
    assert second.result()["baseline_rebuilt"] is False
    assert not any(phase in second.result()["operation"]["phases"] for phase in ("reset: sandbox", "reset: build"))
    assert preview.tables() == SEEDED
    assert preview.value("SELECT count(*) FROM rooms WHERE topic <> ''") == 0
    assert preview.marker == "preview"
    assert preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview_baseline'") == made
    again = controller.run("seed", "-l", "preview")
    assert again.ok and not again.changed, "the copy knows which seed it holds"

    other = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_seed=["/app/backend", "seed", "10"])
    assert other.ok and other.result()["baseline_rebuilt"] is True
    assert preview.tables() != SEEDED
    assert preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview_baseline'") != made


def test_a_baseline_of_another_collation_version_is_made_anew(v2: None, controller: Controller, preview: Server) -> None:
    """A change of the image's C library leaves the old versions behind; PostgreSQL copies no template that has one."""
    if preview.value("SHOW server_version_num") < "150000":
        pytest.skip("before 15 a database has no such version")
    assert controller.run("preview_reset", "-l", "preview").ok
    preview.do("UPDATE pg_database SET datcollversion = '2.31' WHERE datname <> 'template0'", database="postgres")
    try:
        again = controller.run("preview_reset", "-l", "preview")
        assert again.ok, again.output
        assert again.result()["baseline_rebuilt"]
        third = controller.run("preview_reset", "-l", "preview")
        assert third.ok and not third.result()["baseline_rebuilt"], third.output
    finally:
        for (name,) in preview.rows("SELECT datname FROM pg_database WHERE datname <> 'template0'", database="postgres"):
            preview.do(f'ALTER DATABASE "{name}" REFRESH COLLATION VERSION', database="postgres")


@pytest.mark.long
def test_a_baseline_that_somebody_has_changed_never_goes_live(v2: None, controller: Controller, preview: Server) -> None:
    assert controller.run("preview_reset", "-l", "preview").ok
    preview.do("ALTER DATABASE chat_preview_baseline ALLOW_CONNECTIONS true", database="postgres")
    preview.do("DELETE FROM reactions", database="chat_preview_baseline")
    preview.do("UPDATE rooms SET topic = 'still here'")
    refused = controller.run("preview_reset", "-l", "preview")
    assert not refused.ok
    assert "The baseline 'chat_preview_baseline' was changed after it was made: table public.reactions has 0 rows" in refused.message
    assert preview.value("SELECT count(*) FROM rooms WHERE topic = 'still here'") == 3
    assert controller.run("preview_reset", "-l", "preview", dbops_preview_reset_rebuild=True).ok
    assert preview.tables() == SEEDED


@pytest.mark.long
def test_a_baseline_that_somebody_has_opened_or_removed_is_no_obstacle(v2: None, controller: Controller, preview: Server) -> None:
    assert controller.run("preview_reset", "-l", "preview").ok
    preview.do("ALTER DATABASE chat_preview_baseline ALLOW_CONNECTIONS true", database="postgres")
    with contextlib.closing(preview.connect("chat_preview_baseline")):
        copied = controller.run("preview_reset", "-l", "preview")
    assert copied.ok and copied.result()["baseline_rebuilt"] is False, copied.output
    preview.do("ALTER DATABASE chat_preview_baseline IS_TEMPLATE false", "DROP DATABASE chat_preview_baseline", database="postgres")
    rebuilt = controller.run("preview_reset", "-l", "preview")
    assert rebuilt.ok and rebuilt.result()["baseline_rebuilt"] is True, rebuilt.output

    preview.do(
        "ALTER DATABASE chat_preview_baseline IS_TEMPLATE false",
        "DROP DATABASE chat_preview_baseline",
        "CREATE DATABASE chat_preview_baseline",  # half-made, or somebody's own
        database="postgres",
    )
    refused = controller.run("preview_reset", "-l", "preview")
    assert not refused.ok
    assert "Database 'chat_preview_baseline' is in the way: a reset keeps its baseline under that name." in refused.message
    assert preview.tables() == SEEDED
    preview.do("DROP DATABASE chat_preview_baseline", database="postgres")


def test_backends_that_are_connected_and_written_to_go_on_by_themselves(v2: None, controller: Controller, preview: Server) -> None:
    started = [backend.started_at for backend in preview.backends]
    wait_until(lambda: {backend.address for backend in preview.backends} <= clients(preview))
    with Writer(preview.backends[0]) as writer:
        wait_until(lambda: writer.accepted > 5)
        done = controller.run("preview_reset", "-l", "preview")
        accepted = writer.accepted
        wait_until(lambda: writer.accepted > accepted + 5)
    assert done.ok, done.output
    assert SEEDED["messages"] < preview.tables()["messages"] <= SEEDED["messages"] + writer.accepted
    assert [backend.started_at for backend in preview.backends] == started
    for backend in preview.backends:
        assert backend.exec("/app/backend", "health").returncode == 0
        assert backend.name in done.summary


@pytest.mark.long
def test_a_backend_that_was_sick_before_is_told_and_not_called_healthy(v2: None, controller: Controller, preview: Server) -> None:
    sick, *well = (backend.name for backend in preview.backends)
    command("docker", "kill", "--signal", "STOP", sick)
    try:
        done = controller.run("preview_reset", "-l", "preview", dbops_backend_restart="never")
    finally:
        command("docker", "kill", "--signal", "CONT", sick)
    assert done.ok, done.output
    [healthy] = [line for line in done.summary.splitlines() if "Healthy: " in line]
    assert sick not in healthy and all(name in healthy for name in well)
    assert f"Backend '{sick}' was not healthy before the reset either." in done.result()["warnings"]


@pytest.mark.long
def test_only_the_newest_replaced_databases_are_kept_and_undo_brings_one_back(v2: None, controller: Controller, preview: Server) -> None:
    preview.do("UPDATE rooms SET topic = 'first'")
    started = [backend.started_at for backend in preview.backends]
    first = controller.run("preview_reset", "-l", "preview", dbops_backend_restart="always")
    assert first.ok, first.output
    assert all(backend.started_at > before for backend, before in zip(preview.backends, started, strict=True))
    preview.do("UPDATE rooms SET topic = 'second'")
    second = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_seed=[])
    assert second.ok, second.output
    assert second.result()["dropped"] == [first.result()["replaced"]]
    assert preview.databases() == ["chat_preview", second.result()["replaced"], "postgres"]
    assert set(preview.tables().values()) == {0}

    undone = controller.run("restore", "-l", "preview", dbops_restore_backup="undo")
    assert undone.ok, undone.output
    assert {topic for (topic,) in preview.rows("SELECT topic FROM rooms")} == {"second"}


class TestTablesThatAreKept:
    def test_their_rows_survive_with_their_sequences(self, v2: None, check_then_run: CheckThenRun, preview: Server) -> None:
        preview.do(
            "INSERT INTO users (name, created_at) SELECT 'Tester ' || n, now() FROM generate_series(1, 7) n",
            "UPDATE users SET nickname = 'renamed' WHERE id = 1",
            "UPDATE rooms SET topic = 'left by a branch'",
        )
        _checked, done = check_then_run("preview_reset", "-l", "preview", dbops_preview_reset_keep_tables="users")
        assert done.result()["kept_tables"] == ["public.users"]
        assert preview.tables() == {**SEEDED, "users": 12}
        assert preview.value("SELECT nickname FROM users WHERE id = 1") == "renamed"
        assert preview.value("SELECT count(*) FROM rooms WHERE topic <> ''") == 0
        preview.do("INSERT INTO users (name, created_at) VALUES ('After the reset', now())")
        assert preview.value("SELECT max(id) FROM users WHERE name = 'After the reset'") == 13
        # The foreign keys are there again, and hold.
        assert preview.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 4

    @pytest.mark.long
    def test_a_foreign_key_that_would_not_hold_refuses(self, v2: None, controller: Controller, preview: Server, stack: Stack) -> None:
        preview.do("DELETE FROM reactions", "DELETE FROM messages", "DELETE FROM users")
        before = preview.contents()
        refused = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_keep_tables="users")
        assert not refused.ok
        assert "since a foreign key of table 'public.messages' would not hold" in refused.message
        assert 'is not present in table "users"' in refused.message
        assert "The live database is untouched" in refused.message
        assert {name: digest for name, digest in preview.contents().items() if name == "digest of chat_preview"} == {
            name: digest for name, digest in before.items() if name == "digest of chat_preview"
        }
        assert stack.leftovers() == []

    @pytest.mark.share(1)
    @pytest.mark.parametrize(
        ("prepare", "name", "message"),
        [
            pytest.param("SELECT 1", "no such table", "There is no table 'no such table' in the live database to carry over", id="unknown"),
            pytest.param(
                "ALTER TABLE users ADD COLUMN shoe_size int", "public.users", "column 'shoe_size' is not in the fresh one", id="more"
            ),
            *(
                pytest.param(*values, marks=pytest.mark.long, id=name)
                for name, values in {
                    "in two schemas": (
                        "CREATE SCHEMA other CREATE TABLE users (id int)",
                        "users",
                        "Several tables are called 'users' (other.users, public.users)",
                    ),
                    "partitioned": (
                        "CREATE TABLE parted (id int) PARTITION BY LIST (id)",
                        "parted",
                        "Table 'public.parted' is partitioned",
                    ),
                    "not in the fresh one": (
                        "CREATE TABLE made_by_hand (id int)",
                        "made_by_hand",
                        "The fresh database has no table 'public.made_by_hand'",
                    ),
                    "another type": (
                        "ALTER TABLE users ALTER COLUMN nickname TYPE text",
                        "users",
                        "column 'nickname' is text here and character varying there",
                    ),
                    "fewer columns": ("ALTER TABLE users DROP COLUMN name", "users", "column 'name' is new and has no default"),
                }.items()
            ),
        ],
    )
    def test_what_cannot_be_kept_is_told_and_nothing_is_replaced(
        self, prepare: str, name: str, message: str, v2: None, controller: Controller, preview: Server
    ) -> None:
        preview.do(prepare)
        live = preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview'")
        refused = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_keep_tables=[name])
        assert not refused.ok
        assert message in refused.message
        assert preview.value("SELECT oid FROM pg_database WHERE datname = 'chat_preview'") == live


class TestAResetBySchedule:
    """The backends stay connected and check their connections every two seconds: that is no use."""

    def test_waits_until_nobody_works_in_the_preview(self, v2: None, controller: Controller, preview: Server) -> None:
        with contextlib.closing(preview.connect()) as person, person.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM rooms")
            skipped = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_idle="30")
        assert skipped.ok and not skipped.changed
        assert "Not reset: database 'chat_preview' was used within the last 30 minutes" in skipped.summary
        assert "SELECT count(*) FROM rooms" in skipped.result()["in_use"]
        assert preview.databases() == ["chat_preview", "postgres"]

    def test_sees_what_a_closed_session_has_read(self, v2: None, controller: Controller, preview: Server) -> None:
        if int(preview.value("SHOW server_version_num")) < 160000:
            pytest.skip("the server does not know when a table was last read")
        preview.value("SELECT count(*) FROM rooms")
        wait_until(lambda: preview.value("SELECT last_seq_scan FROM pg_stat_user_tables WHERE relname = 'rooms'"))
        skipped = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_idle=5.0)
        assert skipped.ok and not skipped.changed
        assert "table public.rooms was last read" in skipped.result()["in_use"]

    @pytest.mark.long
    def test_takes_place_while_the_backends_only_look_whether_it_is_there(self, v2: None, controller: Controller, preview: Server) -> None:
        wait_until(lambda: {backend.address for backend in preview.backends} <= clients(preview))
        preview.do("SELECT pg_stat_reset()")
        done = controller.run("preview_reset", "-l", "preview", dbops_preview_reset_idle=1.0)
        assert done.ok and done.changed, done.output


@pytest.mark.share(1)
@pytest.mark.parametrize(
    "options",
    [
        {"dbops_preview_reset_seed": ["/app/backend", "seed", "not-a-number"]},
        {"dbops_preview_reset_runner": ["/app/backend", "nonsense"]},
    ],
    ids=["seed", "migration"],
)
def test_what_cannot_be_built_replaces_nothing(options: dict[str, list[str]], v2: None, controller: Controller, stack: Stack) -> None:
    before = stack.preview.contents()
    failed = controller.run("preview_reset", "-l", "preview", **options)
    assert not failed.ok
    assert "The live database is untouched: 'chat_preview' is still the one with OID" in failed.message
    assert stack.preview.contents() == before
    assert stack.leftovers() == []
