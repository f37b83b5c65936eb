# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup that comes back from elsewhere: whole and the same, or not at all."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import seal, verify_files
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._copies import read_copies
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.operations._offsite_source import Fetched, fetch_backup
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, operation
from ansible_collections.dbops.postgres.tests.unit.module_utils.operations.test_copying import Stage

ID = "chat_20261123_030000"


class Fetching:
    """A stage whose backup was sent, and whose host has lost its backups."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.stage.publish(22, 23)
        self.stage.copy()
        self.folder = self.stage.folder
        self.operation: Operation

    def lose(self) -> None:
        shutil.rmtree(self.folder)

    def fetch(self, wanted: str = "latest", check_mode: bool = False) -> Fetched:
        self.stage.restic.asked.clear()
        self.operation = operation(self.folder, FakeConnection(), risk=Risk.OVERWRITE, check_mode=check_mode)
        return fetch_backup(self.operation, t.cast(t.Any, self.stage.restic), wanted)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def lost(tmp_path: Path) -> Fetching:
    made = Fetching(tmp_path)
    made.lose()
    return made


def test_it_comes_back_into_the_backup_folder(lost: Fetching) -> None:
    fetched = lost.fetch()
    assert fetched.backup.path == str(lost.folder / ID) and not fetched.only_manifest
    assert verify_files(fetched.backup) == ()
    lost.operation.close()
    assert lost.names == [ID], "nothing else is left"
    assert Archive(str(lost.folder)).catalogue("chat")[0][0].manifest.id == ID


def test_an_older_one_by_its_time(lost: Fetching) -> None:
    assert lost.fetch("2026-11-22T12:00").backup.manifest.id == "chat_20261122_030000"


def test_check_mode_looks_at_the_manifest_and_writes_nothing(lost: Fetching) -> None:
    fetched = lost.fetch(check_mode=True)
    assert fetched.only_manifest and fetched.backup.manifest.id == ID
    assert lost.names == [] and lost.stage.restic.asked == []
    lost.operation.close()


def test_one_that_is_here_and_whole_is_not_fetched(tmp_path: Path) -> None:
    here = Fetching(tmp_path)
    assert here.fetch().backup.path == str(here.folder / ID)
    assert here.stage.restic.asked == [] and "it was not fetched" in here.operation.warnings[0]


def test_a_damaged_one_stays_beside_it(tmp_path: Path) -> None:
    here = Fetching(tmp_path)
    (here.folder / ID / "dump" / "toc.dat").write_bytes(b"tic" * 100)
    for name in (ID + ".offsite", ID + ".offsite-2"):
        fetched = here.fetch()
        assert Path(fetched.backup.path).name == name
        assert verify_files(fetched.backup) == ()
        here.operation.close()
        (here.folder / name / "dump" / "toc.dat").write_bytes(b"tic" * 100)


def test_one_that_was_changed_there_is_refused(lost: Fetching) -> None:
    """Its seal is right: who can write there can write one. But the copy was of another manifest."""
    [there] = lost.stage.restic.there.glob("*/%s/manifest.json" % ID)
    data = json.loads(there.read_text())
    del data["seal"]
    data["large_objects"] = 3
    there.write_text(json.dumps(dict(data, seal=seal(data))))
    for check_mode in (True, False):
        with pytest.raises(DbopsError, match="is not backup '%s' as it was sent" % ID):
            lost.fetch(check_mode=check_mode)
        lost.operation.close()
    assert lost.names == []


def test_one_that_comes_back_damaged_gets_no_name(lost: Fetching) -> None:
    [there] = lost.stage.restic.there.glob("*/%s/dump/toc.dat" % ID)
    there.write_bytes(b"tic" * 100)
    with pytest.raises(DbopsError, match="is damaged"):
        lost.fetch()
    lost.operation.close()
    assert lost.names == []


def test_where_the_last_snapshot_is_half_a_backup_an_earlier_one_comes_back(tmp_path: Path) -> None:
    """A run was killed while it sent what has become known of it, and then the host was lost."""
    here = Fetching(tmp_path)
    [backup] = [found for found in Archive(str(here.folder)).catalogue("chat")[0] if found.manifest.id == ID]
    written(here.folder, backup, proof_of(backup))
    here.stage.copy()
    [copy] = [found for found in read_copies(here.stage.restic.snapshots(["dbops"])) if found.backup == ID]
    assert len(copy.earlier) == 1
    (here.stage.restic.there / copy.snapshot / ID / "dump" / "toc.dat").unlink()
    here.lose()
    fetched = here.fetch()
    assert here.stage.restic.asked == ["fetch " + copy.snapshot, "fetch " + copy.earlier[0]]
    assert verify_files(fetched.backup) == () and any("is not whole, an earlier one is tried" in said for said in here.operation.warnings)
    here.operation.close()
    assert here.names == [ID]


def test_without_room_nothing_is_fetched(lost: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Archive, "free_space", lambda _self: 10)
    with pytest.raises(DbopsError, match="too little room in .* for backup '%s'" % ID):
        lost.fetch()
    assert lost.stage.restic.asked == []


@pytest.mark.parametrize("wanted", ["", "/opt/backups/chat.sql"])
def test_a_path_is_of_this_host(wanted: str, lost: Fetching) -> None:
    with pytest.raises(DbopsError, match="latest, the id of a backup, or a UTC time"):
        lost.fetch(wanted)


def test_where_there_is_no_copy_of_it_the_name_may_be_another(lost: Fetching) -> None:
    lost.stage.restic._kept.clear()
    with pytest.raises(DbopsError, match=r"under the name 'chat-production'.*dbops_offsite_host"):
        lost.fetch()


def test_without_a_repository(lost: Fetching) -> None:
    lost.stage.restic.made = False
    with pytest.raises(DbopsError, match="correct dbops_offsite_repository"):
        lost.fetch()


def test_that_another_server_made_it_is_said(lost: Fetching) -> None:
    lost.operation = operation(lost.folder, FakeConnection(), risk=Risk.OVERWRITE)
    object.__setattr__(lost.operation, "server", lost.operation.server.__class__("7300000000000000009", "17.5", 170005, False, True))
    fetched = fetch_backup(lost.operation, t.cast(t.Any, lost.stage.restic), "latest")
    assert fetched.backup.manifest.id == ID
    assert "was made on another server (7300000000000000001) than this one (7300000000000000009)" in lost.operation.warnings[0]
