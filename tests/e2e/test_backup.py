# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`backup.yml`: one verified backup, or nothing."""

from __future__ import annotations

import json

import pytest

from controller import CheckThenRun, Controller
from stack import Server, Stack, command


@pytest.mark.core
def test_a_backup_is_complete_private_and_readable_without_us(
    v2: None, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    _checked, done = check_then_run("backup", "-l", "production", dbops_backup_reason="before_friday")
    [backup] = stack.backups(production)
    assert backup == done.result()["backup"]["id"]
    assert backup.endswith("_before_friday")
    assert stack.as_deploy(f"find {production.backups} ! -user deploy -o -type f ! -perm 0600 -o -type d ! -perm 0700").stdout == ""
    manifest = json.loads(stack.as_deploy(f"cat {production.backups}/{backup}/manifest.json").stdout)
    assert {table["table"]: table["rows"] for table in manifest["tables"]} == production.tables()
    assert manifest["server_identifier"] == production.identifier
    listed = command(
        *("docker", "run", "--rm", "--network", "none", "--volume", f"{production.backups}/{backup}/dump:/dump:ro"),
        *(stack.postgres_image, "pg_restore", "--file=-", "--data-only", "--table=messages", "/dump"),
    ).stdout
    assert listed.count("Message ") == production.tables()["messages"]

    again = controller.run("backup", "-l", "production")
    assert again.ok and again.changed
    assert stack.backups(production) == [backup, again.result()["backup"]["id"]]


@pytest.mark.long
def test_the_applications_time_limits_do_not_end_a_backup_or_a_restore(v2: None, controller: Controller, production: Server) -> None:
    limits = {
        "statement_timeout": "5ms",
        "lock_timeout": "1ms",
        "idle_in_transaction_session_timeout": "200ms",
        "idle_session_timeout": "1s",
    }
    production.do(*(f"ALTER DATABASE chat SET {name} = '{limit}'" for name, limit in limits.items()))
    production.do(*(f"ALTER ROLE postgres SET {name} = '{limit}'" for name, limit in limits.items()))
    try:
        made = controller.run("backup", "-l", "production")
        restored = controller.run("restore", "-l", "production", dbops_restore_backup="latest", dbops_confirm="restore:chat")
    finally:
        production.do("SET statement_timeout = 0; ALTER ROLE postgres RESET ALL", database="postgres")
    assert made.ok, made.output
    assert restored.ok, restored.output


def test_all_databases_may_be_backed_up_at_once(v2: None, controller: Controller, stack: Stack) -> None:
    done = controller.run("backup", "-l", "all")
    assert done.ok, done.output
    for server in stack.servers:
        assert stack.backups(server) == [done.result(server.host)["backup"]["id"]]
    journal = stack.as_deploy(f"cat {stack.preview.backups}/journal.jsonl").stdout.splitlines()
    [entry] = [json.loads(line) for line in journal]
    assert (entry["operation"], entry["result"], entry["host"], entry["operator"]) == ("backup", "ok", "chat-preview", "tester")


def test_the_way_back_can_be_copied_from_the_screen(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    done = controller.run("backup", "-l", "production")
    [backup] = stack.backups(production)
    assert (
        f"ansible-playbook restore.yml -l chat-production -e dbops_restore_backup={backup} -e dbops_confirm=restore:chat\n" in done.output
    )


def test_a_reason_that_is_no_name_is_refused(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    refused = controller.run("backup", "-l", "production", dbops_backup_reason="../../etc/cron.d/$(reboot)")
    assert not refused.ok
    assert stack.backups(production) == []


def test_no_backup_where_the_volume_is_too_small(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    """The table pretends to be larger than the volume: its further files are holes."""
    production.do("CREATE TABLE large (text text)", "CHECKPOINT")
    path = production.value("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('large')")
    free = int(stack.as_deploy(f"df --output=avail --block-size=1G {stack.folder} | tail -n 1").stdout)
    production.exec("sh", "-c", f"truncate -s 1G {path} && for n in $(seq {free + 10}); do truncate -s 1G {path}.$n; done")
    for arguments in (["--check"], []):
        refused = controller.run("backup", "-l", "production", *arguments)
        assert not refused.ok
        assert "too little room" in refused.message and " needed (the size of the tables" in refused.message
        assert set(stack.backup_files(production)) <= {"journal.jsonl"}


def test_a_backup_that_pg_restore_alone_cannot_restore_says_so_with_the_mend(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    """A function that names no schema does not find its table in pg_restore, whose search_path is empty."""
    production.do(
        "CREATE FUNCTION total(text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM messages'",
        "ALTER TABLE rooms ADD CONSTRAINT few CHECK (total(name) < 1000000) NOT VALID",
    )
    mend = "ALTER FUNCTION public.total(text) SET search_path = public, pg_temp;"
    made = controller.run("backup", "-l", "production", dbops_backup_check_restorable=True)
    assert made.ok, made.output
    found = made.result()["backup"]["restorable"]
    assert (found["state"], [(item["object"], item["mend"]) for item in found["failures"]]) == (
        "no",
        [("CHECK few on public.rooms", mend)],
    )
    assert any(mend in warning for warning in made.result()["warnings"])
    production.do(mend)
    for phase in (True, False):  # what is known is not tried again
        again = controller.run("backup", "-l", "production", dbops_backup_check_restorable=True)
        assert again.ok and again.result()["backup"]["restorable"]["state"] == "yes", again.output
        assert ("backup: try to restore" in again.result()["operation"]["phases"]) is phase
