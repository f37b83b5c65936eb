# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`rehearse.yml`: the real migration on the real rows of a backup, in a server that nobody else sees and of which nothing is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import look_at
from controller import Controller
from faults import Hand, journal, left_behind, stop_in
from runners import psql
from stack import Server, Stack, unused_volumes, wait_until


@pytest.fixture
def proved(v1: None, controller: Controller, stack: Stack, production: Server) -> Iterator[str]:
    """A proved backup of the first version's contents."""
    assert controller.run("backup", "-l", "production").ok
    verified = controller.run("verify_backups", "-l", "production")
    assert verified.ok, verified.output
    yield stack.backups(production)[-1]


def record(stack: Stack, server: Server) -> dict[str, Any]:
    path = f"{server.backups}/rehearsal-{server.database}.json"
    assert stack.as_deploy(f"stat -c %a {path}").stdout.strip() == "600"
    found: dict[str, Any] = json.loads(stack.as_deploy(f"cat {path}").stdout)
    return found


@pytest.mark.core
def test_a_migration_is_rehearsed_measured_and_then_done(
    proved: str, controller: Controller, stack: Stack, production: Server, tmp_path: Path, browser: Browser
) -> None:
    before, looked = production.dump(), stack.everything()
    rehearsed = controller.run("rehearse", "-l", "production", dbops_report_dir=str(tmp_path), dbops_rehearse_smoke=["/app/backend health"])
    assert rehearsed.ok and not rehearsed.changed, rehearsed.output
    result = rehearsed.result()
    rehearsal = result["rehearsal"]
    assert (rehearsal["state"], rehearsal["backup"]) == ("passed", proved)
    assert all(statement["seconds"] >= 0 for statement in result["plan"]["statements"])
    [version] = rehearsal["versions"]
    assert (version["version"], version["state"]) == ("running", "works")
    assert "it is healthy, '/app/backend health' succeeds" in version["evidence"]
    assert rehearsal["wal"] > 0 and rehearsal["size_after"] >= rehearsal["size_before"] > 0
    assert f"Rehearsed on backup '{proved}'" in rehearsed.summary
    assert production.dump() == before and left_behind(stack) == []
    assert {name: found for name, found in stack.everything().items() if name != "files"} == {
        name: found for name, found in looked.items() if name != "files"
    }
    entry = journal(stack, production)[-1]
    assert (entry["operation"], entry["rehearsed"], entry["backup"]) == ("rehearse", "passed", proved)
    assert record(stack, production)["plan_fingerprint"] == result["plan"]["fingerprint"]
    [page] = tmp_path.glob("*-rehearsal.html")
    look_at(browser, page)
    assert "Rehearsal" in page.read_text(encoding="utf-8")

    planned = controller.run("plan", "-l", "production")
    assert planned.ok and planned.result()["plan"]["fingerprint"] == result["plan"]["fingerprint"], planned.output
    assert all(lock["measured"] for lock in planned.result()["risk"]["locks"])

    gates = {"rehearsed": {"hours": 1}, "compatible": {}}
    done = controller.run("migrate", "-l", "production", dbops_migrate_gates=gates)
    assert done.ok and done.changed, done.output
    assert {gate["name"]: gate["state"] for gate in done.result()["gates"]} == {"rehearsed": "passed", "compatible": "passed"}


def test_what_only_some_rows_have_stops_it_there(
    proved: str, controller: Controller, stack: Stack, production: Server, tmp_path: Path, browser: Browser
) -> None:
    variables = psql(stack, production, "ALTER TABLE users ADD CONSTRAINT short CHECK (length(name) < 3)")
    before = production.dump()
    failed = controller.run("rehearse", "-l", "production", dbops_report_dir=str(tmp_path), **variables)
    assert not failed.ok and "Traceback" not in failed.output
    [page] = tmp_path.glob("*-rehearsal.html")
    look_at(browser, page)
    text = page.read_text(encoding="utf-8")
    assert "not passed" in text and "is violated by some row" in text and "nothing to do" not in text
    assert f"The migration fails on the rows of backup '{proved}'" in failed.message
    assert "is violated by some row" in failed.message and "The database itself was not touched" in failed.message
    assert production.dump() == before and left_behind(stack) == []
    assert record(stack, production)["state"] == "failed"
    gates = {"rehearsed": {}, "compatible": {}}
    harmless = psql(stack, production, "CREATE TABLE harmless (id int)")
    refused = controller.run("migrate", "-l", "production", dbops_migrate_gates=gates, **harmless)
    assert not refused.ok and "rehearsed: This migration was not rehearsed" in refused.message
    assert "ansible-playbook rehearse.yml -l chat-production" in refused.message


def test_a_version_that_runs_now_and_does_not_work_afterwards_is_found(
    proved: str, controller: Controller, stack: Stack, production: Server
) -> None:
    variables = {
        **psql(stack, production, "ALTER TABLE users RENAME COLUMN name TO full_name"),
        "dbops_rehearse_smoke": ["/app/backend seed 1"],
        "dbops_rehearse_health_timeout": 3,
    }
    rehearsed = controller.run("rehearse", "-l", "production", **variables)
    assert rehearsed.ok, rehearsed.output
    running = rehearsed.result()["rehearsal"]["versions"][0]
    assert (running["version"], running["state"]) == ("running", "not known"), "the first version has no such seed before either"
    variables["dbops_rehearse_smoke"] = []
    rehearsed = controller.run("rehearse", "-l", "production", **variables)
    assert rehearsed.ok and rehearsed.result()["rehearsal"]["versions"][0]["state"] == "works", "its health check asks no table"
    assert "dbops_rehearse_smoke" not in rehearsed.summary


def test_limits_that_are_passed_fail_it(proved: str, controller: Controller, stack: Stack, production: Server, tmp_path: Path) -> None:
    slow = psql(stack, production, "BEGIN; ALTER TABLE users ADD COLUMN slow int; SELECT pg_sleep(1.5); COMMIT")
    limits = {"dbops_rehearse_max_lock_seconds": 1, "dbops_rehearse_max_seconds": 1, "dbops_rehearse_max_wal": "100"}
    failed = controller.run("rehearse", "-l", "production", dbops_report_dir=str(tmp_path), **slow, **limits)
    assert not failed.ok and "The rehearsal was not passed" in failed.message
    for said in ("dbops_rehearse_max_lock_seconds", "dbops_rehearse_max_seconds", "dbops_rehearse_max_wal"):
        assert said in failed.message
    [lock] = failed.result()["rehearsal"]["locks"]
    assert (lock["table"], lock["lock"]) == ("public.users", "AccessExclusiveLock") and 1.3 < lock["seconds"] < 3
    assert list(tmp_path.glob("*.html")), "the report of what failed is what one wants to read"
    refused = controller.run("migrate", "-l", "production", dbops_migrate_gates={"rehearsed": {}}, **slow)
    assert not refused.ok and "Its rehearsal at" in refused.message and "failed: It took" in refused.message


def test_a_migration_that_never_ends_is_ended_there(proved: str, controller: Controller, stack: Stack, production: Server) -> None:
    endless = psql(stack, production, "CREATE TABLE a (id int); SELECT pg_sleep(600)")
    failed = controller.run("rehearse", "-l", "production", dbops_migrate_timeout=3, **endless)
    assert not failed.ok and "did not end within 3 s and was stopped (dbops_migrate_timeout)" in failed.message
    assert left_behind(stack) == []


def test_nothing_can_be_reached_from_there(proved: str, controller: Controller, stack: Stack, production: Server) -> None:
    """Neither the real server by its address, nor anything outside."""
    url = f"postgresql://postgres@{production.address}:5432/chat?connect_timeout=3"
    runner = ["psql", "--no-psqlrc", "--dbname", url, "--command", "CREATE TABLE reached (id int)"]
    failed = controller.run("rehearse", "-l", "production", dbops_migrate_image=stack.postgres_image, dbops_migrate_runner=runner)
    assert not failed.ok and "failed with exit status 2" in failed.message, failed.output
    assert "reached" not in production.tables()


@pytest.mark.parametrize("phase", ["rehearse: restore", "rehearse: runner"])
def test_killed_in_the_middle_it_leaves_no_trace(
    phase: str, proved: str, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    slow = psql(stack, production, "CREATE TABLE a (id int); SELECT pg_sleep(20)")
    before = production.dump()
    if phase == "rehearse: restore":
        production.make_large(200_000)
        assert controller.run("backup", "-l", "production").ok
        slow["dbops_rehearse_backup"] = stack.backups(production)[-1]
        before = production.dump()
    volumes = unused_volumes()
    started = controller.start("rehearse", "-l", "production", **slow)
    caught = stop_in(hand, production, "rehearse", phase)
    assert caught, f"'{phase}' was missed"
    caught.kill()
    assert not started.wait().ok
    following = controller.run("backup", "-l", "production", dbops_lock_wait=60)
    assert following.ok, following.output
    assert left_behind(stack) == [] and production.dump() == before
    wait_until(lambda: unused_volumes() <= volumes)


def test_without_a_right_backup_it_says_how_to_come_by_one(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    def refused(said: str, **variables: object) -> None:
        failed = controller.run("rehearse", "-l", "production", **variables)
        assert not failed.ok and said in failed.message and "Traceback" not in failed.output, failed.output

    stack.as_deploy(f"rm -rf {production.backups}/*")
    refused("Make one: ansible-playbook backup.yml -l chat-production, then verify_backups.yml -l chat-production")
    assert controller.run("backup", "-l", "production").ok
    [name] = stack.backups(production)
    refused(f"Prove the newest: ansible-playbook verify_backups.yml -l chat-production, or name one: -e dbops_rehearse_backup={name}")
    refused("There is no backup 'yesterday' (dbops_rehearse_backup: proved, or an id)", dbops_rehearse_backup="yesterday")
    refused("dbops_rehearse_memory is a size from 256m on", dbops_rehearse_backup=name, dbops_rehearse_memory="much")
    refused("dbops_rehearse_max_wal is a size", dbops_rehearse_backup=name, dbops_rehearse_max_wal="much")
    refused("in dbops_rehearse_smoke is no command", dbops_rehearse_backup=name, dbops_rehearse_smoke=["'half"])
    refused("Image 'chat-backend:nowhere' could not be pulled", dbops_rehearse_backup=name, dbops_image="chat-backend:nowhere")
    checked = controller.run("rehearse", "-l", "production", "--check", dbops_rehearse_backup=name)
    assert checked.ok and f"Would restore backup '{name}'" in checked.summary, checked.output
    assert f"rehearsal-{production.database}.json" not in "".join(stack.backup_files(production))


def test_the_databases_own_event_triggers_work_there_as_well(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    production.do(
        "CREATE TABLE audit (tag text)",
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.audit VALUES (tg_tag); END $$",
        "CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE FUNCTION note()",
    )
    try:
        assert controller.run("backup", "-l", "production").ok
        rehearsed = controller.run("rehearse", "-l", "production", dbops_rehearse_backup=stack.backups(production)[-1])
        assert rehearsed.ok and rehearsed.result()["rehearsal"]["state"] == "passed", rehearsed.output
    finally:
        production.do("DROP EVENT TRIGGER noting")


def test_a_backup_of_an_older_schema_is_told(proved: str, controller: Controller, production: Server) -> None:
    production.do("CREATE TABLE made_since (id int)")
    rehearsed = controller.run("rehearse", "-l", "production")
    assert rehearsed.ok and any("has another schema than database 'chat' has now" in text for text in rehearsed.result()["warnings"])
