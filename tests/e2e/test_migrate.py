# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`migrate.yml`: from the schema of the old backend to that of the deployed one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller import ROOT, CheckThenRun, Controller
from stack import BACKEND, Server, Stack, command

BEFORE = {"messages": 60, "rooms": 3, "users": 5}
AFTER = {**BEFORE, "reactions": 0}

#: A statement in the server's log, when `log_statement` is on.
LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")


@pytest.mark.core
def test_a_migration_does_what_its_check_has_shown(
    v1: None, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    assert production.tables() == BEFORE
    _checked, done = check_then_run("migrate", "-l", "production")
    assert production.tables() == AFTER
    assert "nickname" in production.columns("users")
    [backup] = stack.backups(production)
    assert backup.endswith("_before_migration") and backup in done.summary
    assert production.backends[0].name in done.summary

    again = controller.run("migrate", "-l", "production", "--diff")
    assert again.ok and not again.changed
    assert f"Nothing to migrate: database 'chat' has the schema that image '{BACKEND}:v2' wants." in again.summary
    assert stack.backups(production) == [backup]


def test_the_plan_shows_the_very_statements_that_the_server_executes(v1: None, controller: Controller, production: Server) -> None:
    production.do("ALTER DATABASE chat SET log_statement = 'ddl'", database="postgres")
    began = command("date", "+%s.%N").stdout.strip()
    done = controller.run("migrate", "-l", "production", "--diff")
    assert done.ok, done.output
    logs = command("docker", "logs", "--since", began, production.name)
    executed = LOGGED.findall(logs.stdout + logs.stderr)
    planned = [statement["sql"] for statement in done.result()["plan"]["statements"]]
    assert executed == planned and len(planned) == 3
    assert all(f"+{statement};\n" in done.result()["diff"]["prepared"] for statement in planned)
    assert '+ALTER TABLE "users" ADD COLUMN "nickname" character varying NULL;' in done.output


def sandbox_image(server: Server) -> str:
    """The one that was made of this server's image; another stack beside this one may use it as well."""
    source = command("docker", "container", "inspect", "--format", "{{.Image}}", server.name).stdout.strip()
    listing = ("docker", "image", "ls", "--filter", f"label=dbops.source-image={source}", "--format", "{{.Repository}}:{{.Tag}}")
    return command(*listing, "dbops-sandbox").stdout.split()[0]


def test_a_sandbox_image_that_does_not_start_is_not_the_end_of_every_plan(v2: None, controller: Controller, preview: Server) -> None:
    assert controller.run("migrate", "-l", "preview").ok
    image = sandbox_image(preview)
    identifier = command("docker", "image", "inspect", "--format", "{{.Id}}", image).stdout.strip()
    command("docker", "image", "tag", f"{BACKEND}:v2", image)  # no server in it
    assert controller.run("migrate", "-l", "preview", "--check").ok
    assert controller.run("migrate", "-l", "preview").ok
    assert sandbox_image(preview) == image
    command("docker", "image", "rm", identifier, check=False)  # another stack's sandbox may run on it


@pytest.mark.share(1)
@pytest.mark.parametrize(
    ("playbook", "folder"),
    [("migrate.yml", ROOT / "playbooks"), ("dbops.postgres.migrate", ROOT), ("./playbooks/migrate.yml", ROOT)],
    ids=["inside playbooks/", "by its full name", "by a path"],
)
def test_a_playbook_can_be_called_in_every_way(playbook: str, folder: Path, v2: None, controller: Controller) -> None:
    done = controller.run(playbook, "-l", "preview", "--check", cwd=folder)
    assert done.ok, done.output
    assert "Nothing to migrate" in done.summary


@pytest.mark.long
def test_an_image_can_be_planned_before_it_is_deployed(v2: None, controller: Controller, stack: Stack) -> None:
    stack.fill("nothing")
    done = controller.run("migrate", "-l", "preview", "--check", "--diff", dbops_image=f"{BACKEND}:v1")
    assert done.ok, done.output
    assert 'CREATE TABLE "messages"' in done.output and "reactions" not in done.output


def test_production_is_always_backed_up_first(v1: None, controller: Controller, stack: Stack, production: Server, preview: Server) -> None:
    for server in stack.servers:
        done = controller.run("migrate", "-l", server.environment, dbops_migrate_backup=False)
        assert done.ok, done.output
        assert server.tables() == AFTER
    assert len(stack.backups(production)) == 1
    assert stack.backups(preview) == []


def test_the_facts_of_a_run_are_handed_on(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    done = controller.run("migrate", "-l", "production")
    [stats] = [task.result["ansible_stats"]["data"]["dbops"] for task in done.tasks if task.action.endswith("set_stats")]
    [backup] = stack.backups(production)
    assert stats["chat-production"]["operation"] == "migrate"
    assert stats["chat-production"]["changed"] is True
    assert stats["chat-production"]["backup"] == backup
    [line] = stack.as_deploy(f"cat {production.backups}/journal.jsonl").stdout.splitlines()
    assert '"operation": "migrate"' in line and done.result()["operation"]["run_id"] in line
