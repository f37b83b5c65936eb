# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Branches that share the preview database: `preview_status.yml`, and `migrate.yml` for one of them.

The stack's own three previews run v2. Further branches are real backends of other versions, and one whose runner is a script of
SQL, which drops what others use: ent's own migrations only add.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from controller import Controller, Run
from stack import BACKEND, Server, Stack, command

#: An image whose migration is a script: what an older schema has, without what v2 added.
DROPPING = "dbops-demo/e2e-dropping"
SCRIPT = """#!/bin/sh
set -e
case $1 in
migrate)
    exec psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$PREVIEW_DATABASE_URL" <<'SQL'
CREATE TABLE IF NOT EXISTS polls (id bigserial PRIMARY KEY, question text NOT NULL);
ALTER TABLE IF EXISTS users DROP COLUMN IF EXISTS nickname;
SQL
    ;;
*) exec sleep 3600 ;;
esac
"""

Deploy = Callable[..., str]


@pytest.fixture
def pattern(stack: Stack) -> str:
    return stack.preview.backends[0].name.replace("feature-login", "*")


@pytest.fixture
def deploy(stack: Stack, preview: Server, pattern: str) -> Iterator[Deploy]:
    """Runs a further branch's backend beside the stack's; returns its container's name."""
    deployed: list[str] = []

    def run(branch: str, image: str, *options: str) -> str:
        name = pattern.replace("*", branch)
        url = preview.backends[0].inspect()["Config"]["Env"]
        env = next(item for item in url if item.startswith("PREVIEW_DATABASE_URL="))
        deployed.append(name)
        command(*("docker", "run", "--detach", "--name", name, "--network", stack.network, "--env", env), *options, image)
        return name

    yield run
    for name in deployed:
        command("docker", "rm", "--force", "--volumes", name, check=False)


@pytest.fixture(scope="module")
def dropping(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    context = tmp_path_factory.mktemp("dropping")
    (context / "backend").write_text(SCRIPT)
    (context / "backend").chmod(0o755)
    (context / "Dockerfile").write_text(
        f'FROM {stack.postgres_image}\nCOPY backend /app/backend\nENTRYPOINT []\nCMD ["/app/backend", "serve"]\nHEALTHCHECK NONE\n'
    )
    image = f"{DROPPING}:{stack.name}"
    command("docker", "build", "--quiet", "--tag", image, str(context))
    yield image
    command("docker", "image", "rm", "--force", image, check=False)


def look(controller: Controller, pattern: str, *arguments: str, **options: object) -> Run:
    done = controller.run("preview_status", "-l", "preview", *arguments, dbops_backends=[pattern], **options)
    assert done.ok, done.output
    assert not done.changed
    return done


def states(done: Run) -> dict[str, str]:
    return {item["branch"]: item["state"] for item in done.result()["branches"]}


OWN = {"feature-login": "same", "feature-search": "same", "fix-typing": "same"}


def test_three_branches_of_one_image_are_the_same(v2: None, controller: Controller, stack: Stack, pattern: str) -> None:
    assert controller.run("backup", "-l", "preview").ok  # a folder to keep what is found out
    before = stack.everything()
    checked = look(controller, pattern, "--check")
    assert stack.everything() == before
    done = look(controller, pattern)
    assert states(done) == states(checked) == OWN
    assert stack.preview.contents() == before["databases"][stack.preview.name]
    assert "3 branches on database 'chat_preview': 3 same." in done.summary
    assert re.search(r"feature-search +same +dbops-demo/chat-backend:v2 +\w", done.output), done.output
    assert stack.leftovers() == []
    again = look(controller, pattern)
    assert not any(phase.startswith("branches: sandbox") for phase in again.result()["operation"]["phases"]), "known by now"


@pytest.mark.long
def test_an_older_branch_is_no_trouble_and_a_newer_one_is_behind(
    v2: None, controller: Controller, stack: Stack, preview: Server, pattern: str, deploy: Deploy
) -> None:
    deploy("old", f"{BACKEND}:v1")
    deploy("newer", f"{BACKEND}:broken")
    assert controller.run("backup", "-l", "preview").ok
    done = look(controller, pattern)
    found = states(done)
    assert found["old"] == "ahead" and found["feature-login"] == "same"
    assert found["newer"] == "behind"
    assert "-e dbops_preview_branch=newer" in done.summary

    stack.fill("v1")
    assert controller.run("backup", "-l", "preview").ok
    assert states(look(controller, pattern)) == {"old": "same", **dict.fromkeys(OWN, "behind"), "newer": "behind"}

    migrated = controller.run("migrate", "-l", "preview", dbops_backends=[pattern], dbops_preview_branch="Feature/Login")
    assert migrated.ok and migrated.changed, migrated.output
    assert "nickname" in preview.columns("users")
    done = look(controller, pattern)
    assert states(done) == {"old": "ahead", **OWN, "newer": "behind"}
    who = {item["branch"]: bool(item["migrated"]) for item in done.result()["branches"]}
    assert who == {"feature-login": True, "old": False, "feature-search": False, "fix-typing": False, "newer": False}
    again = controller.run("migrate", "-l", "preview", dbops_backends=[pattern], dbops_preview_branch="fix-typing")
    assert again.ok and not again.changed, "once for all branches"


def test_a_plan_that_would_break_a_live_branch_stops_unless_told(
    v2: None, controller: Controller, stack: Stack, preview: Server, pattern: str, deploy: Deploy, dropping: str
) -> None:
    deploy("dropping", dropping)
    done = look(controller, pattern)
    assert states(done) == {**OWN, "dropping": "conflict"}
    assert "dropping: its migration would break branch " in done.summary
    assert "branch 'feature-login': column public.users.nickname would be gone" in done.summary
    before = stack.preview.contents()
    options = {"dbops_backends": [pattern], "dbops_preview_branch": "dropping"}
    for arguments in (["--check"], []):
        stopped = controller.run("migrate", "-l", "preview", *arguments, **options)
        assert not stopped.ok
        assert "The migration would break what other branches on database 'chat_preview' use: branch " in stopped.message
        assert "branch 'feature-login': column public.users.nickname would be gone" in stopped.message
        assert "-e dbops_preview_conflicts=warn" in stopped.message
        assert stack.preview.contents() == before
    assert stack.leftovers() == []

    told = controller.run("migrate", "-l", "preview", dbops_preview_conflicts="warn", **options)
    assert told.ok and told.changed, told.output
    assert "The migration breaks what other branches use: branch " in told.text
    assert "nickname" not in preview.columns("users")


@pytest.mark.long
def test_what_a_branch_that_is_gone_has_left_is_listed_and_cleared_by_the_reset(
    v2: None, controller: Controller, stack: Stack, preview: Server, pattern: str, deploy: Deploy, dropping: str
) -> None:
    name = deploy("polls", dropping)
    options = {"dbops_backends": [pattern], "dbops_preview_branch": "polls", "dbops_preview_conflicts": "warn"}
    assert controller.run("migrate", "-l", "preview", **options).ok
    look(controller, pattern)
    command("docker", "rm", "--force", "--volumes", name)
    done = look(controller, pattern)
    assert states(done)["polls"] == "gone"
    assert done.result()["leftovers"] == ["table public.polls"]
    assert "Left over from branches that are gone (the next reset clears it): table public.polls." in done.summary
    assert controller.run("preview_reset", "-l", "preview", dbops_backends=[pattern]).ok
    assert "polls" not in preview.tables()
    after = look(controller, pattern)
    assert after.result()["leftovers"] == [] and states(after) == {**OWN, "polls": "gone"}


@pytest.mark.long
def test_a_label_names_the_branch(v2: None, controller: Controller, pattern: str, deploy: Deploy) -> None:
    deploy("x", f"{BACKEND}:v2", "--label", "chat.branch=feature/Very/Long")
    done = look(controller, pattern, dbops_preview_branch_label="chat.branch")
    assert states(done)["feature/Very/Long"] == "same"


@pytest.mark.share(1)
@pytest.mark.parametrize("branch", ["no/such/Branch", "x" * 200, "; rm -rf /"])
def test_an_unknown_branch_is_told_with_those_that_there_are(
    branch: str, v2: None, controller: Controller, pattern: str, stack: Stack
) -> None:
    before = stack.preview.contents()
    refused = controller.run("migrate", "-l", "preview", dbops_backends=[pattern], dbops_preview_branch=branch)
    assert not refused.ok
    assert f"No backend of branch '{branch[:100]}' (dbops_preview_branch) runs here" in refused.message
    assert "'feature-login'" in refused.message
    assert stack.preview.contents() == before


def test_the_ledger_is_in_the_journal(v2: None, controller: Controller, stack: Stack, preview: Server, pattern: str) -> None:
    assert controller.run("backup", "-l", "preview").ok
    look(controller, pattern)
    lines = [json.loads(line) for line in stack.as_deploy(f"cat {preview.backups}/journal.jsonl").stdout.splitlines()]
    rows = [line for line in lines if line["operation"] == "branch"]
    assert {row["branch"] for row in rows} == set(OWN)
    assert all(row["image"] == f"{BACKEND}:v2" and row["revision"] and row["expects"] == row["shared"] for row in rows)
    kept = stack.as_deploy(f"stat -c '%a %n' {preview.backups}/expected_schemas/*").stdout.splitlines()
    assert [line.split()[0] for line in kept] == ["600"]
    info = controller.run_module("dbops.postgres.database_info", "chat-preview", {**_target(preview)})
    assert "operation: backup" in info.stdout and "operation: branch" not in info.stdout, "a line of the ledger is no operation"


def _target(server: Server) -> dict[str, str]:
    return {"container": server.name, "database": server.database, "backup_dir": server.backups}
