# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`enroll.yml`: the server's identity to pin in the inventory, and the marker in the database."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from controller import Controller
from stack import Server, Stack


@pytest.fixture
def unenrolled(v2: None, stack: Stack) -> None:
    for server in stack.servers:
        server.mark("")


def test_preview_is_enrolled_step_by_step(unenrolled: None, controller: Controller, stack: Stack, preview: Server, tmp_path: Path) -> None:
    """As a person does it: look, pin the server as told, consent, and only then is a reset possible."""
    inventory = shutil.copytree(stack.inventory_unpinned, tmp_path / "inventory")
    before = stack.everything()

    looked = controller.run("enroll", "-l", "preview", "--check", "--diff", inventory=inventory)
    assert looked.ok and looked.changed
    line = re.search(r'dbops_server_id: "\d+"', looked.summary)
    assert line and preview.identifier in line[0]
    refused = controller.run("enroll", "-l", "preview", inventory=inventory)
    assert not refused.ok
    assert refused.message.endswith("Add: -e dbops_confirm=enroll:chat_preview")
    assert line[0] in refused.message
    assert stack.everything() == before

    (inventory / "host_vars").mkdir()
    (inventory / "host_vars" / "chat-preview.yml").write_text(f"---\n{line[0]}\n")
    early = controller.run("preview_reset", "-l", "preview", "--check", inventory=inventory)
    assert not early.ok and "not marked" in early.message

    enrolled = controller.run("enroll", "-l", "preview", "--diff", inventory=inventory, dbops_confirm="enroll:chat_preview")
    assert enrolled.ok and enrolled.changed, enrolled.output
    assert enrolled.result()["diff"] == looked.result()["diff"]
    assert preview.marker == "preview"

    again = controller.run("enroll", "-l", "preview", inventory=inventory)
    assert again.ok and not again.changed
    allowed = controller.run("preview_reset", "-l", "preview", "--check", inventory=inventory)
    assert allowed.ok, allowed.output


def test_production_is_marked_without_consent(unenrolled: None, controller: Controller, stack: Stack, production: Server) -> None:
    done = controller.run("enroll", "-l", "production", inventory=stack.inventory_unpinned)
    assert done.ok and done.changed, done.output
    assert production.marker == "production"
    again = controller.run("enroll", "-l", "production", inventory=stack.inventory_unpinned)
    assert again.ok and not again.changed


def test_any_operation_on_production_marks_it(unenrolled: None, controller: Controller, production: Server) -> None:
    assert controller.run("backup", "-l", "production", "--check").ok
    assert production.marker is None
    assert controller.run("backup", "-l", "production").ok
    assert production.marker == "production"


def test_production_is_not_turned_into_a_preview_by_a_word(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    before = stack.everything()
    refused = controller.run("enroll", "-l", "chat-production", dbops_environment="preview", dbops_confirm="seed:chat")
    assert not refused.ok
    assert "dbops_confirm=enroll:chat" in refused.message and "'production'" in refused.message
    assert stack.everything()["databases"] == before["databases"]
