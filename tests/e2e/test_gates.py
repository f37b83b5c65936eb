# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checklist before a migration: production asks its backups, its preview's journal and itself, and stops where a point is open."""

from __future__ import annotations

import datetime
from typing import Any

from controller import Controller, Run
from faults import journal, left_behind
from stack import Server, Stack

#: As where the inventory says nothing.
DEFAULT = {"dbops_migrate_gates": ""}


def gates(run: Run) -> dict[str, str]:
    return {gate["name"]: gate["state"] for gate in run.result()["gates"]}


def test_production_is_migrated_once_the_checklist_is_done(
    v1: None, controller: Controller, stack: Stack, production: Server, preview: Server
) -> None:
    before = production.dump()
    refused = controller.run("migrate", "-l", "production", **DEFAULT)
    assert not refused.ok
    assert "backup: There is no backup of it at all. Type: ansible-playbook backup.yml -l chat-production" in refused.message
    assert "preview: The schema that comes of it has not run on preview 'chat-preview' yet." in refused.message
    assert "Type: ansible-playbook migrate.yml -l chat-preview" in refused.message
    assert "-e dbops_override=backup,preview -e dbops_reason='why it may be'" in refused.message
    assert production.dump() == before and left_behind(stack) == []
    checked = controller.run("migrate", "-l", "production", "--check", **DEFAULT)
    assert checked.ok and "A run would be refused." in checked.output
    assert gates(checked) == {"backup": "failed", "preview": "failed", "clean": "passed"}

    assert controller.run("backup", "-l", "production").ok
    assert controller.run("migrate", "-l", "preview", **DEFAULT).ok
    planned = controller.run("plan", "-l", "production", **DEFAULT)
    assert planned.ok and gates(planned) == {"backup": "passed", "preview": "passed", "clean": "passed"}, planned.output
    assert "gate preview: passed. Preview 'chat-preview' has run the very schema that comes of it" in planned.summary
    done = controller.run("migrate", "-l", "production", **DEFAULT)
    assert done.ok and done.changed and gates(done)["preview"] == "passed", done.output
    assert done.remote_tasks <= 8


def test_a_gate_is_overruled_by_name_with_a_reason(v1: None, controller: Controller, stack: Stack, production: Server) -> None:
    closed: dict[str, Any] = {"dbops_migrate_gates": {"proved": {"hours": 24}}}
    nameless = controller.run("migrate", "-l", "production", **closed, dbops_override="proved")
    assert not nameless.ok and "A gate is overruled only with a reason" in nameless.message
    wrong = controller.run("migrate", "-l", "production", **closed, dbops_override="proof", dbops_reason="x")
    assert not wrong.ok and "There is no gate 'proof' to overrule" in wrong.message
    done = controller.run("migrate", "-l", "production", **closed, dbops_override="proved", dbops_reason="it burns")
    assert done.ok and done.changed, done.output
    assert "Gate 'proved' was overruled (it burns): No backup of it was restored and compared yet." in done.text
    assert journal(stack, production)[-1]["overruled"] == {"proved": "it burns"}


def test_the_clock_and_the_load_are_the_servers(v1: None, controller: Controller, production: Server) -> None:
    now = datetime.datetime.fromisoformat(str(production.value("SELECT (now() AT TIME ZONE 'Asia/Tokyo')::text")))
    later = (now + datetime.timedelta(hours=2)).strftime("%H:%M")
    until = (now + datetime.timedelta(hours=3)).strftime("%H:%M")
    window = {"time_zone": "Asia/Tokyo", "from": later, "to": until}
    closed = controller.run(
        "migrate", "-l", "production", dbops_migrate_gates={"window": window, "load": {"sessions": 50, "transactions": 5000}}
    )
    assert not closed.ok and f"{later} to {until}, Asia/Tokyo. It opens at " in closed.message
    assert "load:" not in closed.message
    wrong = controller.run("migrate", "-l", "production", dbops_migrate_gates={"window": {"time_zone": "Tokyo"}})
    assert not wrong.ok and "The server knows no time zone 'Tokyo'" in wrong.message
    opened = {"window": {**window, "from": until, "to": later}, "load": {"sessions": 50, "lag_seconds": 10}}
    checked = controller.run("migrate", "-l", "production", "--check", dbops_migrate_gates=opened)
    assert checked.ok and gates(checked) == {"window": "passed", "load": "passed"}, checked.output


def test_a_preview_that_cannot_be_asked_closes_the_gate_and_says_so(v1: None, controller: Controller, stack: Stack) -> None:
    assert controller.run("backup", "-l", "production").ok
    nowhere = controller.run("migrate", "-l", "production", dbops_migrate_gates={"preview": {"host": "no-such-host"}})
    assert not nowhere.ok and "What has run on preview 'no-such-host' is not known" in nowhere.text, nowhere.output
    assert "dbops_override=preview" in nowhere.text and "Traceback" not in nowhere.output
