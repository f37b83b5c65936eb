# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`plan.yml`: what a migration would do to this database; and `migrate.yml`, which does exactly what somebody has approved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser import look_at
from controller import Controller, Run
from faults import journal, left_behind
from runners import psql
from stack import BACKEND, Server, Stack

RISKY = "ALTER TABLE users DROP COLUMN created_at; CREATE TABLE \"<b>notes\" (id int, text varchar DEFAULT '<script>alert(1)</script>')"


def findings(run: Run) -> dict[str, str]:
    return {finding["rule"]: finding["level"] for finding in run.result()["risk"]["findings"]}


@pytest.mark.core
def test_a_risky_migration_is_planned_approved_and_then_done(
    v1: None, controller: Controller, stack: Stack, production: Server, tmp_path: Path, browser: Browser
) -> None:
    variables = psql(stack, production, RISKY)
    before = production.dump()
    refused = controller.run("migrate", "-l", "production", **variables)
    assert not refused.ok
    assert "Refused to migrate 'chat': its risk is destructive (ban-drop-column: column public.users.\"created_at\")" in refused.message
    assert "ansible-playbook plan.yml -l chat-production" in refused.message and "-e dbops_migrate_approval=never" in refused.message
    checked = controller.run("migrate", "-l", "production", "--check", **variables)
    assert checked.ok and "A run would be refused. Refused to migrate 'chat'" in checked.output

    planned = controller.run("plan", "-l", "production", dbops_report_dir=str(tmp_path), **variables)
    assert planned.ok and not planned.changed, planned.output
    assert findings(planned)["ban-drop-column"] == "destructive"
    assert "Deploy first what no longer names it" in planned.summary
    fingerprint = planned.result()["plan"]["fingerprint"]
    assert production.env["POSTGRES_PASSWORD"] not in planned.output
    assert production.dump() == before and left_behind(stack) == []
    assert journal(stack, production)[-1]["plan_fingerprint"] == fingerprint

    done = controller.run("migrate", "-l", "production", dbops_migrate_plan=fingerprint[:16], **variables)
    assert done.ok and done.changed, done.output
    assert "created_at" not in production.columns("users")
    entry = journal(stack, production)[-1]
    assert (entry["operation"], entry["plan_fingerprint"], entry["risk"]) == ("migrate", fingerprint, "destructive")
    assert entry["planned_by"] and entry["planned_at"]

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"chat-production-{fingerprint[:16]}.{kind}" for kind in ("html", "json", "md")]
    page = (tmp_path / names[0]).read_text(encoding="utf-8")
    look_at(browser, tmp_path / names[0])
    assert "&lt;b&gt;notes" in page and "<b>notes" not in page and "<script>" not in page
    assert production.env["POSTGRES_PASSWORD"] not in "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert (tmp_path / names[1]).stat().st_mode & 0o077 == 0


def test_only_the_very_plan_that_was_approved_is_done(
    v1: None, controller: Controller, stack: Stack, production: Server, tmp_path: Path
) -> None:
    planned = controller.run("plan", "-l", "production", dbops_report_dir=str(tmp_path))
    assert planned.ok, planned.output
    fingerprint = planned.result()["plan"]["fingerprint"]
    [file] = tmp_path.glob("*.json")
    before = production.dump()

    def refused(said: str, **variables: object) -> None:
        failed = controller.run("migrate", "-l", "production", **variables)
        assert not failed.ok and said in failed.text, failed.output
        assert "plan.yml -l chat-production" in failed.text and "Traceback" not in failed.output
        assert production.dump() == before

    refused("There is no plan '0123456789abcdef' of database 'chat'", dbops_migrate_plan="0123456789abcdef")
    refused("'nowhere.json' is neither a fingerprint of a plan", dbops_migrate_plan="nowhere.json")
    refused("and is too old after 0.0 s", dbops_migrate_plan=fingerprint, dbops_migrate_plan_max_age=0)

    document = json.loads(file.read_text(encoding="utf-8"))
    document["plan"]["statements"].pop()
    (tmp_path / "edited.json").write_text(json.dumps(document), encoding="utf-8")
    refused("The plan's file was edited", dbops_migrate_plan=str(tmp_path / "edited.json"))
    document["database"] = "other"
    (tmp_path / "other.json").write_text(json.dumps(document), encoding="utf-8")
    refused("The plan's file is of database 'other'", dbops_migrate_plan=str(tmp_path / "other.json"))

    other = psql(stack, production, "CREATE TABLE other (id int)")
    refused("it is another image", dbops_migrate_plan=fingerprint, **other)
    production.do("CREATE TABLE meanwhile (id int)")
    before = production.dump()
    refused("the schema has changed since", dbops_migrate_plan=fingerprint)
    production.do("DROP TABLE meanwhile")
    before = production.dump()

    done = controller.run("migrate", "-l", "production", dbops_migrate_plan=str(file), dbops_migrate_approval="required")
    assert done.ok and done.changed, done.output
    assert "reactions" in production.tables()


def test_what_needs_approval_is_up_to_the_inventory(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    needed = controller.run("migrate", "-l", "production", dbops_migrate_approval="required")
    assert not needed.ok and "every migration of it needs an approved plan" in needed.message
    risky = psql(stack, production, RISKY)
    accepted = {"rule": "ban-drop-column", "object": "column public.users.*", "reason": "nobody reads it", "until": "2999-12-31"}
    unused = {"rule": "ban-drop-table", "reason": "long ago"}
    planned = controller.run("plan", "-l", "production", dbops_migrate_risk_accepted=[accepted, unused], **risky)
    assert planned.ok and planned.result()["risk"]["level"] == "low", planned.output
    assert 'Accepted: ban-drop-column of column public.users."created_at" (nobody reads it).' in planned.summary
    assert "dbops_migrate_risk_accepted: 'ban-drop-table' of '*' covers nothing" in planned.summary
    wrong = controller.run("plan", "-l", "production", dbops_migrate_risk_accepted=[{"rule": "no-such-rule", "reason": "x"}], **risky)
    assert not wrong.ok and "there is no rule 'no-such-rule'" in wrong.message
    done = controller.run("migrate", "-l", "production", dbops_migrate_risk_accepted=[accepted], **risky)
    assert done.ok, done.output


def test_thousands_of_statements_are_readable(
    v1: None, controller: Controller, stack: Stack, production: Server, tmp_path: Path, browser: Browser
) -> None:
    url = psql(stack, production, "")["dbops_migrate_runner"][4]  # type: ignore[index]
    script = 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "CREATE TABLE \\"<表 $i>\\" (id int);"; done | psql --no-psqlrc --quiet "$0"'
    many = {"dbops_migrate_image": stack.postgres_image, "dbops_migrate_runner": ["sh", "-c", script, url]}
    planned = controller.run("plan", "-l", "production", dbops_report_dir=str(tmp_path), **many)
    assert planned.ok and len(planned.result()["plan"]["statements"]) == 2000, planned.output[-3000:]
    [page] = tmp_path.glob("*.html")
    look_at(browser, page, quick=True)
    assert page.read_text(encoding="utf-8").count("&lt;表 2000&gt;") >= 1


def test_how_the_runner_works_is_seen(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    never_content = "DROP INDEX IF EXISTS again; CREATE INDEX again ON users (name)"
    planned = controller.run("plan", "-l", "production", **psql(stack, production, never_content))
    assert planned.ok and findings(planned)["runner-not-content"] == "medium", planned.output
    left_open = "CREATE TABLE a (id int); BEGIN; CREATE TABLE b (id int)"
    script = {**psql(stack, production, ""), "dbops_migrate_runner": ["sh", "-c", 'echo "$1" | psql --no-psqlrc --quiet "$0"']}
    url = psql(stack, production, "")["dbops_migrate_runner"][4]  # type: ignore[index]
    script["dbops_migrate_runner"] = [*script["dbops_migrate_runner"], url, left_open]  # type: ignore[misc]
    planned = controller.run("plan", "-l", "production", **script)
    assert planned.ok and findings(planned)["ban-uncommitted-transaction"] == "high", planned.output
    assert "statement 'CREATE TABLE b (id int);'" in planned.summary.replace("int)'", "int);'")


def test_a_check_of_the_plan_is_no_approval(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    entries = len(journal(stack, production))
    checked = controller.run("plan", "-l", "production", "--check", dbops_image=f"{BACKEND}:v2")
    assert checked.ok and "  1  CREATE INDEX" in checked.summary, checked.output
    assert len(journal(stack, production)) == entries
    fingerprint = checked.result()["plan"]["fingerprint"]
    refused = controller.run("migrate", "-l", "production", dbops_migrate_plan=fingerprint)
    assert not refused.ok and "There is no plan" in refused.message
