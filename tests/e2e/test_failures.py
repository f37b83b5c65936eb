# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stories from other people's issue threads: "nobody saw it fail", and "the restore says only: censored".

Each failure is made to happen, fails the run, says in PostgreSQL's (or the system's) own words what it was, and leaves the database
and the backups as they were.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from broken import answers
from controller import Controller, Run, Started
from faults import Eye, Hand, damaged_backups, journal, left_behind, stop_in
from stack import Server, Stack, as_root, command, wait_until
from traffic import holding, waiting_for_locks

#: A run, and what ends its waiting.
Waiting = tuple[Started, Callable[[], None]]

RESTORE = {"dbops_confirm": "restore:chat"}

#: Rows that no compression makes smaller, about 1 kB each.
RANDOM = "SELECT id, string_agg(md5(random()::text || id), '') AS text FROM generate_series(1, %d) id, generate_series(1, 32) GROUP BY id"


def assert_no_backup(failed: Run, stack: Stack, server: Server, *words: str, kept: list[str] | None = None) -> None:
    """The run failed and says why; nothing has the name of a backup but those from before, and nothing else is left."""
    assert not failed.ok, failed.output
    assert [word for word in words if word not in failed.message] == [], failed.message
    assert stack.backups(server) == (kept or [])
    assert left_behind(stack) == []
    last = journal(stack, server)[-1]
    assert (last["result"], last["message"]) == ("failed", failed.message)


def one_shot(server: Server, purpose: str) -> str:
    """The name of the container that runs a program for this server's database now, empty where none does: other stacks have theirs."""
    ours = f"label=dbops.target={server.identifier}/{server.database}"
    name = f"name=^dbops-[0-9a-fT_]*-{purpose}$"
    return command("docker", "ps", "--filter", ours, "--filter", name, "--format", "{{.Names}}").stdout.strip()


class TestTheDiskIsFull:
    """S3: what does not fit leaves nothing that looks like a backup."""

    @pytest.fixture
    def small(self, v2: None, stack: Stack, production: Server) -> Iterator[str]:
        """The backup folder of production on a volume of its own, of 24 MB."""
        stack.as_deploy(f"mkdir -m 0700 {production.backups}")
        as_root(
            "mount", "-t", "tmpfs", "-o", "size=24m,mode=0700,uid=" + stack.as_deploy("id -u").stdout.strip(), "tmpfs", production.backups
        )
        try:
            yield production.backups
        finally:
            as_root("umount", production.backups)

    def test_while_the_dump_is_written(self, small: str, controller: Controller, stack: Stack, production: Server) -> None:
        """The estimate is wrong, since what came since the last backup cannot be compressed."""
        production.do("CREATE TABLE large AS SELECT id, repeat('x', 1000) AS text FROM generate_series(1, 4000) id")
        assert controller.run("backup", "-l", "production").ok
        [whole] = stack.backups(production)
        production.do("DROP TABLE large", "CREATE TABLE large AS " + RANDOM % 60000)
        failed = controller.run("backup", "-l", "production")
        assert not failed.ok
        assert "No space left on device" in failed.message
        assert stack.backups(production) == [whole]
        assert damaged_backups(stack, production) == []
        assert left_behind(stack) == []

        production.do("DROP TABLE large")
        done = controller.run("backup", "-l", "production")
        assert done.ok, done.output
        assert damaged_backups(stack, production) == []

    @pytest.mark.long
    def test_when_the_dump_is_complete_and_the_manifest_is_not(
        self, small: str, controller: Controller, stack: Stack, production: Server, hand: Hand
    ) -> None:
        production.do("CREATE TABLE large AS " + RANDOM % 3000)
        backing_up = controller.start("backup", "-l", "production")
        caught = stop_in(hand, production, "backup", "backup: verify")
        assert caught
        stack.as_deploy(f"dd if=/dev/zero of={small}/ballast bs=1M 2>/dev/null || true")
        caught.go_on()
        failed = backing_up.wait()
        assert not failed.ok
        assert "No space left on device" in failed.message
        assert stack.backups(production) == []
        assert left_behind(stack) == []

        stack.as_deploy(f"rm {small}/ballast")
        assert controller.run("backup", "-l", "production").ok
        assert len(stack.backups(production)) == 1

    def test_in_the_volume_of_the_server_during_a_restore(self, v2: None, controller: Controller, stack: Stack, production: Server) -> None:
        """The database lies in a tablespace on a small volume, which has room for it but not for a second copy."""
        production.do("CREATE TABLE large AS " + RANDOM % 24000)
        production.exec("install", "-d", "-m", "0700", "-o", "postgres", "/dev/shm/small")
        try:
            production.do(
                "CREATE TABLESPACE small LOCATION '/dev/shm/small'",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chat'",
                database="postgres",
            )
            move = functools.partial(production.do, "ALTER DATABASE chat WITH TABLESPACE small", database="postgres")
            wait_until(lambda: succeeds(move, production))
            assert controller.run("backup", "-l", "production").ok
            failed = controller.run("restore", "-l", "production", dbops_restore_backup="latest", **RESTORE)
            assert_untouched(failed, "No space left on device")
            assert left_behind(stack) == []
            assert production.tables()["large"] == 24000
        finally:
            stack.fill("v2")
            production.do("DROP TABLESPACE IF EXISTS small", database="postgres")
            production.exec("rm", "-rf", "/dev/shm/small")


def succeeds(action: Callable[[], None], server: Server) -> bool:
    """Whether it does now; sessions in the database, which may hinder it, are ended meanwhile."""
    try:
        action()
    except psycopg2.Error:
        server.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chat'", database="postgres")
        return False
    return True


class TestTheDumpDies:
    """S3: whatever ends a dump, and whenever, there is no backup and the run has failed."""

    @pytest.fixture
    def large(self, v2: None, production: Server) -> None:
        """Some seconds of work for pg_dump."""
        production.do("CREATE TABLE large AS " + RANDOM % 60000)

    @pytest.fixture
    def kept(self, v2: None, controller: Controller, stack: Stack, production: Server) -> list[str]:
        """A backup from before, which has to stay as it is."""
        assert controller.run("backup", "-l", "production").ok
        return stack.backups(production)

    @pytest.mark.long
    def test_before_its_first_byte(self, kept: list[str], controller: Controller, stack: Stack, production: Server) -> None:
        with holding(production, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
            backing_up = controller.start("backup", "-l", "production")
            wait_until(lambda: any(query.startswith("LOCK TABLE") for query in waiting_for_locks(production)))
            command("docker", "kill", one_shot(production, "dump"))
            failed = backing_up.wait()
        assert_no_backup(failed, stack, production, "pg_dump", kept=kept)

    def test_a_lock_does_not_stop_the_estimate(self, v2: None, controller: Controller, production: Server) -> None:
        """How large a database is can be told although a table is locked; the dump is what waits, for a limited time, and shows it."""
        with holding(production, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE") as let_go, Eye(production, "backup") as eye:
            backing_up = controller.start("backup", "-l", "production")
            eye.wait_for("backup: dump", 20)
            let_go()
            assert backing_up.wait().ok

    @pytest.mark.parametrize("size", [1, pytest.param(8_000_000, marks=pytest.mark.long), pytest.param(20_000_000, marks=pytest.mark.long)])
    def test_in_the_middle_of_the_rows(
        self, size: int, large: None, controller: Controller, stack: Stack, production: Server, hand: Hand
    ) -> None:
        written = f"cat {production.backups}/.dbops-*/dump/*.dat* 2>/dev/null | wc -c"
        for _time in range(8):  # the rows may all be there before anybody has looked
            backing_up = controller.start("backup", "-l", "production")
            dumping = wait_until(lambda: one_shot(production, "dump"), 60)  # before the rows: to ask for it takes as long as they do
            hand.do(f"until [ $({written}) -ge {size} ] || ! docker inspect {dumping} >/dev/null 2>&1; do :; done")
            command("docker", "kill", dumping, check=False)
            done = backing_up.wait()
            if not done.ok:
                break
            stack.fill("v2")
            production.do("CREATE TABLE large AS " + RANDOM % 60000)
        assert_no_backup(done, stack, production, "pg_dump")

    @pytest.mark.long
    def test_while_it_is_read_back(self, large: None, controller: Controller, stack: Stack, production: Server, hand: Hand) -> None:
        backing_up = controller.start("backup", "-l", "production")
        with Eye(production, "backup") as eye:
            _pid, _port, card = eye.wait_for("backup: verify")
        hand.do(f"until docker kill dbops-{card['run_id']}-verify; do :; done 2>/dev/null")
        assert_no_backup(backing_up.wait(), stack, production, "pg_restore", "while reading it back")

    def test_by_the_server(self, v2: None, controller: Controller, stack: Stack, production: Server) -> None:
        """What the server said stands on a line of its own in pg_dump's output, after one that says nothing."""
        copying = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name LIKE 'dbops dump %%' AND query LIKE 'COPY public.large %%' AND state = 'active'"
        )
        for _time in range(8):  # the rows may all be there before anybody has looked
            stack.fill("v2")
            production.do("CREATE TABLE large AS " + RANDOM % 60000)
            backing_up = controller.start("backup", "-l", "production")
            name = wait_until(lambda: one_shot(production, "dump"), 60)
            wait_until(lambda: production.rows(copying, database="postgres") or not one_shot(production, "dump"), 60)
            if command("docker", "pause", name, check=False).returncode == 0:
                still = production.rows(copying, database="postgres")
                for (session,) in still:
                    production.value("SELECT pg_terminate_backend(%s)", session, database="postgres")
                command("docker", "unpause", name)
                if still:
                    break
            assert backing_up.wait().ok
        else:
            raise AssertionError("the dump was always faster")
        assert_no_backup(backing_up.wait(), stack, production, "pg_dump", "Error message from server: ")

    @pytest.mark.long
    def test_by_the_end_of_its_snapshot(self, kept: list[str], controller: Controller, stack: Stack, production: Server) -> None:
        """The session that exported the snapshot is ended: what is counted by it cannot be compared any more."""
        with holding(production, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE"):
            backing_up = controller.start("backup", "-l", "production")
            ours = "SELECT pid FROM pg_stat_activity WHERE datname = 'chat' AND application_name ~ '^dbops backup [0-9]' AND application_name !~ 'lock'"
            wait_until(lambda: len(waiting_for_locks(production)) >= 2)
            exporting = ours + " AND state = 'idle in transaction' ORDER BY backend_start LIMIT 1"
            [(session,)] = wait_until(lambda: production.rows(exporting, database="postgres"), 60)
            production.value("SELECT pg_terminate_backend(%s)", session, database="postgres")
        assert_no_backup(backing_up.wait(), stack, production, "terminating connection due to administrator command", kept=kept)

    def test_for_want_of_a_right(self, v2: None, controller: Controller, stack: Stack, production: Server) -> None:
        with role(production, "reader", "LOGIN PASSWORD 'reader-secret'"):
            production.do("GRANT EXECUTE ON FUNCTION pg_control_system() TO reader", database="postgres")
            failed = controller.run("backup", "-l", "production", dbops_user="reader", dbops_password="reader-secret")
        assert_no_backup(failed, stack, production, "permission denied for table")
        assert "reader-secret" not in failed.output


class TestTheServerGoes:
    """What an operation stands on goes away under it: the container is named as the cause, and its lock does not stay."""

    @pytest.fixture
    def dumping(self, v2: None, controller: Controller, production: Server) -> Iterator[Waiting]:
        """A backup whose dump waits behind a table lock, and what lets go of that."""
        with holding(production, "LOCK TABLE messages IN ACCESS EXCLUSIVE MODE") as let_go:
            backing_up = controller.start("backup", "-l", "production")
            wait_until(lambda: any(query.startswith("LOCK TABLE") for query in waiting_for_locks(production)))
            yield backing_up, let_go

    def test_killed(self, dumping: Waiting, controller: Controller, stack: Stack, production: Server) -> None:
        backing_up, _let_go = dumping
        with gone(production, "kill", "start"):
            failed = backing_up.wait(120)
        assert_no_backup(failed, stack, production, f"'docker start {production.name}'")
        assert failed.message.startswith(f"Container '{production.name}' has stopped while this ran (exit status 137)"), failed.message
        assert controller.run("backup", "-l", "production").ok

    @pytest.mark.long
    def test_restarted_during_a_restore(self, v2: None, controller: Controller, stack: Stack, production: Server) -> None:
        path = f"{stack.folder}/opt/backups/by_hand.sql"
        edit = "sed '0,/^CREATE TABLE/s//SELECT pg_sleep(60);\\n&/'"
        stack.as_deploy(f"docker exec {production.name} pg_dump -U postgres chat | {edit} > {path}")
        restoring = controller.start("restore", "-l", "production", dbops_restore_backup=path, **RESTORE)
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%%'"
        wait_until(lambda: production.rows(sleeping, database="postgres"), 60)
        with gone(production, "restart"):
            failed = restoring.wait(120)
        assert_untouched(failed, f"ontainer '{production.name}' ")
        assert controller.run("backup", "-l", "production").ok
        assert left_behind(stack) == []

    @pytest.mark.long
    def test_cut_off_from_its_network(self, dumping: Waiting, controller: Controller, stack: Stack, production: Server) -> None:
        """Neither side can tell the other that it is gone: both have to find out, the server to free the lock."""
        backing_up, let_go = dumping
        networks = production.inspect()["NetworkSettings"]["Networks"]
        [(network, place)] = networks.items()
        aliases = [word for alias in place["Aliases"] or [] for word in ("--alias", alias)]
        command("docker", "network", "disconnect", network, production.name)
        time.sleep(30)  # so long the line is watched; if it comes back earlier, all goes on
        command("docker", "network", "connect", *aliases, network, production.name)
        wait_until(lambda: answers(production))
        let_go()
        done = controller.run("backup", "-l", "production", dbops_lock_wait=20)
        assert done.ok, done.output
        assert not backing_up.wait(400).ok
        assert left_behind(stack) == []

    def test_the_work_folder(self, dumping: Waiting, stack: Stack, production: Server, hand: Hand) -> None:
        """Somebody tidies up."""
        backing_up, let_go = dumping
        hand.do(f"rm -r {production.backups}/.dbops-*")
        let_go()
        assert_no_backup(
            backing_up.wait(), stack, production, "was removed while this ran: run this again", f"{production.backups}/.dbops-"
        )


@contextlib.contextmanager
def gone(server: Server, away: str, back: str = "") -> Iterator[None]:
    """Two verbs of `docker container`; afterwards the server answers."""
    command("docker", "container", away, server.name)
    try:
        yield
    finally:
        if back:
            command("docker", "container", back, server.name)
        wait_until(lambda: answers(server), 60)


@contextlib.contextmanager
def role(server: Server, name: str, options: str) -> Iterator[None]:
    server.do(f"CREATE ROLE {name} {options}", database="postgres")
    try:
        yield
    finally:
        server.do(f"DROP OWNED BY {name}", f"DROP ROLE {name}", database="postgres")


class TestTheRunnerDies:
    """S5: a runner that fails in whatever way fails the run, and the database is as it was."""

    def assert_as_before(self, failed: Run, before: dict[str, Any], stack: Stack, *words: str) -> None:
        assert not failed.ok, failed.output
        assert [word for word in words if word not in failed.message] == [], failed.message
        assert len(failed.message) < 4000
        assert stack.production.contents() == before
        assert left_behind(stack) == []

    @pytest.mark.share(2)
    @pytest.mark.parametrize(
        ("runner", "words"),
        [
            (["/app/no-such-program"], ["could not be started", "is that program in the image?"]),
            (["sh", "-c", "exit 137"], ["was killed (exit status 137)"]),
            (["sh", "-c", "printf 'caf\\351 \\000\\001\\377 end of words\\n'; exit 3"], ["failed with exit status 3", "end of words"]),
            (
                ["sh", "-c", "yes 'a line of the runner' | head -c 100000000; echo the last words; exit 1"],
                ["exit status 1", "the last words"],
            ),
            (["sh", "-c", "exit 1"], ["exit status 1", "(nothing)"]),
        ],
        ids=["is missing", "is killed", "prints binary", "prints 100 MB", "says nothing"],
    )
    def test_in_the_sandbox(self, runner: list[str], words: list[str], v1: None, controller: Controller, stack: Stack) -> None:
        before = stack.production.contents()
        shell = {} if runner[0].startswith("/app") else {"dbops_migrate_image": stack.postgres_image}
        failed = controller.run("migrate", "-l", "production", dbops_migrate_runner=runner, **shell)
        self.assert_as_before(failed, before, stack, "The migration would fail", "The database was not touched.", *words)

    @pytest.mark.long
    def test_when_it_hangs(self, v1: None, controller: Controller, stack: Stack) -> None:
        before = stack.production.contents()
        hanging = {"dbops_migrate_image": stack.postgres_image, "dbops_migrate_runner": ["sh", "-c", "echo waiting; sleep 600"]}
        failed = controller.run("migrate", "-l", "production", dbops_migrate_timeout=3, **hanging)
        self.assert_as_before(failed, before, stack, "did not end within 3 s", "dbops_migrate_timeout", "waiting")

    def test_on_the_database_when_its_container_is_killed(self, v1: None, controller: Controller, stack: Stack, production: Server) -> None:
        before = production.contents()
        with holding(production, "SELECT 1 FROM users LIMIT 1"):
            migrating = controller.start("migrate", "-l", "production", dbops_migrate_lock_timeout=60)
            wait_until(lambda: waiting_for_locks(production), 60)
            command("docker", "kill", one_shot(production, "migrate-1"))
            failed = migrating.wait()
        self.assert_as_before(failed, before, stack, "was killed", "The schema is as it was")

    @pytest.mark.long
    def test_on_the_database_when_it_hangs(self, v1: None, controller: Controller, stack: Stack, production: Server) -> None:
        before = production.contents()
        with holding(production, "SELECT 1 FROM users LIMIT 1"):
            failed = controller.run("migrate", "-l", "production", dbops_migrate_lock_timeout=60, dbops_migrate_timeout=5)
        self.assert_as_before(failed, before, stack, "did not end within 5 s", "The schema is as it was")

    @pytest.mark.long
    def test_one_that_talks_without_end_and_succeeds_is_no_failure(self, v1: None, controller: Controller, stack: Stack) -> None:
        talking = {"dbops_migrate_image": stack.postgres_image, "dbops_migrate_runner": ["sh", "-c", "yes talk | head -c 100000000"]}
        done = controller.run("migrate", "-l", "production", **talking)
        assert done.ok, done.output
        assert not done.changed
        assert len(done.output) < 1_000_000


def assert_untouched(failed: Run, *words: str) -> None:
    """A restore that failed: PostgreSQL's own sentence, what became of the live database, and what to do."""
    assert not failed.ok, failed.output
    assert [word for word in words if word not in failed.message] == [], failed.message
    assert "live database is untouched" in failed.message, failed.message


class TestTheRestoreFails:
    """Each failure shows PostgreSQL's own sentence, says that the live database is untouched, and what to do next."""

    @pytest.fixture
    def before(self, v2: None, stack: Stack, production: Server) -> Iterator[dict[str, Any]]:
        """A restore fails in the test; afterwards the server is as it was."""
        contents = production.contents()
        yield contents
        assert production.contents() == contents
        assert left_behind(stack) == []

    def file(self, stack: Stack, production: Server, edit: str = "cat") -> str:
        """A dump made by hand, with something changed in it."""
        path = f"{stack.folder}/opt/backups/by_hand.sql"
        stack.as_deploy(f"docker exec {production.name} pg_dump -U postgres chat | {edit} > {path}")
        return path

    def restore(self, controller: Controller, source: str, **variables: Any) -> Run:
        return controller.run("restore", "-l", "production", dbops_restore_backup=source, **{**RESTORE, **variables})

    def test_1_wrong_password(self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server) -> None:
        failed = self.restore(controller, self.file(stack, production), dbops_password="not-the-password")
        assert_untouched(failed, "password authentication failed for user", "dbops_password")
        assert "not-the-password" not in failed.output

    def test_2_a_file_of_a_newer_server(self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server) -> None:
        newer = self.file(stack, production, "sed 's/^-- Dumped from database version .*/-- Dumped from database version 99.1/'")
        failed = self.restore(controller, newer)
        assert_untouched(failed, "PostgreSQL 99", f"this server is {stack.major}", "Use a server of version 99")

    @pytest.mark.share(1)
    @pytest.mark.parametrize(
        ("edit", "sentence"),
        [
            ("sed '0,/^CREATE TABLE/s//CREATE EXTENSION no_such_extension;\\n&/'", 'extension "no_such_extension" is not available'),
            ("sed 's/OWNER TO postgres/OWNER TO departed/'", "needs roles that this server does not have: departed. Nothing was begun."),
            ("sed 's/^2\\tMessage 2:/1\\tMessage 2:/'", 'could not create unique index "messages_pkey"'),
            ("sed '0,/^CREATE TABLE/s//CREATE TABEL/'", 'syntax error at or near "TABEL"'),
            ("sed 's/^3\\tMessage 3:/three\\tMessage 3:/'", 'invalid input syntax for type bigint: "three"'),
        ],
        ids=["extension", "role", "duplicate", "syntax", "value"],
    )
    def test_3_to_7_what_postgresql_refuses_in_a_file(
        self, edit: str, sentence: str, before: dict[str, Any], controller: Controller, stack: Stack, production: Server
    ) -> None:
        assert_untouched(self.restore(controller, self.file(stack, production, edit)), sentence)

    def test_8_a_role_without_the_rights(self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server) -> None:
        path = self.file(stack, production)
        with role(production, "clerk", "LOGIN PASSWORD 'clerk-secret'"):
            production.do("GRANT EXECUTE ON FUNCTION pg_control_system() TO clerk", database="postgres")
            failed = self.restore(controller, path, dbops_user="clerk", dbops_password="clerk-secret")
        assert_untouched(failed, "permission denied", "superuser")
        assert "clerk-secret" not in failed.output

    @pytest.mark.long
    def test_9_clients_that_do_not_let_go(self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server) -> None:
        """The server cannot drop what was built either while such a client is there: the next run does."""
        path = self.file(stack, production)
        restoring = controller.start(
            *("restore", "-l", "production"),
            **{**RESTORE, "dbops_restore_backup": path, "dbops_restore_session_timeout": 1, "dbops_restore_backup_first": False},
        )
        with stubborn(production):
            failed = restoring.wait(120)
        assert_untouched(failed, "did not end within 1 s", "monthly report", "dbops_restore_session_timeout")
        production.do("SELECT 1")
        assert controller.run("backup", "-l", "production").ok

    def test_10_a_server_without_a_free_connection(
        self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server
    ) -> None:
        path = self.file(stack, production)
        with every_connection(production):
            failed = self.restore(controller, path)
        assert_untouched(failed, "too many clients already", "free connections first")

    def test_11_a_server_that_ends_the_session(
        self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server
    ) -> None:
        path = self.file(stack, production, "sed '0,/^CREATE TABLE/s//SELECT pg_sleep(60);\\n&/'")
        restoring = controller.start("restore", "-l", "production", dbops_restore_backup=path, **RESTORE)
        loading = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'dbops restore %%' AND query LIKE '%%pg_sleep%%' AND pid <> pg_backend_pid()"
        [(session,)] = wait_until(lambda: production.rows(loading, database="postgres"), 60)
        production.value("SELECT pg_terminate_backend(%s)", session, database="postgres")
        assert_untouched(restoring.wait(), "terminating connection due to administrator command")

    @pytest.mark.long
    def test_12_a_loading_program_that_is_killed(
        self, before: dict[str, Any], controller: Controller, stack: Stack, production: Server
    ) -> None:
        path = self.file(stack, production, "sed '0,/^CREATE TABLE/s//SELECT pg_sleep(60);\\n&/'")
        restoring = controller.start("restore", "-l", "production", dbops_restore_backup=path, **RESTORE)
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%%'"
        wait_until(lambda: production.rows(sleeping, database="postgres"), 60)
        command("docker", "kill", one_shot(production, "restore"))
        assert_untouched(restoring.wait(), "exit status 137")


@contextlib.contextmanager
def stubborn(server: Server) -> Iterator[None]:
    """A client's session that cannot be ended, since its process in the server is stopped."""
    with holding(server, "SELECT 1 FROM users LIMIT 1"):
        [(session,)] = server.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'monthly report'", database="postgres")
        server.signal("STOP", session)
        try:
            yield
        finally:
            server.signal("CONT", session)
    wait_until(lambda: not server.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s", session, database="postgres"))


@contextlib.contextmanager
def every_connection(server: Server) -> Iterator[None]:
    """All connections that the server can have, those kept for superusers too."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                held.callback(server.connect("postgres").close)
        yield
    wait_until(lambda: succeeds(lambda: server.do("SELECT 1", database="postgres"), server))
