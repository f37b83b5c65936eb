# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look: what is really the matter is found and nothing else, what is down is a line of the table, and nothing is changed."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from playwright.sync_api import Browser

from browser import look_at
from controller import MOST_REMOTE_TASKS, Controller, Run
from faults import Hand, at_the_end_of
from stack import Server, Stack, command, wait_until
from traffic import APPLICATION, holding

#: A terminal's size in which the table has to be readable.
COLUMNS, LINES = 120, 60

#: Run on the target: make a backup look as if it had been made days ago, by a database of another size.
_AGE = """
import hashlib, json, os, sys, datetime
folder, days, shrink = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
path = os.path.join(folder, "manifest.json")
with open(path) as stream:
    data = json.load(stream)
data.pop("seal")
made = datetime.datetime.strptime(data["created"], "%Y-%m-%dT%H:%M:%SZ") - datetime.timedelta(days=days)
data["created"] = made.strftime("%Y-%m-%dT%H:%M:%SZ")
data["database_size"] -= shrink
data["seal"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
with open(path, "w") as stream:
    json.dump(data, stream)
"""

HOSTILE = 'it\'s "<b>" -ü- データ'


def described(stack: Stack, server: Server, **changes: Any) -> dict[str, Any]:
    """A database as an inventory describes it."""
    return {
        "dbops_container": server.name,
        "dbops_database": server.database,
        "dbops_environment": server.environment,
        "dbops_backends": [backend.name for backend in server.backends],
        "dbops_server_id": server.identifier,
        "dbops_backup_dir": server.backups,
        **changes,
    }


def inventory(stack: Stack, controller: Controller, hosts: dict[str, dict[str, Any]]) -> Path:
    """Like the stack's own, with other hosts."""
    shared = yaml.safe_load((stack.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]["vars"]
    path = controller.home / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"vars": shared, "hosts": hosts}}, allow_unicode=True), encoding="utf-8")
    return path


def state_of(run: Run, host: str) -> dict[str, Any]:
    return run.result(host)["state"]


def findings(run: Run, host: str) -> dict[str, tuple[str, str, str]]:
    """By check: light, sentence and command of its first finding."""
    return {item["check"]: (item["light"], item["sentence"], item["command"]) for item in reversed(run.result(host)["findings"])}


def shown(run: Run) -> list[str]:
    """What a person sees of the table and of what stands below it, without what Ansible puts before and after."""
    [text] = re.findall(r"^ +msg: \|-\n((?: {4,}.*\n|\n)+)", run.output.split("Show the table")[1], re.MULTILINE)
    return text.splitlines()


def table(run: Run) -> list[str]:
    lines = shown(run)
    return lines[2 : lines.index("", 2)]


@contextlib.contextmanager
def stopped(name: str) -> Iterator[None]:
    command("docker", "stop", "--time", "2", name)
    try:
        yield
    finally:
        command("docker", "start", name)


def ready(server: Server) -> None:
    def answers() -> bool:
        try:
            return bool(server.value("SELECT 1"))
        except psycopg2.OperationalError:
            return False

    wait_until(answers)


# --- a database that is well ----------------------------------------------------------------------------------------------


class TestWell:
    @pytest.mark.core
    def test_nothing_is_the_matter_and_nothing_is_written(self, v2: None, controller: Controller, stack: Stack) -> None:
        for host in ("production", "preview"):
            assert controller.run("backup", "-l", host).ok
            assert controller.run("migrate", "-l", host).ok
        before = stack.everything()
        looked = controller.run("status", dbops_status_fail_on="yellow")
        assert looked.ok, looked.output
        assert [item for host in ("chat-production", "chat-preview") for item in looked.result(host)["findings"]] == []
        state = state_of(looked, "chat-production")
        assert state["pending"] == {"state": "none", "source": "journal", "statements": 0, "trouble": ""}
        assert state["last_migration"]["operator"] == "tester" and state["last_migration"]["image"].endswith(":v2")
        assert (state["backups"]["count"], state["backups"]["growth"], state["backups"]["offsite"]) == (1, None, "")
        assert state["backends"][0]["status"] == "running"
        assert state["size"] > 10**6 and state["uptime"] > 0 and state["free"] > 0 and state["schema"]
        assert looked.remote_tasks <= MOST_REMOTE_TASKS
        assert len([task for task in looked.tasks if task.action.startswith("dbops.postgres.")]) == 2
        assert [line.split()[0] for line in table(looked)] == ["STATUS", "green", "green"]
        assert stack.everything() == before

    def test_a_pending_migration_is_planned_and_check_mode_is_the_same(self, v1: None, controller: Controller, stack: Stack) -> None:
        before = stack.everything()
        looked = controller.run("status", "-l", "preview", dbops_status_backup_hours=0)
        checked = controller.run("status", "-l", "preview", "--check", dbops_status_backup_hours=0)
        for run in (looked, checked):
            assert run.ok, run.output
            light, sentence, line = findings(run, "chat-preview")["migration"]
            assert (light, line) == ("yellow", "ansible-playbook migrate.yml -l chat-preview --check --diff")
            assert "3 statements" in sentence
        assert stack.everything() == before
        assert stack.leftovers() == []


# --- what is the matter ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def neglected(server: Server) -> Iterator[None]:
    """A database in which much is the matter, until the block ends."""
    server.do(
        "CREATE TABLE heap WITH (autovacuum_enabled = false) AS SELECT generate_series(1, 1000) AS n",
        "CREATE TABLE tickets (id serial)",
        "SELECT setval('tickets_id_seq', 2000000000)",
    )
    with contextlib.suppress(psycopg2.Error):
        server.do('CREATE UNIQUE INDEX CONCURRENTLY "it\'s broken" ON heap ((n % 2))')
    server.do("DELETE FROM heap WHERE n > 100")
    server.do("SELECT pg_create_physical_replication_slot('nobody', true)", "SELECT pg_switch_wal()", database="postgres")
    server.do(
        f"ALTER DATABASE {server.database} CONNECTION LIMIT 2",
        f'CREATE DATABASE "{server.database}_next_20200101T000000_abcdef"',
        f'CREATE DATABASE "{server.database}_before_restore_20200101T000000"',
        f"ALTER DATABASE \"{server.database}_before_restore_20200101T000000\" SET dbops.kept = '%s'"
        % json.dumps({"of": server.database, "at": "2020-01-01T00:00:00Z", "by": "restore", "run_id": "20200101T000000_abcdef"}),
        database="postgres",
    )
    if server.value("SELECT 1 FROM pg_attribute WHERE attrelid = 'pg_database'::regclass AND attname = 'datcollversion'"):
        server.do(f"UPDATE pg_database SET datcollversion = '1.0' WHERE datname = '{server.database}'", database="postgres")
    server.mark("staging")
    wait_until(lambda: (server.value("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'heap'") or 0) > 800)
    try:
        yield
    finally:
        server.do("SELECT pg_drop_replication_slot('nobody')", database="postgres")


@contextlib.contextmanager
def waiting(server: Server, statement: str) -> Iterator[None]:
    """A session that waits for a lock."""
    connection = server.connect()

    def wait() -> None:
        with contextlib.suppress(psycopg2.Error), connection.cursor() as cursor:
            cursor.execute(statement)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        connection.cancel()
        thread.join(timeout=30)
        connection.close()


class TestFound:
    """Each made for real, all at once: each is found, with its command, and none hides another."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, stack: Stack, controller_home: Path) -> Iterator[Run]:
        stack.fill("v2")
        server = stack.production
        made = Controller(controller_home / "found", stack.inventory)
        made.home.mkdir()
        for _backup in range(2):
            assert made.run("backup", "-l", "production").ok
        older, newer = stack.backups(server)
        stack.as_deploy(f"python3 -c '{_AGE}' {server.backups}/{older} 13 2000000; python3 -c '{_AGE}' {server.backups}/{newer} 3 0")
        stack.as_deploy(f"mkdir {server.backups}/by_hand && touch {server.backups}/by_hand/manifest.json")
        with contextlib.ExitStack() as conditions:
            for condition in (
                neglected(server),
                stopped(server.backends[0].name),
                holding(server, "LOCK TABLE rooms"),
                waiting(server, "SELECT count(*) FROM rooms"),
            ):
                conditions.enter_context(condition)
            since = server.value("SELECT now()", database="postgres")
            wait_until(lambda: server.value("SELECT now() > %s + interval '6 s'", since, database="postgres"))
            before = stack.files()
            run = made.run("status", "-l", "production", dbops_status_transaction_seconds=5)
            assert stack.files() == before
        yield run
        made.close()
        stack.fill("v2")

    @pytest.mark.parametrize(
        ("check", "light", "words", "typed"),
        [
            ("environment", "red", "the database is marked 'staging'", "ansible-playbook enroll.yml -l chat-production --check"),
            ("slots", "yellow", "'nobody' holds ", "pg_drop_replication_slot"),
            ("connections", "red", "2 of 2 connections of the database", "pg_stat_activity"),
            ("backends", "red", "is exited, not running", "docker start "),
            ("sequences", "yellow", "public.tickets_id_seq has used 93 % of its 2147483647", ""),
            ("backups", "red", ", is 3 d ", "ansible-playbook backup.yml -l chat-production"),
            ("locks", "yellow", "1 session waits for a lock", "pg_terminate_backend"),
            ("transactions", "yellow", f"'{APPLICATION}' of user 'postgres', idle in transaction", "pg_terminate_backend"),
            ("migration", "yellow", "", "ansible-playbook migrate.yml"),
            ("indexes", "yellow", 'public."it\'s broken" is invalid', "REINDEX INDEX CONCURRENTLY"),
            ("vacuum", "yellow", "public.heap has 900 dead rows", "VACUUM (ANALYZE) public.heap"),
            ("leftovers", "yellow", "chat_next_20200101T000000_abcdef", "ansible-playbook backup.yml"),
        ],
    )
    def test_what_is_the_matter_is_found_with_what_to_type(self, run: Run, check: str, light: str, words: str, typed: str) -> None:
        found = findings(run, "chat-production")
        assert check in found, run.output
        assert (found[check][0] == light, words in found[check][1], typed in found[check][2]) == (True, True, True), found[check]

    def test_nothing_else_is_found(self, run: Run) -> None:
        known = {"environment", "slots", "connections", "backends", "sequences", "backups", "locks", "transactions", "migration"}
        assert set(findings(run, "chat-production")) - {"disk", "schema"} <= known | {"indexes", "vacuum", "leftovers", "collation"}

    def test_collation(self, run: Run, stack: Stack) -> None:
        assert ("collation" in findings(run, "chat-production")) == (stack.major >= 15)

    def test_what_is_no_fault_is_told(self, run: Run) -> None:
        state = state_of(run, "chat-production")
        assert [item["name"] for item in state["kept"]] == ["chat_before_restore_20200101T000000"]
        assert 190_000 < state["backups"]["growth"] < 210_000 and state["days_left"] > 0
        assert state["backups"]["unreadable"] == ["by_hand"]

    def test_the_run_fails_and_says_which_host(self, run: Run) -> None:
        assert run.code == 2
        assert "Not well: chat-production (1 database: 1 red)." in run.text

    def test_the_commands_stand_in_the_output_in_one_piece(self, run: Run) -> None:
        lines = [line.strip() for line in shown(run)]
        for _light, _sentence, typed in findings(run, "chat-production").values():
            assert not typed or f"$ {typed}" in lines


def test_a_running_operation_is_told_with_its_phase(v2: None, controller: Controller, hand: Hand, stack: Stack, preview: Server) -> None:
    backing_up = controller.start("backup", "-l", "preview")
    with at_the_end_of(hand, preview, "backup", "backup: dump") as caught:
        looked = controller.run("status", "-l", "preview", dbops_status_plan="never")
        running = state_of(looked, "chat-preview")["running"]
        assert (running["operation"], running["phase"], running["run_id"]) == ("backup", "backup: dump", caught.run_id)
        assert "backup by tester" in looked.output
    assert backing_up.wait().ok


def test_a_database_that_a_dead_run_has_blocked_is_red(v2: None, controller: Controller, preview: Server) -> None:
    preview.do(
        f"ALTER DATABASE {preview.database} SET dbops.swapping = '20200101T000000_abcdef'",
        f"ALTER DATABASE {preview.database} ALLOW_CONNECTIONS false",
        database="postgres",
    )
    looked = controller.run("status", "-l", "preview")
    assert findings(looked, "chat-preview")["swap"][0] == "red"
    assert looked.code == 2


def test_a_lock_that_nobody_may_pass_does_not_hold_up_the_look(v1: None, controller: Controller, production: Server) -> None:
    with holding(production, "LOCK TABLE rooms"):
        looked = controller.run("status", "-l", "production", dbops_status_plan="always", dbops_status_fail_on="never")
    assert looked.ok, looked.output
    assert "lock timeout" in findings(looked, "chat-production")["migration"][1]
    assert state_of(looked, "chat-production")["sequences"]


# --- what cannot be reached -----------------------------------------------------------------------------------------------


class TestUnreachable:
    """Every one of them in the same run, and each is a red line with its reason; those that can be reached are told as ever."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, stack: Stack, controller_home: Path) -> Iterator[Run]:
        stack.fill("v2")
        made = Controller(controller_home / "unreachable", stack.inventory)
        made.home.mkdir()
        production, preview = stack.servers
        hosts = {
            "well": described(stack, production),
            "stopped": described(stack, preview),
            "no-engine": described(stack, production, dbops_docker_host="unix:///nowhere/docker.sock"),
            "no-container": described(stack, production, dbops_container="chat-postgres-prd"),
            "no-database": described(stack, production, dbops_database=HOSTILE),
            "wrong-password": described(stack, production, dbops_password="wrong-word"),
            "wrong-port": described(stack, production, dbops_port=5999),
            "wrong-variable": described(stack, production, dbops_port="five"),
            "no-name": described(stack, production, dbops_container=""),
            "relative-folder": described(stack, production, dbops_backup_dir="backups"),
            "unreachable": described(stack, production, ansible_port=1),
            "other-server": described(stack, production, dbops_server_id="42"),
            "データベース": described(stack, production, dbops_container="データ"),
        }
        page = made.home / "page.html"
        with stopped(preview.name):
            run = made.run(
                "status",
                "--forks=13",
                inventory=inventory(stack, made, hosts),
                dbops_status_plan="never",
                dbops_status_backup_hours=0,
                dbops_status_html=str(page),
            )
        ready(preview)
        yield run
        made.close()

    @pytest.mark.parametrize(
        ("host", "words", "typed"),
        [
            ("stopped", "is exited, not running", "docker start "),
            ("no-engine", "The Docker engine does not answer", "systemctl start docker"),
            ("no-container", "There is no container 'chat-postgres-prd' on this host.", "docker ps --all"),
            ("no-database", f"There is no database '{HOSTILE}' on this server. Databases here: chat", "psql -U postgres -l"),
            ("wrong-password", "dbops_password (or the container's POSTGRES_PASSWORD", "docker logs --tail 50 "),
            ("wrong-port", "check that the container runs and dbops_port is right", "docker logs --tail 50 "),
            (
                "wrong-variable",
                "It could not be looked at: The variables of host 'wrong-variable' are not right, so nothing was begun: argument",
                "",
            ),
            ("no-name", "It could not be looked at: Host 'no-name' names no container", ""),
            ("relative-folder", "has to be an absolute path", ""),
            ("unreachable", "The host could not be reached:", "ansible unreachable -m ansible.builtin.ping"),
            ("other-server", "The inventory pins server 42", ""),
            ("データベース", "There is no container 'データ'", "docker ps --all"),
        ],
    )
    def test_it_is_a_red_line_with_the_reason(self, run: Run, host: str, words: str, typed: str) -> None:
        [line] = [line for line in table(run) if line.split()[1] == host]
        assert line.split()[0] == "RED"
        below = "\n".join(shown(run)).split(f"{host}: red\n")[1].split("\n\n")[0]
        assert words in " ".join(below.split())
        assert typed in below

    def test_no_secret_is_in_what_is_shown(self, run: Run, stack: Stack) -> None:
        assert "wrong-word" not in run.output
        assert stack.production.env["POSTGRES_PASSWORD"] not in run.output

    def test_those_that_can_be_reached_are_told_as_ever(self, run: Run) -> None:
        assert run.result("well")["findings"] == []
        assert table(run)[-1].split()[:2] == ["green", "well"]
        assert run.code == 2
        assert re.search(r"Not well: [^(]*\bwrong-port\b[^(]* \(13 databases: 12 red, 1 green\)\.", run.text)

    def test_there_is_no_traceback(self, run: Run) -> None:
        assert "Traceback" not in run.output

    def test_the_page_shows_all_of_them(self, run: Run, browser: Browser, controller_home: Path) -> None:
        seen = look_at(browser, controller_home / "unreachable" / "page.html")
        assert seen.hosts == [line.split()[1] for line in table(run)[1:]]


def test_a_run_without_any_host_that_can_be_reached_still_shows_the_table(controller: Controller, stack: Stack, production: Server) -> None:
    hosts = {name: described(stack, production, ansible_port=1) for name in ("a", "b")}
    run = controller.run("status", inventory=inventory(stack, controller, hosts))
    assert [line.split()[:2] for line in table(run)[1:]] == [["RED", "a"], ["RED", "b"]]
    assert run.code == 2


@pytest.mark.share(1)
@pytest.mark.parametrize(
    ("path", "words"), [("/proc/nowhere/page.html", "could not be written on the controller"), ("missing/page.html", "dbops_status_html")]
)
def test_a_page_that_cannot_be_written_is_a_sentence_and_the_table_is_shown(controller: Controller, path: str, words: str) -> None:
    page = path if path.startswith("/") else str(controller.home / path)
    run = controller.run("status", "-l", "production", dbops_status_html=page, dbops_status_plan="never", dbops_status_fail_on="never")
    assert run.code == 2 and words in run.text and page in run.text
    assert table(run)


def test_tags_that_leave_the_look_out_do_not_pass_for_a_look(controller: Controller) -> None:
    run = controller.run("status", "--tags", "other")
    assert run.code == 2 and "left the operation out" in run.text


# --- the verdict ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_from_which_light_on_a_run_fails_is_what_was_asked_for(v2: None, controller: Controller) -> None:
    """Production has no backup (red), the preview neither (yellow)."""
    codes = {}
    for limit, fail_on in (("all", "never"), ("preview", ""), ("preview", "yellow"), ("production", "red")):
        run = controller.run("status", "-l", limit, dbops_status_plan="never", dbops_status_fail_on=fail_on)
        codes[limit, fail_on] = run.code
    assert codes == {("all", "never"): 0, ("preview", ""): 0, ("preview", "yellow"): 2, ("production", "red"): 2}


@pytest.mark.long
class TestFifty:
    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, stack: Stack, controller_home: Path) -> Iterator[Run]:
        stack.fill("v2")
        made = Controller(controller_home / "fifty", stack.inventory)
        made.home.mkdir()
        for host in ("production", "preview"):
            assert made.run("migrate", "-l", host).ok
        hosts = {f"database-of-customer-{number:02d}": described(stack, stack.servers[number % 2]) for number in range(50)}
        listed = inventory(stack, made, hosts)
        yield made.run("status", "--forks=10", inventory=listed, dbops_status_html=str(made.home / "page.html"))
        made.close()

    def test_the_table_fits_on_a_screen(self, run: Run) -> None:
        lines = table(run)
        assert len(lines) == 51 and len(lines) + 3 <= LINES
        assert max(map(len, shown(run)[: len(lines) + 2])) <= COLUMNS
        assert [line.split()[0] for line in lines] == ["STATUS"] + ["RED"] * 25 + ["yellow"] * 25
        assert "50 databases: 25 red, 25 yellow" in shown(run)[0]

    def test_no_sandbox_was_needed(self, run: Run) -> None:
        assert {task.result["state"]["pending"]["source"] for task in run.of_modules()} == {"journal"}
        assert run.remote_tasks <= MOST_REMOTE_TASKS

    def test_the_page_holds_all_fifty(self, run: Run, browser: Browser, controller_home: Path) -> None:
        seen = look_at(browser, controller_home / "fifty" / "page.html", opened=False)
        assert len(seen.hosts) == 50


# --- the page, in a browser -----------------------------------------------------------------------------------------------


def test_hostile_names_stay_text_in_the_page(controller: Controller, stack: Stack, production: Server, browser: Browser) -> None:
    script = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>" + "x" * 200
    hosts = {"a": described(stack, production, dbops_database=script), "b": described(stack, production, dbops_container=script)}
    page = controller.home / "page.html"
    controller.run("status", inventory=inventory(stack, controller, hosts), dbops_status_html=str(page), dbops_status_plan="never")
    seen = look_at(browser, page)
    assert sorted(seen.hosts) == ["a", "b"]
    assert "<script" not in page.read_text(encoding="utf-8")
