# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of backups: what it shows, and that it goes on where a backup is damaged."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, PROVED
from ansible_collections.dbops.postgres.plugins.module_utils.looks._backups import list_backups
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_offsite_copy import sent
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_retention import NEWEST
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import operation, published
from ansible_collections.dbops.postgres.tests.unit.module_utils.operations.test_pruning import server


def listed(folder: Path, verify: bool = False, policy: dict[str, t.Any] | None = None) -> Result:
    return list_backups(operation(folder, t.cast(t.Any, server())), verify, policy)


def test_the_catalogue_is_listed_without_reading_the_files(tmp_path: Path) -> None:
    backup = published(tmp_path)
    Path(backup.dump, "toc.dat").write_bytes(b"")
    result = listed(tmp_path)
    assert not result.changed
    assert [item["id"] for item in result.facts["backups"]] == ["chat_20261123_030000"]
    assert (result.facts["damaged"], result.facts["verified"]) == ({}, False)


def test_verifying_names_every_damaged_backup_and_goes_on(tmp_path: Path) -> None:
    for day in ("21", "22", "23"):
        published(tmp_path, id="chat_202611%s_030000" % day, created="2026-11-%sT03:00:00Z" % day)
    (tmp_path / "chat_20261123_030000" / "dump" / "toc.dat").write_bytes(b"")
    (tmp_path / "chat_20261121_030000" / "dump" / "1.dat.gz").unlink()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    result = listed(tmp_path, verify=True)
    assert set(result.facts["damaged"]) == {"chat_20261123_030000", "chat_20261121_030000"}
    assert result.facts["unreadable"] == ["broken"]
    assert result.summary[0].startswith("3 backups of database 'chat'")
    assert any("'broken'" in line for line in result.summary) and any("toc.dat" in line for line in result.summary)


def test_a_row_tells_age_size_proof_and_why_it_is_kept(tmp_path: Path) -> None:
    for day in (23, 22, 20):
        published(tmp_path, id="chat_202611%02d_030000" % day, created="2026-11-%02dT00:00:00Z" % day)
    backups = operation(tmp_path).archive.catalogue("chat")[0]
    written(tmp_path, backups[0], proof_of(backups[0]))
    written(tmp_path, backups[2], proof_of(backups[2], FAILED))
    sent(tmp_path, backups[0])
    result = listed(tmp_path, policy={"keep_daily": 1})
    rows = [re.split(r"  +", line) for line in result.summary[1:5]]
    assert [[row[0], row[1], row[4], row[5], row[6]] for row in rows] == [
        ["backup", "age", "proved", "offsite", "kept because"],
        ["chat_20261123_030000", "3 h", "2026-11-23T04:00:00Z", "2026-11-23T05:00:00Z", ", ".join([*NEWEST, "daily 2026-11-23"])],
        ["chat_20261122_030000", "1 d 3 h", "no", "no", "nothing: prune_backups.yml removes it"],
        ["chat_20261120_030000", "3 d 3 h", "FAILED 2026-11-23T04:00:00Z", "no", "nothing: prune_backups.yml removes it"],
    ]
    assert result.facts["proofs"]["chat_20261123_030000"]["state"] == PROVED
    assert result.facts["kept_because"]["chat_20261122_030000"] == []


def test_without_a_policy_nothing_is_said_about_removing(tmp_path: Path) -> None:
    published(tmp_path)
    result = listed(tmp_path)
    assert "kept" not in result.summary[1] and result.facts["kept_because"] == {}


@pytest.mark.parametrize("policy", [{"keep_daily": 0, "pin_days": 30}, {"keep_daily": 1, "time_zone": "Mars"}])
def test_a_policy_that_makes_no_sense_does_not_keep_the_table_away(tmp_path: Path, policy: dict[str, t.Any]) -> None:
    published(tmp_path)
    running = operation(tmp_path, t.cast(t.Any, server()))
    result = list_backups(running, False, policy)
    assert "chat_20261123_030000" in result.summary[2] and "kept because" not in result.summary[1]
    assert running.warnings[0].startswith("Why each backup is kept cannot be told.")


def test_a_proof_that_was_changed_is_said_to_be(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = written(tmp_path, backup, proof_of(backup))
    path.write_text(path.read_text().replace("2026", "2027"))
    result = listed(tmp_path)
    assert "proof changed" in result.summary[2]
    assert any("was changed after it was written" in line for line in result.summary)


def test_an_empty_folder_has_no_table(tmp_path: Path) -> None:
    assert listed(tmp_path).summary == ["0 backups of database 'chat' in '%s'." % tmp_path]
