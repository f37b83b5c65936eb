# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The faults of the manual runbook: first its own command does the wrong thing, so the fault is real; then ours does not.

The commands are typed on the server, as the runbook says: `ssh deploy@...`, `cd /opt/chat`.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator

import pytest

from controller import Controller
from stack import Server, Stack, wait_until
from traffic import APPLICATION, Reader, holding, post, waiting_for_locks

COMPOSE = "docker compose -f docker-compose.production.yml exec -T"
CONSENT = {"dbops_confirm": "restore:chat"}
WHOLE = {"messages": 60, "reactions": 20, "rooms": 3, "users": 5}


class Runbook:
    """A shell on the server, in the folder where the runbook's commands are typed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.folder = f"{stack.folder}/opt/chat"
        self.backups = f"{stack.folder}/opt/backups"

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        return self._stack.as_deploy(f"cd {self.folder} && {line.replace('/opt/backups', self.backups)}", check=False)


@pytest.fixture
def runbook(stack: Stack) -> Runbook:
    return Runbook(stack)


@pytest.fixture
def unreadable_table(v2: None, production: Server) -> None:
    """What a damaged disk does: a table whose file is gone, so that any dump fails."""
    production.do("CREATE TABLE damaged AS SELECT generate_series(1, 1000)", "CHECKPOINT")
    path = production.value("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('damaged')")
    production.exec("rm", path)


def test_1_a_dump_restored_onto_the_live_database(v2: None, runbook: Runbook, controller: Controller, production: Server) -> None:
    assert runbook.type(f"{COMPOSE} db pg_dump -U postgres chat > /opt/backups/chat_20250101_030000.sql").returncode == 0
    whole = production.dump()
    production.do("UPDATE messages SET text = 'damaged' WHERE id <= 30", "DELETE FROM reactions")
    restored = runbook.type(f"{COMPOSE} db psql -U postgres chat < /opt/backups/chat_20250101_030000.sql")
    assert restored.returncode == 0, "the runbook's command says that all is well"
    assert production.value("SELECT count(*) FROM messages WHERE text = 'damaged'") == 30, "and nothing was rolled back"

    path = f"{runbook.backups}/chat_20250101_030000.sql"
    done = controller.run("restore", "-l", "production", dbops_restore_backup=path, **CONSENT)
    assert done.ok, done.output
    assert production.dump() == whole


def test_2_a_dump_that_was_cut_off(v2: None, runbook: Runbook, controller: Controller, production: Server) -> None:
    runbook.type(f"{COMPOSE} db pg_dump -U postgres chat > /opt/backups/whole.sql")
    cut = "head -n $(grep -n '^COPY public.messages' /opt/backups/whole.sql | cut -d: -f1 | xargs expr 21 +)"
    assert runbook.type(f"{cut} /opt/backups/whole.sql > /opt/backups/cut.sql").returncode == 0
    production.do("CREATE DATABASE chat_trial", database="postgres")
    strict = "-v ON_ERROR_STOP=1 --single-transaction"
    restored = runbook.type(f"{COMPOSE} db psql -U postgres {strict} chat_trial < /opt/backups/cut.sql")
    assert restored.returncode == 0 and "ERROR" not in restored.stderr
    rows = production.value("SELECT count(*) FROM messages", database="chat_trial")
    assert rows < WHOLE["messages"], "rows are missing, and no option of psql tells"

    before = production.contents()
    refused = controller.run("restore", "-l", "production", dbops_restore_backup=f"{runbook.backups}/cut.sql", **CONSENT)
    assert not refused.ok
    assert "cut off" in refused.message and "-- PostgreSQL database dump complete" in refused.message
    assert production.contents() == before


def test_3_a_dump_that_fails_into_a_file(
    unreadable_table: None, runbook: Runbook, controller: Controller, stack: Stack, production: Server
) -> None:
    failed = runbook.type(f"{COMPOSE} db pg_dump -U postgres chatt > /opt/backups/chat_20250101_030000.sql")
    assert failed.returncode != 0
    left = stack.as_deploy(f"stat -c %s {runbook.backups}/chat_20250101_030000.sql")
    assert left.stdout.strip() == "0", "a file of no bytes has the name of a backup"

    broken = controller.run("backup", "-l", "production")
    assert not broken.ok and "could not open file" in broken.message
    assert stack.backups(production) == []
    assert [name for name in stack.backup_files(production) if name != "journal.jsonl"] == []
    empty = f"{runbook.backups}/chat_20250101_030000.sql"
    refused = controller.run("restore", "-l", "production", dbops_restore_backup=empty, **CONSENT)
    assert not refused.ok and "is empty" in refused.message


def test_4_a_dump_that_fails_into_a_pipe(
    unreadable_table: None, runbook: Runbook, controller: Controller, stack: Stack, production: Server
) -> None:
    piped = runbook.type(f"{COMPOSE} db pg_dump -U postgres chatt | gzip > /opt/backups/chat_20250101_030000.sql.gz")
    assert piped.returncode == 0, "gzip was well"
    path = f"{runbook.backups}/chat_20250101_030000.sql.gz"
    assert stack.as_deploy(f"gzip --test {path} && stat -c %s {path}").stdout.strip() == "20"

    broken = controller.run("backup", "-l", "production")
    assert not broken.ok
    assert stack.backups(production) == []
    before = production.databases()
    refused = controller.run("restore", "-l", "production", dbops_restore_backup=path, **CONSENT)
    assert not refused.ok and path in refused.message
    assert production.databases() == before


@pytest.mark.long
def test_5_a_reset_while_a_backend_is_connected(v2: None, runbook: Runbook, controller: Controller, preview: Server) -> None:
    preview.do("UPDATE rooms SET topic = 'old data'")
    clients = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'chat_preview' AND client_addr IS NOT NULL"
    wait_until(lambda: preview.value(clients, database="postgres") >= 3)
    psql = f"{COMPOSE} db-preview psql -U postgres -c"
    dropped = runbook.type(f"{psql} 'DROP DATABASE IF EXISTS chat_preview;'")
    created = runbook.type(f"{psql} 'CREATE DATABASE chat_preview;'")
    assert "is being accessed by other users" in dropped.stderr and "already exists" in created.stderr
    for step in ("migrate", "seed"):
        assert preview.backends[0].exec("/app/backend", step).returncode == 0
    assert preview.value("SELECT count(*) FROM rooms WHERE topic = 'old data'") == 3, "the seed went onto the old data"

    done = controller.run("preview_reset", "-l", "preview")
    assert done.ok, done.output
    assert preview.tables() == WHOLE
    assert preview.value("SELECT count(*) FROM rooms WHERE topic = 'old data'") == 0


def test_6_listing_a_damaged_dump_proves_nothing(
    v2: None, runbook: Runbook, controller: Controller, stack: Stack, production: Server
) -> None:
    runbook.type(f"{COMPOSE} db pg_dump -U postgres -Fc chat > /opt/backups/whole.dump")
    size = int(stack.as_deploy(f"stat -c %s {runbook.backups}/whole.dump").stdout)
    runbook.type(f"head -c {size - 200} /opt/backups/whole.dump > /opt/backups/cut.dump")
    listed = runbook.type(f"{COMPOSE} db pg_restore --list < /opt/backups/cut.dump")
    assert listed.returncode == 0 and "TABLE DATA public messages" in listed.stdout

    before = production.contents()
    for arguments in (["--check"], []):
        refused = controller.run("restore", "-l", "production", *arguments, dbops_restore_backup=f"{runbook.backups}/cut.dump", **CONSENT)
        assert not refused.ok, refused.output
        assert production.contents() == before
    made = controller.run("backup", "-l", "production").result()["backup"]
    [largest] = stack.as_deploy(f"ls -S {made['path']}/dump/*.dat* | head -n 1").stdout.split()
    stack.as_deploy(f"truncate --size=-1 {largest}")
    refused = controller.run("restore", "-l", "production", "--check", dbops_restore_backup=made["id"])
    assert not refused.ok and largest.rpartition("/")[2] in refused.message


def test_7_one_flipped_bit(v2: None, runbook: Runbook, controller: Controller, stack: Stack, production: Server) -> None:
    flip = "sed -i 's/^1\\tMessage 1:/1\\tMassage 1:/'"
    runbook.type(f"{COMPOSE} db pg_dump -U postgres chat > /opt/backups/whole.sql && {flip} /opt/backups/whole.sql")
    production.do("CREATE DATABASE chat_trial", database="postgres")
    restored = runbook.type(f"{COMPOSE} db psql -U postgres -v ON_ERROR_STOP=1 chat_trial < /opt/backups/whole.sql")
    assert restored.returncode == 0
    assert production.value("SELECT text FROM messages WHERE id = 1", database="chat_trial").startswith("Massage"), "wrong, unseen"

    made = controller.run("backup", "-l", "production").result()["backup"]
    [file] = stack.as_deploy(f"ls -S {made['path']}/dump/*.dat* | head -n 1").stdout.split()
    last = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(-9, 2); b = f.read(1); f.seek(-9, 2); f.write(bytes([b[0] ^ 1]))"
    stack.as_deploy(f'python3 -c "{last}" {file}')
    before = production.contents()
    refused = controller.run("restore", "-l", "production", dbops_restore_backup=made["id"], **CONSENT)
    assert not refused.ok and file.rpartition("/")[2] in refused.message
    assert production.contents() == before


def test_8_tables_that_came_after_the_backup(v2: None, runbook: Runbook, controller: Controller, production: Server) -> None:
    runbook.type(f"{COMPOSE} db pg_dump -U postgres -Fc chat > /opt/backups/whole.dump")
    production.do("CREATE TABLE made_since (id int)")
    clean = "pg_restore -U postgres --clean --single-transaction -d chat"
    assert runbook.type(f"{COMPOSE} db {clean} < /opt/backups/whole.dump").returncode == 0
    assert "made_since" in production.tables(), "the database is not what it was"

    done = controller.run("restore", "-l", "production", dbops_restore_backup=f"{runbook.backups}/whole.dump", **CONSENT)
    assert done.ok, done.output
    assert production.tables() == WHOLE


@pytest.mark.long
def test_9_two_migrations_at_once(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    """Both wait until the other has planned as well, so that it does not depend on luck."""
    with holding(production, "SELECT 1 FROM users LIMIT 1") as let_go:
        both = [migrate_by_hand(production) for _time in range(2)]
        wait_until(lambda: len(waiting_for_locks(production)) == 2)
        let_go()
        codes = sorted(process.wait(timeout=60) for process in both)
    assert codes == [0, 1], "ent takes no lock: one of them fails half-planned"

    stack.fill("v1")
    with holding(production, "SELECT 1 FROM users LIMIT 1") as let_go:
        first = controller.start("migrate", "-l", "production", env={"USER": "alice"}, dbops_migrate_lock_timeout=60)
        wait_until(lambda: waiting_for_locks(production))
        second = controller.run("migrate", "-l", "production", env={"USER": "bob"})
        let_go()
        done = first.wait()
    assert not second.ok
    assert "'chat' is busy: migrate by alice from" in second.message and "since 2" in second.message
    assert done.ok, done.output
    assert controller.run("migrate", "-l", "production").result()["changed"] is False


@pytest.mark.long
def test_10_a_migration_behind_a_long_reader(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    with holding(production, "SELECT 1 FROM users LIMIT 1"):
        process = migrate_by_hand(production)
        wait_until(lambda: waiting_for_locks(production))
        with contextlib.closing(production.connect()) as innocent, innocent.cursor() as cursor:
            cursor.execute("SET statement_timeout = '2s'")
            with pytest.raises(Exception, match="statement timeout"):
                cursor.execute("SELECT count(*) FROM users")
    process.wait(timeout=60)

    stack.fill("v1")
    limits = {"dbops_migrate_lock_timeout": 0.3, "dbops_migrate_lock_retries": 1, "dbops_migrate_lock_pause": 0.3}
    with holding(production, "SELECT 1 FROM users LIMIT 1"), Reader(production, "users") as reader:
        gave_up = controller.run("migrate", "-l", "production", **limits)
    assert not gave_up.ok
    assert APPLICATION in gave_up.message and "schema is as it was" in gave_up.message
    assert reader.reads > 10
    assert reader.longest < 1.5
    assert production.tables() == {"messages": 60, "rooms": 3, "users": 5}
    assert "nickname" not in production.columns("users")


def test_11_the_logs_of_several_previews(v1: None, runbook: Runbook, controller: Controller, stack: Stack, preview: Server) -> None:
    prefix = preview.backends[0].name.removesuffix("feature-login")
    logs = runbook.type(f'docker ps --filter "name={prefix}" --format "{{{{.Names}}}}" | xargs docker logs')
    assert logs.returncode != 0 and "requires 1 argument" in logs.stderr

    complaining = preview.backends[:2]
    with complaints(complaining):
        done = controller.run("migrate", "-l", "preview")
    assert done.ok, done.output
    for backend in preview.backends:
        assert backend.name in done.summary
    for backend in complaining:
        assert any(line.startswith(f"{backend.name}: ") for line in done.result()["backend_errors"])


@contextlib.contextmanager
def complaints(backends: list[object]) -> Iterator[None]:
    """Make backends write error lines to their logs all the while."""
    urls = [f"http://{backend.address}:8080/messages" for backend in backends]
    stop = threading.Event()

    def complain() -> None:
        while not stop.wait(0.1):
            for url in urls:
                post(url, author="nobody of that name")

    thread = threading.Thread(target=complain, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


def migrate_by_hand(server: Server) -> subprocess.Popen[bytes]:
    """What `./scripts/migrate.sh apply` does: the backend's own command, in its container."""
    argv = ["docker", "exec", server.backends[0].name, "/app/backend", "migrate"]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
