# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard (S1): every way around it that is known. Each is refused, says what to do instead, and changes no database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import Controller, Run
from stack import Server, Stack

#: Consent that is right, so that nothing but what a test is about can refuse.
RESET = {"dbops_confirm": "reset:chat_preview"}
SEED = {"dbops_confirm": "seed:chat"}


class TestLimit:
    """What changes data runs on one environment, and only when that was asked for."""

    @pytest.fixture(scope="class")
    @classmethod
    def contents(cls, stack: Stack) -> dict[str, Any]:
        stack.fill("v1")
        return databases(stack)

    @pytest.fixture(autouse=True)
    def no_database_is_touched(self, contents: dict[str, Any], stack: Stack) -> Iterator[None]:
        yield
        assert databases(stack) == contents

    @pytest.mark.share(3)
    @pytest.mark.parametrize(
        "limit",
        [None, "", ",", ":", "all", "*", "~.*", "all:!nobody", "production,preview"],
        ids=lambda limit: "no -l" if limit is None else repr(limit),
    )
    def test_more_than_one_environment_is_refused(self, limit: str | None, controller: Controller) -> None:
        refused = controller.run("migrate", *([] if limit is None else ["-l", limit]))
        assert_refused(refused, "'ansible-playbook migrate.yml -l production'")

    @pytest.mark.share(1)
    @pytest.mark.parametrize("limit", ["all:!chat-production", "!production"])
    def test_everything_but_something_is_no_choice(self, limit: str, controller: Controller) -> None:
        refused = controller.run("preview_reset", "-l", limit, **RESET)
        assert_refused(refused, "'ansible-playbook preview_reset.yml -l preview'")

    @pytest.mark.share(1)
    @pytest.mark.parametrize("playbook", ["migrate", "preview_reset"])
    def test_an_inventory_of_one_environment_needs_a_limit_too(
        self, playbook: str, controller: Controller, stack: Stack, tmp_path: Path
    ) -> None:
        inventory = only(stack.preview, stack, tmp_path)
        refused = controller.run(playbook, inventory=inventory, **RESET)
        assert_refused(refused, f"'ansible-playbook {playbook}.yml -l preview'")

    @pytest.mark.parametrize(("batches", "reached"), [(None, 1), ("1,100%", 1), ([2, "100%"], 2), ("100%", 3)], ids=str)
    def test_the_first_batch_that_fails_is_the_last(
        self, batches: Any, reached: int, controller: Controller, stack: Stack, tmp_path: Path
    ) -> None:
        hosts = {f"chat-{number}": {"dbops_database": f"none_{number}"} for number in range(3)}
        own = json.loads(json.dumps(yaml.safe_load((stack.inventory / "hosts.yml").read_text(encoding="utf-8"))))["all"]
        of_production = own["children"]["production"]
        common = {**own["vars"], **of_production["vars"], **of_production["hosts"]["chat-production"]}
        (tmp_path / "hosts.yml").write_text(
            json.dumps({"all": {"vars": common, "children": {"production": {"hosts": hosts}}}}), encoding="utf-8"
        )
        given = {} if batches is None else {"dbops_batches": batches}
        run = controller.run("migrate", "-l", "production", inventory=tmp_path, **given)
        assert not run.ok
        assert len({task.host for task in run.of_modules()}) == reached, run.output

    def test_a_typing_mistake_is_not_success(self, controller: Controller) -> None:
        refused = controller.run("migrate", "-l", "prodcution")
        assert not refused.ok
        assert refused.of_modules() == []

    @pytest.mark.share(1)
    @pytest.mark.parametrize("playbook", ["backup", "migrate"])
    def test_an_inventory_without_a_host_is_not_success(self, playbook: str, controller: Controller, tmp_path: Path) -> None:
        (tmp_path / "hosts.yml").write_text("---\nall:\n  children:\n    production:\n")
        refused = controller.run(playbook, inventory=tmp_path)
        assert not refused.ok
        assert "no database" in refused.text

    def test_an_inventory_with_hosts_and_a_limit_that_leaves_none_is_not_success(self, controller: Controller) -> None:
        refused = controller.run("migrate", "-l", "production:!chat-production")
        assert not refused.ok


class TestGoingAround:
    """The guard is in the module: what leaves out tasks leaves the guard where it is."""

    @pytest.fixture(scope="class")
    @classmethod
    def contents(cls, stack: Stack) -> dict[str, Any]:
        stack.fill("v2")
        return databases(stack)

    @pytest.fixture(autouse=True)
    def no_database_is_touched(self, contents: dict[str, Any], stack: Stack) -> Iterator[None]:
        yield
        assert databases(stack) == contents

    @pytest.mark.share(2)
    @pytest.mark.parametrize(
        ("playbook", "arguments"),
        [
            ("restore", ["--start-at-task", "Restore the backup and swap it in"]),
            ("restore", ["--start-at-task", "Tell what was done"]),
            ("seed", ["--tags", "seed"]),
            ("restore", ["--skip-tags", "always"]),
            ("preview_reset", ["--start-at-task", "Build a fresh database and swap it in"]),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    def test_leaving_out_tasks_does_not_leave_out_the_guard(self, playbook: str, arguments: list[str], controller: Controller) -> None:
        refused = controller.run(playbook, "-l", "production", *arguments, dbops_restore_backup="latest")
        assert not refused.ok, refused.output

    @pytest.mark.share(1)
    @pytest.mark.parametrize("arguments", [["--tags", "mirgate"], ["--skip-tags", "migrate"]], ids=" ".join)
    def test_tags_that_select_nothing_are_not_success(self, arguments: list[str], controller: Controller) -> None:
        refused = controller.run("migrate", "-l", "production", *arguments)
        assert refused.of_modules() == []
        assert not refused.ok, refused.output

    @pytest.mark.share(1)
    @pytest.mark.parametrize(
        "said",
        [{"dbops_environment": "preview"}, {"dbops_environment": "preview", "dbops_shared_server": True}],
        ids=["environment", "environment and shared server"],
    )
    def test_production_stays_production_whatever_the_command_line_says(
        self, said: dict[str, Any], controller: Controller, production: Server
    ) -> None:
        refused = controller.run("preview_reset", "-l", "chat-production", dbops_confirm="reset:chat", **said)
        assert_refused(refused, "'production'")

    def test_a_previews_backup_does_not_replace_production_by_a_wrong_path(self, controller: Controller) -> None:
        made = controller.run("backup", "-l", "preview")
        assert made.ok, made.output
        path = made.result()["backup"]["path"]
        refused = controller.run("restore", "-l", "production", dbops_restore_backup=path, dbops_confirm="restore:chat")
        assert not refused.ok and "is of database 'chat_preview' (preview" in refused.message
        assert "-e dbops_restore_from_other_environment=true" in refused.message

    def test_no_consent_lets_production_be_reset(self, controller: Controller) -> None:
        refused = controller.run("preview_reset", "-l", "production", dbops_confirm="reset:chat")
        assert_refused(refused, "production")
        assert "dbops_confirm" not in refused.message

    @pytest.mark.share(1)
    @pytest.mark.parametrize("module", ["database_reset", "seed"])
    def test_a_module_on_its_own_has_the_same_guard(self, module: str, controller: Controller, stack: Stack, production: Server) -> None:
        options = {
            "container": production.name,
            "database": "chat",
            "backup_dir": production.backups,
            "backends": [stack.production.backends[0].name],
        }
        done = controller.run_module(f"dbops.postgres.{module}", "production", options)
        assert done.returncode != 0
        assert "Refused" in done.stdout and "production" in done.stdout


class TestWitnesses:
    """A database is disposable only where inventory, marker and server's identity agree."""

    @pytest.fixture(autouse=True)
    def migrated(self, v2: None) -> None:
        """Each test may change what the witnesses say."""

    def refuse(self, controller: Controller, stack: Stack, *words: str, extra: dict[str, Any] | None = None, tmp_path: Path) -> Run:
        """A reset of preview is refused with these words, with `extra` variables in a second inventory."""
        before = databases(stack)
        layer = tmp_path / "layer.yml"
        layer.write_text(json.dumps({"all": {"hosts": {"chat-preview": extra or {}}}}))
        refused = controller.run("preview_reset", "-l", "preview", "-i", str(layer), **RESET)
        assert_refused(refused, *words)
        assert databases(stack) == before
        return refused

    def test_no_marker(self, controller: Controller, stack: Stack, preview: Server, tmp_path: Path) -> None:
        preview.mark("")
        self.refuse(controller, stack, "not marked", "'ansible-playbook enroll.yml -l chat-preview'", tmp_path=tmp_path)

    @pytest.mark.share(1)
    @pytest.mark.parametrize("marker", ["production", "staging"])
    def test_the_marker_of_another_environment(
        self, marker: str, controller: Controller, stack: Stack, preview: Server, tmp_path: Path
    ) -> None:
        preview.mark(marker)
        self.refuse(controller, stack, f"marked '{marker}'", "'ansible-playbook enroll.yml -l chat-preview'", tmp_path=tmp_path)

    def test_no_pinned_server(self, controller: Controller, stack: Stack, preview: Server, tmp_path: Path) -> None:
        line = f"'dbops_server_id: \"{preview.identifier}\"' to 'chat-preview'"
        self.refuse(controller, stack, line, extra={"dbops_server_id": ""}, tmp_path=tmp_path)

    def test_another_pinned_server(self, controller: Controller, stack: Stack, preview: Server, tmp_path: Path) -> None:
        words = ["pins server 7000000000000000001", f"the server that answers is {preview.identifier}", "dbops_server_id"]
        self.refuse(controller, stack, *words, extra={"dbops_server_id": "7000000000000000001"}, tmp_path=tmp_path)

    def test_productions_server_under_previews_name(
        self, controller: Controller, stack: Stack, production: Server, preview: Server, tmp_path: Path
    ) -> None:
        named = {"dbops_container": production.name, "dbops_database": "chat"}
        self.refuse(controller, stack, f"pins server {preview.identifier}", extra=named, tmp_path=tmp_path)
        pinned = {**named, "dbops_server_id": production.identifier}
        self.refuse(controller, stack, "marked 'production'", "inventory says 'preview'", extra=pinned, tmp_path=tmp_path)

    def test_production_on_the_same_server(self, controller: Controller, stack: Stack, preview: Server, tmp_path: Path) -> None:
        preview.do("CREATE DATABASE chat_live", "ALTER DATABASE chat_live SET dbops.environment = 'production'", database="postgres")
        self.refuse(controller, stack, "'chat_live', marked production", "dbops_shared_server", tmp_path=tmp_path)
        allowed = controller.run("preview_reset", "-l", "preview", "--check", dbops_shared_server=True)
        assert allowed.ok, allowed.output

    def test_production_in_the_wrong_group(self, controller: Controller, stack: Stack, production: Server, tmp_path: Path) -> None:
        """One host moved to the other group: the marker knows better."""
        hosts = json.dumps({"preview": {"hosts": {"chat-production": None}, "vars": {"dbops_environment": "preview"}}})
        before = databases(stack)
        (tmp_path / "layer.yml").write_text(hosts)
        for playbook, consent in [("preview_reset", "reset:chat"), ("migrate", "migrate:chat"), ("seed", "seed:chat")]:
            refused = controller.run(
                playbook, "-l", "chat-production", "-i", str(tmp_path), dbops_environment="preview", dbops_confirm=consent
            )
            assert_refused(refused, "'production'", "'ansible-playbook enroll.yml -l chat-production'")
        assert databases(stack) == before


class TestConsent:
    """Consent names the operation and the database, so that yesterday's does not fit."""

    @pytest.fixture(scope="class")
    @classmethod
    def contents(cls, stack: Stack) -> dict[str, Any]:
        stack.fill("v2-empty")
        return databases(stack)

    @pytest.mark.share(2)
    @pytest.mark.parametrize("confirm", ["", "yes", "restore:chat", "seed:chat_preview"])
    def test_what_is_not_meant_for_this_is_no_consent(
        self, confirm: str, contents: dict[str, Any], controller: Controller, stack: Stack
    ) -> None:
        refused = controller.run("seed", "-l", "production", dbops_confirm=confirm)
        assert_refused(refused, "Add: -e dbops_confirm=seed:chat")
        assert confirm == "" or f"'{confirm}', is for something else" in refused.message
        assert databases(stack) == contents

    def test_restore_does_not_take_the_consent_of_seed(self, contents: dict[str, Any], controller: Controller, stack: Stack) -> None:
        refused = controller.run("restore", "-l", "production", dbops_restore_backup="undo", **SEED)
        assert_refused(refused, "Add: -e dbops_confirm=restore:chat")
        assert databases(stack) == contents

    def test_a_check_needs_none(self, contents: dict[str, Any], controller: Controller, stack: Stack) -> None:
        assert controller.run("seed", "-l", "production", "--check").ok
        assert databases(stack) == contents


def databases(stack: Stack) -> dict[str, Any]:
    return {server.name: server.contents() for server in stack.servers}


def assert_refused(run: Run, *words: str) -> None:
    """The run failed in a module, whose message has these words and stands on one line of the screen."""
    assert not run.ok, run.output
    [failed] = [task for task in run.of_modules() if task.outcome == "failed"]
    message = failed.result["msg"]
    assert [word for word in words if word not in message] == [], message
    assert message in run.output
    assert not failed.result.get("changed")


def only(server: Server, stack: Stack, folder: Path) -> Path:
    """The stack's inventory with this server's host alone in it."""
    text = (stack.inventory / "hosts.yml").read_text()
    other = next(each.environment for each in stack.servers if each.environment != server.environment)
    begin = text.index(f"    {other}:\n")
    end = text.find("\n    preview:\n", begin)
    (folder / "hosts.yml").write_text(text[:begin] + (text[end + 1 :] if end > 0 else ""))
    return folder
