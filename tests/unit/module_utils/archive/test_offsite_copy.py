# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written down of a copy elsewhere: about one manifest, and no file of the backup's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _proof
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import OFFSITE, Backup, read_backup, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.archive._offsite_copy import (
    OffsiteCopy,
    read_offsite_copy,
    write_offsite_copy,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import published


def sent(folder: Path, backup: Backup) -> OffsiteCopy:
    work = folder / ".work"
    work.mkdir(exist_ok=True)
    copy = OffsiteCopy("s3:there", "54c91407", "2026-11-23T05:00:00Z", _proof.manifest_sha256(backup))
    write_offsite_copy(backup, copy, str(work))
    return copy


def test_it_reads_back_as_it_was_written_and_is_no_foreign_file(tmp_path: Path) -> None:
    backup = published(tmp_path)
    assert read_offsite_copy(backup) is None
    copy = sent(tmp_path, backup)
    assert read_offsite_copy(backup) == copy
    assert verify_files(read_backup(backup.path)) == ()
    assert sent(tmp_path, backup) == copy, "the later one counts"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": 1}'])
def test_what_cannot_be_read_says_nothing(text: str, tmp_path: Path) -> None:
    backup = published(tmp_path)
    Path(backup.path, OFFSITE).write_text(text)
    assert read_offsite_copy(backup) is None


def test_of_another_manifest_it_says_nothing(tmp_path: Path) -> None:
    backup = published(tmp_path)
    copy = sent(tmp_path, backup)
    write_offsite_copy(backup, replace(copy, manifest_sha256="0" * 64), str(tmp_path / ".work"))
    assert read_offsite_copy(backup) is None
