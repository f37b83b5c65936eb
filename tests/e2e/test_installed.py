# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as people install it: from the built tarball, into an empty folder, used by its full name."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller import Controller, Run
from installed import install_tarball
from stack import Server


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_tarball(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def user(collections: Path, controller: Controller, tmp_path: Path) -> Controller:
    """A user's own project: an inventory, no checkout of ours anywhere near."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "migrate.yml").write_text("---\n- name: Migrate\n  ansible.builtin.import_playbook: dbops.postgres.migrate\n")

    class User(Controller):
        def run(self, playbook: str, *arguments: str, **options: object) -> Run:
            return super().run(playbook, *arguments, cwd=project, env={"ANSIBLE_COLLECTIONS_PATH": str(collections)}, **options)

    return User(controller.home, controller.inventory)


@pytest.mark.share(2)
@pytest.mark.parametrize(
    ("playbook", "environment", "expected"),
    [
        ("backup", "production", "Would back up"),
        ("migrate", "production", "Would migrate"),
        ("seed", "production", "Would seed"),
        ("restore", "preview", "Would put"),
        ("preview_reset", "preview", "Would reset"),
        ("enroll", "preview", "is marked"),
    ],
)
def test_every_playbook_runs_by_its_full_name(
    playbook: str, environment: str, expected: str, v1: None, user: Controller, preview: Server
) -> None:
    if playbook == "restore":
        preview.do("CREATE DATABASE chat_preview_before_reset_1", database="postgres")
        kept = '{"of": "chat_preview", "at": "2026-01-01T00:00:00Z", "by": "reset", "run_id": "20260101T000000_000000"}'
        preview.do(f"ALTER DATABASE chat_preview_before_reset_1 SET dbops.kept = '{kept}'", database="postgres")
    checked = user.run(f"dbops.postgres.{playbook}", "-l", environment, "--check", dbops_restore_backup="undo")
    assert checked.ok, checked.output
    assert expected in checked.summary


def test_a_users_own_playbook_is_one_line(v1: None, user: Controller, production: Server) -> None:
    done = user.run("migrate.yml", "-l", "production")
    assert done.ok and done.changed, done.output
    assert "reactions" in production.tables()
