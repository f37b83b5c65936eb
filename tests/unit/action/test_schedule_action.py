# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What travels to the target: all that a run needs of the collection, nothing else, and the same bytes for the same collection."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

from ansible_collections.dbops.postgres.plugins.action.schedule import packed

ROOT = Path(__file__).resolve().parents[3]


def names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert all(member.isfile() for member in archive.getmembers())
        return set(archive.getnames())


def test_all_that_a_run_needs_and_nothing_else() -> None:
    found = names(packed(ROOT))
    assert {"playbooks/backup.yml", "plugins/modules/backup.py", "roles/target/vars/main.yml", "meta/runtime.yml", "galaxy.yml"} <= found
    assert {name.partition("/")[0] for name in found} <= {"meta", "playbooks", "plugins", "roles", "LICENSE", "galaxy.yml"}
    assert not [name for name in found if name.endswith(".pyc") or "__pycache__" in name]


def test_the_same_collection_is_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        shutil.copytree(ROOT / "roles" / "backup", tmp_path / folder / "roles" / "backup")
    (tmp_path / "b" / "roles" / "__pycache__").mkdir()
    (tmp_path / "b" / "roles" / "__pycache__" / "x.pyc").touch()
    os.utime(tmp_path / "b" / "roles" / "backup" / "README.md", (0, 0))
    assert packed(tmp_path / "a") == packed(tmp_path / "b")
    (tmp_path / "b" / "roles" / "backup" / "README.md").write_text("other")
    assert packed(tmp_path / "a") != packed(tmp_path / "b")
