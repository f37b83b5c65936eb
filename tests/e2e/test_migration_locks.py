# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks of a migration, bounded: who is in the way beforehand, what it may hold, who waits behind it; and what is looked at afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser import look_at
from controller import Controller
from runners import psql
from stack import Server, Stack
from traffic import APPLICATION, Reader, holding

SLOW = "BEGIN; ALTER TABLE users ADD COLUMN slow int; SELECT pg_sleep(4); COMMIT"


@pytest.mark.core
def test_who_will_not_be_gone_soon_stops_it_before_anything_is_touched(
    v1: None, controller: Controller, stack: Stack, production: Server
) -> None:
    before, backups = production.dump(), stack.backups(production)
    with holding(production, "SELECT 1 FROM users WHERE name = 'a secret' LIMIT 1"):
        time.sleep(1.2)
        refused = controller.run("migrate", "-l", "production", dbops_migrate_blocker_max_age=1)
        checked = controller.run("migrate", "-l", "production", "--check", dbops_migrate_blocker_max_age=1)
        younger = controller.run("migrate", "-l", "production", dbops_migrate_lock_retries=0)
    assert not refused.ok and "its tables are in use by what will not be gone soon" in refused.message, refused.output
    assert "table public.users: a transaction that is" in refused.message and APPLICATION in refused.message
    assert "SELECT pg_terminate_backend(" in refused.message and "-e dbops_migrate_blocker_max_age=0" in refused.message
    assert "a secret" not in refused.output and "name = ?" in refused.message
    assert checked.ok and any("A run would be refused. Refused to migrate" in warning for warning in checked.result()["warnings"])
    assert not younger.ok and "It was stopped because" in younger.message and "a secret" not in younger.output
    assert production.dump() == before
    assert len(stack.backups(production)) == len(backups) + 1, "only the run that went on has made one"


def test_a_dump_stops_it_at_any_age(v1: None, controller: Controller, production: Server) -> None:
    with holding(production, "LOCK TABLE users IN ACCESS SHARE MODE", application="pg_dump"):
        refused = controller.run("migrate", "-l", "production")
    assert not refused.ok and "table public.users: a dump" in refused.message, refused.output
    done = controller.run("migrate", "-l", "production")
    assert done.ok, done.output


@pytest.mark.parametrize("action", ["warn", "end"])
def test_a_lock_that_is_held_too_long_while_others_wait(
    action: str, v1: None, controller: Controller, stack: Stack, production: Server
) -> None:
    slow = psql(stack, production, SLOW)
    limits = {"dbops_migrate_lock_hold_max": 1, "dbops_migrate_lock_hold_action": action}
    with Reader(production, "users") as reader:
        run = controller.run("migrate", "-l", "production", **slow, **limits)
    if action == "end":
        assert not run.ok and "It was ended. It has held a lock for more than" in run.message, run.output
        assert "The schema is as it was" in run.message and "slow" not in production.columns("users")
        assert reader.longest < 3.5
        return
    assert run.ok, run.output
    assert any("It has held a lock for more than" in warning for warning in run.result()["warnings"])
    afterwards = run.result()["afterwards"]
    assert afterwards["queue"]["sessions"] == 1 and 2.5 < afterwards["queue"]["seconds"] < 6
    [lock] = afterwards["locks"]
    assert (lock["table"], lock["lock"]) == ("public.users", "AccessExclusiveLock") and 3 < lock["seconds"] < 6
    assert "Sessions that waited behind it: at most 1 at a time" in run.summary and reader.longest > 3


def test_an_invalid_index_is_named_with_what_removes_it(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    unique = psql(stack, production, "CREATE UNIQUE INDEX CONCURRENTLY once ON messages (room_messages)")
    failed = controller.run("migrate", "-l", "production", dbops_migrate_approval="never", **unique)
    assert not failed.ok and "An index was left invalid" in failed.message, failed.output
    assert "DROP INDEX CONCURRENTLY public.once;" in failed.message
    production.do("DROP INDEX CONCURRENTLY public.once")


def test_afterwards_what_is_left_to_do_is_told_and_what_was_written_anew_is_analyzed(
    v1: None, controller: Controller, stack: Stack, production: Server, tmp_path: Path, browser: Browser
) -> None:
    change = (
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(300); ALTER TABLE messages ADD COLUMN note text DEFAULT md5(random()::text);"
        " ALTER TABLE rooms ADD CONSTRAINT named CHECK (name <> '') NOT VALID"
    )
    report = {"dbops_report_dir": str(tmp_path), "dbops_language": "ja", "dbops_migrate_approval": "never"}
    done = controller.run("migrate", "-l", "production", **psql(stack, production, change), **report)
    assert done.ok, done.output
    afterwards = done.result()["afterwards"]
    assert afterwards["analyzed"] == ["public.messages", "public.users"]
    assert afterwards["unvalidated"] == ["ALTER TABLE public.rooms VALIDATE CONSTRAINT named;"] and afterwards["to_analyze"] == []
    assert "Still to do: ALTER TABLE public.rooms VALIDATE CONSTRAINT named;" in done.summary
    assert "Schema, owners and grants are the planned ones; a second run would change nothing." not in done.summary, "it would fail"
    assert production.value("SELECT count(*) FROM pg_stats WHERE tablename = 'messages' AND attname = 'note'") == 1
    [page] = tmp_path.glob("*.html")
    look_at(browser, page)
    text = page.read_text(encoding="utf-8")
    assert '<html lang="ja">' in text and "適用済み" in text and "戻し方" in text
    assert "ansible-playbook restore.yml -l chat-production -e dbops_restore_backup=" in text


def test_without_it_the_statement_is_told(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    change = psql(stack, production, "ALTER TABLE messages ADD COLUMN note text DEFAULT md5(random()::text)")
    done = controller.run("migrate", "-l", "production", dbops_migrate_analyze=False, dbops_migrate_approval="never", **change)
    assert done.ok and "Still to do: ANALYZE public.messages;" in done.summary, done.output
