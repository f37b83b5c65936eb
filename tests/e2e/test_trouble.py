# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens when things go wrong: runners that reach out, fail or lie, locks, two runs at once, runs that are killed."""

from __future__ import annotations

import re
import shlex

import pytest

from controller import ROOT, Controller
from faults import Hand, journal, left_behind
from stack import BACKEND, Server, Stack, command, wait_until
from traffic import APPLICATION, Reader, holding, waiting_for_locks

BEFORE = {"messages": 60, "rooms": 3, "users": 5}
AFTER = {**BEFORE, "reactions": 0}


def psql(stack: Stack, url: str, statement: str) -> dict[str, object]:
    """A migration runner in one line: psql, in the database's own image."""
    runner = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname", url, "--command", statement]
    return {"dbops_migrate_image": stack.postgres_image, "dbops_migrate_runner": runner, "dbops_migrate_approval": "never"}


def url_of(server: Server, host: str = "") -> str:
    password = "".join(f"%{byte:02X}" for byte in server.env["POSTGRES_PASSWORD"].encode())
    return f"postgresql://postgres:{password}@{host or server.name}:5432/{server.database}?connect_timeout=3"


class TestCheckMode:
    """S2: the sandbox has no route to the target, so a check cannot change it, whatever the runner does."""

    def test_a_runner_with_the_real_address_built_in_reaches_nothing(
        self, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        url = url_of(production, production.address)
        reached = command("docker", "run", "--rm", "--network", stack.network, stack.postgres_image, "psql", url, "--command", "SELECT 1")
        assert "(1 row)" in reached.stdout, "outside the sandbox that address is right"

        before = stack.everything()
        checked = controller.run("migrate", "-l", "production", "--check", **psql(stack, url, "DROP TABLE messages CASCADE"))
        assert not checked.ok
        assert "The migration would fail" in checked.message and "The database was not touched." in checked.message
        assert stack.everything() == before

    def test_a_runner_that_destroys_is_shown_and_destroys_nothing(
        self, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        before = stack.everything()
        destroyer = psql(stack, url_of(production), "DROP TABLE messages CASCADE; TRUNCATE users CASCADE; DELETE FROM rooms")
        checked = controller.run("migrate", "-l", "production", "--check", "--diff", **destroyer)
        assert checked.ok, checked.output
        for word in ("DROP TABLE messages CASCADE", "TRUNCATE users CASCADE", "DELETE FROM rooms", "- table public.messages"):
            assert word in checked.result()["diff"]["prepared"]
        assert stack.everything() == before

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("forbid", "words"),
        [
            (["ALTER DATABASE chat SET default_transaction_read_only = on"], "in a read-only transaction"),
            (
                [
                    "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL here'; END $$",
                    "CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION no()",
                ],
                "no DDL here",
            ),
        ],
        ids=["read-only", "event trigger"],
    )
    def test_a_database_that_forbids_changes_is_told_of_by_the_migrations_own_failure(
        self, forbid: list[str], words: str, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        """What forbids it on the database forbids it in the sandbox, and does not stop what we do there ourselves."""
        production.do(*forbid)
        runner = psql(stack, url_of(production), "CREATE TABLE more (id int)")
        try:
            checked = controller.run("migrate", "-l", "production", "--check", **runner)
        finally:
            production.do("ALTER DATABASE chat RESET default_transaction_read_only", database="postgres")
        assert not checked.ok
        assert "The migration would fail" in checked.message and words in checked.message
        assert "The database was not touched." in checked.message

    def test_a_check_that_is_killed_leaves_nothing_for_long(
        self, v1: None, controller: Controller, stack: Stack, production: Server, hand: Hand
    ) -> None:
        before = production.contents()
        slow = psql(stack, url_of(production), "SELECT pg_sleep(60)")
        checking = controller.start("migrate", "-l", "production", "--check", **slow)
        wait_until(lambda: any("plan" in line for line in stack.leftovers()))
        hand.kill_modules()
        assert not checking.wait().ok
        assert stack.leftovers() != []
        assert production.contents() == before
        assert controller.run("backup", "-l", "production").ok
        assert stack.leftovers() == []


class TestFailingMigration:
    """S5: the schema is as it was, which is shown; or the message says what changed and how to go back."""

    def test_a_migration_that_fails_half_way_names_the_way_back_and_that_way_works(
        self, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        whole = production.dump()
        failed = controller.run("migrate", "-l", "production", dbops_migrate_image=f"{BACKEND}:broken")
        assert not failed.ok
        [backup] = stack.backups(production)
        for word in ("users_nickname_key", "column public.users.nickname", "could not create unique index", backup):
            assert word in failed.message
        assert production.dump() != whole

        error = next(line for line in failed.output.splitlines() if line.startswith("[ERROR]"))
        [line] = re.findall(r"ansible-playbook restore\.yml -l \S+ -e dbops_restore_backup=\S+ -e dbops_confirm=\S+", error)
        assert f"-e dbops_restore_backup={backup} " in line
        program, playbook, *arguments = shlex.split(line)
        assert program == "ansible-playbook"
        restored = controller.run(playbook, *arguments, cwd=ROOT / "playbooks")
        assert restored.ok, restored.output
        assert production.dump() == whole

    @pytest.mark.long
    def test_a_migration_that_fails_in_the_plan_never_begins(self, v1: None, controller: Controller, stack: Stack) -> None:
        before = stack.everything()
        failed = controller.run("migrate", "-l", "preview", dbops_migrate_runner=["/app/backend", "no-such-command"])
        assert not failed.ok
        assert "The migration would fail" in failed.message and "usage: backend" in failed.message
        after = stack.everything()
        assert after["databases"] == before["databases"]
        assert stack.backups(stack.preview) == []

    def test_a_migration_that_is_undone_by_its_transaction_is_shown_to_be(
        self, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        """It fails on rows, which the sandbox has none of, inside one transaction."""
        whole = production.dump()
        statement = "BEGIN; ALTER TABLE users ADD COLUMN age int; ALTER TABLE users ALTER COLUMN age SET NOT NULL; COMMIT"
        failed = controller.run("migrate", "-l", "production", **psql(stack, url_of(production), statement))
        assert not failed.ok
        assert "contains null values" in failed.message
        assert re.search(r"The schema is as it was \(fingerprint [0-9a-f]+ before and after\)", failed.message)
        assert failed.result()["schema_unchanged"] is True
        assert production.dump() == whole

    def test_a_runner_that_says_it_succeeded_is_not_believed(
        self, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        liar = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM users) THEN CREATE TABLE promised (id int); END IF; END $$"
        failed = controller.run("migrate", "-l", "production", **psql(stack, url_of(production), liar))
        assert not failed.ok
        assert "ended without an error" in failed.message and "table public.promised" in failed.message
        assert production.tables() == BEFORE

    def test_a_runner_that_swallows_an_error_and_does_nothing_has_failed(
        self, v2: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        """It says that all is well, and its exit status too."""
        script = 'echo "$1" | psql --no-psqlrc --quiet "$0"; echo all migrations applied'
        statements = "BEGIN; ALTER TABLE users ADD COLUMN never_there int; ALTER TABLE no_such_table ADD COLUMN x int; COMMIT;"
        variables = {"dbops_migrate_image": stack.postgres_image, "dbops_runner": ["sh", "-c", script, url_of(production), statements]}
        before = stack.everything()
        for arguments in (["--check"], []):
            done = controller.run("migrate", "-l", "production", *arguments, **variables)
            assert not done.ok
            assert "ends without an error, but does nothing" in done.message
            assert 'ALTER TABLE no_such_table ADD COLUMN x int\': relation "no_such_table" does not exist' in done.message.replace(";", "")
            assert "Nothing to migrate" not in done.output
        assert {**stack.everything(), "files": before["files"]} == before

        harmless = "SELECT version FROM not_there; CREATE TABLE users (id int);"
        variables["dbops_runner"][-1] = harmless
        asked = controller.run("migrate", "-l", "production", "--check", "--diff", **variables)
        assert asked.ok, asked.output
        assert "Nothing to migrate" in asked.summary
        assert [failed["caught"] for failed in asked.result()["plan"]["failed"]] == [True, True]

    def test_what_only_the_real_rows_make_the_server_refuse_is_told(
        self, v1: None, controller: Controller, stack: Stack, production: Server
    ) -> None:
        """The sandbox has no rows, so the plan cannot know; the program goes on, and somebody else's errors are not its own."""
        script = 'echo "$1" | psql --no-psqlrc --quiet "$0"; echo all is well'
        statements = (
            "CREATE TABLE notes (id int); DO $$ BEGIN IF EXISTS (SELECT FROM users) THEN INSERT INTO users (id) SELECT id FROM users;"
            " END IF; END $$;"
        )
        variables = {"dbops_migrate_image": stack.postgres_image, "dbops_runner": ["sh", "-c", script, url_of(production), statements]}
        with Reader(production, "users; INSERT INTO users (id) VALUES (NULL)"):
            done = controller.run("migrate", "-l", "production", **variables)
        assert done.ok, done.output
        [refused] = done.result()["refused"]
        assert refused["sql"].startswith("DO $$ BEGIN IF EXISTS") and "null value" in refused["error"]
        [warning] = [text for text in done.result()["warnings"] if "the server refused" in text]
        assert "while it ran on database 'chat'" in warning
        assert "not known" not in done.summary

        production.do("ALTER SYSTEM SET log_line_prefix = '%t '", "SELECT pg_reload_conf()", database="postgres")
        try:
            variables["dbops_runner"][-1] = "CREATE TABLE more_notes (id int)"
            done = controller.run("migrate", "-l", "production", **variables)
        finally:
            production.do("ALTER SYSTEM RESET log_line_prefix", "SELECT pg_reload_conf()", database="postgres")
        assert done.ok, done.output
        assert "Whether the server refused something of it meanwhile is not known: log_line_prefix has no %p." in done.summary


class TestLocks:
    """DDL does not make everybody wait behind a long reader; one operation at a time."""

    def test_a_migration_is_tried_again_until_the_reader_is_done(self, v1: None, controller: Controller, production: Server) -> None:
        limits = {"dbops_migrate_lock_timeout": 0.3, "dbops_migrate_lock_retries": 50, "dbops_migrate_lock_pause": 0.3}
        with holding(production, "SELECT 1 FROM users LIMIT 1") as let_go, Reader(production, "users") as reader:
            migrating = controller.start("migrate", "-l", "production", **limits)
            wait_until(lambda: migrations_waiting(production))
            wait_until(lambda: not migrations_waiting(production))
            let_go()
            done = migrating.wait()
        assert done.ok, done.output
        assert production.tables() == AFTER
        assert reader.longest < 1.5
        assert any("Attempt 1 gave up" in warning and APPLICATION in warning for warning in done.result()["warnings"])

    @pytest.mark.long
    def test_another_operation_is_refused_and_told_who_is_at_work(self, v1: None, controller: Controller, production: Server) -> None:
        with holding(production, "SELECT 1 FROM users LIMIT 1") as let_go:
            migrating = controller.start("migrate", "-l", "production", env={"USER": "alice"}, dbops_migrate_lock_timeout=60)
            wait_until(lambda: waiting_for_locks(production))
            refused = controller.run("seed", "-l", "production", dbops_confirm="seed:chat")
            unaffected = controller.run("backup", "-l", "preview")
            checked = controller.run("seed", "-l", "production", "--check")
            let_go()
            assert migrating.wait().ok
        assert not refused.ok
        assert re.search(r"'chat' is busy: migrate by alice from \S+, since 2\S+Z, phase 'migrate: run'", refused.message)
        assert unaffected.ok, unaffected.output
        assert checked.ok, checked.output

    @pytest.mark.long
    def test_an_operation_waits_when_it_is_told_to(self, v1: None, controller: Controller, production: Server) -> None:
        with holding(production, "SELECT 1 FROM users LIMIT 1") as let_go:
            migrating = controller.start("migrate", "-l", "production", dbops_migrate_lock_timeout=60)
            wait_until(lambda: waiting_for_locks(production))
            waiting = controller.start("backup", "-l", "production", dbops_lock_wait=60)
            wait_until(lambda: production.value("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'dbops backup %%'"))
            let_go()
            assert migrating.wait().ok
            assert waiting.wait().ok


class TestKilled:
    """S8: after a run that was killed, the next one finishes the clean-up."""

    def test_a_backup_that_is_killed_is_no_backup_and_is_cleaned_up(
        self, v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand
    ) -> None:
        whole = controller.run("backup", "-l", "production").result()["backup"]["id"]
        with holding(production, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
            backing_up = controller.start("backup", "-l", "production")
            wait_until(lambda: any(query.startswith("LOCK TABLE") for query in waiting_for_locks(production)))
            hand.kill_modules()
            assert not backing_up.wait().ok
        assert stack.backups(production) == [whole]
        left = [name for name in stack.backup_files(production) if name.startswith(".dbops-")]
        assert left != []

        done = controller.run("backup", "-l", "production")
        assert done.ok, done.output
        assert any("Clean-up after an interrupted run" in warning for warning in done.result()["warnings"])
        assert stack.backups(production) == [whole, done.result()["backup"]["id"]]
        assert [name for name in stack.backup_files(production) if name.startswith(".dbops-")] == []
        assert stack.leftovers() == []

    def test_a_backup_that_is_interrupted_at_the_keyboard_says_so_in_the_journal(
        self, v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand
    ) -> None:
        """Ctrl-C reaches the module itself where Ansible works without SSH; a second one must not break the clean-up."""
        with holding(production, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
            backing_up = controller.start("backup", "-l", "production")
            wait_until(lambda: any(query.startswith("LOCK TABLE") for query in waiting_for_locks(production)))
            modules = " ".join(hand.modules())
            hand.do(f"kill -INT {modules}; sleep 0.1; kill -INT {modules} 2>/dev/null || true")
            stopped = backing_up.wait()
        assert not stopped.ok and "Interrupted by signal 2" in stopped.message
        assert journal(stack, production)[-1]["message"] == stopped.message
        assert left_behind(stack) == [] and stack.backups(production) == []

    @pytest.mark.long
    def test_a_migration_that_is_killed_frees_the_database(
        self, v1: None, controller: Controller, stack: Stack, production: Server, hand: Hand
    ) -> None:
        with holding(production, "SELECT 1 FROM users LIMIT 1"):
            migrating = controller.start("migrate", "-l", "production", dbops_migrate_lock_timeout=60)
            wait_until(lambda: waiting_for_locks(production), 60)
            hand.kill_modules()
            assert not migrating.wait().ok
        done = controller.run("migrate", "-l", "production", dbops_lock_wait=10)
        assert done.ok, done.output
        assert production.tables() == AFTER
        assert stack.leftovers() == []


def migrations_waiting(server: Server) -> list[str]:
    return [query for query in waiting_for_locks(server) if query.startswith(("ALTER", "CREATE"))]
