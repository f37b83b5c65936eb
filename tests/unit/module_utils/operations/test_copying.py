# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sending backups elsewhere: all that are not there, nothing that is damaged, nothing twice, and what has become known of them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._offsite_copy import read_offsite_copy
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._copies import read_copies
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _copying
from ansible_collections.dbops.postgres.plugins.module_utils.operations._copying import CopyOptions, copy_backups
from ansible_collections.dbops.postgres.plugins.module_utils.operations._offsite_options import restic_of
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, FakeRestic, operation, published


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "backups"
        self.folder.mkdir()
        self.restic = FakeRestic(folder / "there")
        self.operation: Operation

    def publish(self, *days: int) -> list[Backup]:
        return [published(self.folder, id="chat_202611%02d_030000" % day, created="2026-11-%02dT03:00:00Z" % day) for day in days]

    def copy(self, select: str = "missing", check_mode: bool = False, **options: t.Any) -> Result:
        self.restic.asked.clear()
        self.operation = operation(self.folder, FakeConnection(), risk=Risk.ASIDE, check_mode=check_mode)
        try:
            return copy_backups(self.operation, t.cast(t.Any, self.restic), CopyOptions(select, **options))
        finally:
            self.operation.close()

    @property
    def there(self) -> dict[str, str]:
        return {copy.backup: copy.proof for copy in read_copies(self.restic.snapshots(["dbops"]))}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_all_that_are_not_there_are_sent_newest_first_and_once(stage: Stage) -> None:
    backups = stage.publish(21, 23, 22)
    done = stage.copy()
    assert done.changed and stage.restic.asked == ["send chat_202611%d_030000" % day for day in (23, 22, 21)]
    assert [item["backup"] for item in done.facts["copied"]] == done.facts["to_copy"] == done.journal["copied"]
    for backup in backups:
        known = read_offsite_copy(backup)
        assert known and known.repository == "s3:https://backup.example.com/chat"
    again = stage.copy()
    assert not again.changed and stage.restic.asked == [] and "already; it holds 3 copies" in again.summary[0]
    assert not list(stage.restic.there.glob("**/offsite.json")), "what is known of the copy is no part of it"


def test_check_mode_says_the_same_and_sends_nothing(stage: Stage) -> None:
    stage.publish(22)
    stage.copy()
    stage.publish(23)
    check = stage.copy(check_mode=True)
    assert stage.restic.asked == [] and list(stage.there) == ["chat_20261122_030000"]
    assert "Would send 1 backup to 's3:https://backup.example.com/chat': 'chat_20261123_030000' (" in check.summary[0]
    run = stage.copy()
    assert (check.changed, check.diff, check.facts["to_copy"]) == (run.changed, run.diff, run.facts["to_copy"])


def test_what_becomes_known_of_one_follows(stage: Stage) -> None:
    [backup] = stage.publish(23)
    stage.copy()
    written(stage.folder, backup, proof_of(backup))
    assert stage.copy().changed and stage.there == {"chat_20261123_030000": "proved"}
    written(stage.folder, backup, proof_of(backup, FAILED, at="2026-11-25T04:00:00Z"))
    done = stage.copy()
    assert done.changed and stage.there == {"chat_20261123_030000": "failed"}
    assert any("did not come back" in warning for warning in stage.operation.warnings)
    assert not stage.copy().changed


def test_one_that_does_not_come_back_is_sent_by_its_id_only(stage: Stage) -> None:
    [backup] = stage.publish(23)
    written(stage.folder, backup, proof_of(backup, FAILED))
    assert not stage.copy().changed and stage.there == {}
    assert stage.copy("chat_20261123_030000").changed and stage.there == {"chat_20261123_030000": "failed"}


def test_a_damaged_one_is_not_sent_and_keeps_no_other_back(stage: Stage) -> None:
    _first, damaged, _last = stage.publish(21, 22, 23)
    Path(damaged.dump, "toc.dat").write_bytes(b"tic" * 100)
    with pytest.raises(DbopsError, match=r"Backup 'chat_20261122_030000' was not sent.*SHA-256") as caught:
        stage.copy()
    assert sorted(stage.there) == ["chat_20261121_030000", "chat_20261123_030000"]
    assert [item["backup"] for item in caught.value.details["copied"]] == ["chat_20261123_030000", "chat_20261121_030000"]


def test_the_repositorys_trouble_is_told_once(stage: Stage) -> None:
    stage.publish(21, 22, 23)
    stage.restic.refusing = {"chat_20261122_030000": "no room left"}
    with pytest.raises(DbopsError, match=r"'chat_20261122_030000' was not sent. no room left") as caught:
        stage.copy(check="5%")
    assert stage.restic.asked == ["send chat_20261123_030000", "send chat_20261122_030000"]
    assert "Backup 'chat_20261123_030000' is in" in caught.value.message


def test_a_wrong_address_does_not_become_a_new_repository(stage: Stage) -> None:
    stage.publish(23)
    stage.restic.made = False
    for check_mode in (True, False):
        with pytest.raises(DbopsError, match=r"copy_backups.yml -l chat-production -e dbops_copy_init=true"):
            stage.copy(check_mode=check_mode)
    assert stage.copy(check_mode=True, init=True).summary[0].startswith("Would make the repository") and stage.restic.asked == []
    assert stage.copy(init=True).changed and stage.restic.asked == ["create", "send chat_20261123_030000"]


def test_what_nobody_has_seen_complete_is_sent_again_and_counts_before_it(stage: Stage) -> None:
    """restic keeps half of a backup, with all tags, where a file cannot be read or a run is killed."""
    [backup] = stage.publish(23)
    stage.copy()
    [first] = stage.restic.snapshots(["dbops"])
    (stage.restic.there / first.id / backup.name / "dump" / "toc.dat").unlink()
    Path(backup.path, "offsite.json").unlink()
    assert stage.copy().changed and stage.restic.asked == ["send chat_20261123_030000"]
    [copy] = read_copies(stage.restic.snapshots(["dbops"]))
    assert (copy.sequence, copy.snapshot) == (2, "00000002-of-ours")
    assert not stage.copy().changed


def test_another_repository_has_none_of_them(stage: Stage, tmp_path: Path) -> None:
    stage.publish(23)
    stage.copy()
    stage.restic = FakeRestic(tmp_path / "another")
    assert stage.copy().facts["to_copy"] == ["chat_20261123_030000"]


def test_one_that_cannot_be_read_keeps_no_other_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.publish(22, 23)
    real = _copying.verify_files

    def refusing(backup: Backup) -> tuple[str, ...]:
        if backup.manifest.id == "chat_20261123_030000":
            raise PermissionError(13, "Permission denied", "toc.dat")
        return real(backup)

    monkeypatch.setattr(_copying, "verify_files", refusing)
    with pytest.raises(DbopsError, match=r"'chat_20261123_030000' was not sent.*Permission denied"):
        stage.copy()
    assert list(stage.there) == ["chat_20261122_030000"]


def test_a_lock_is_removed_where_somebody_says_so(stage: Stage) -> None:
    stage.publish(23)
    stage.copy(unlock=True)
    assert stage.restic.asked == ["unlock", "send chat_20261123_030000"]


def test_newest_is_one(stage: Stage) -> None:
    stage.publish(21, 22)
    assert stage.copy("newest").facts["to_copy"] == ["chat_20261122_030000"]
    assert not stage.copy("newest").changed


def test_a_share_of_it_is_read(stage: Stage) -> None:
    stage.publish(23)
    done = stage.copy(check="5%")
    assert stage.restic.asked[-1] == "check 5%" and "5% of it was read" in done.summary[-1]


def test_where_there_is_nothing_to_send_it_fails(stage: Stage) -> None:
    with pytest.raises(DbopsError, match=r"There is no backup of database 'chat'.*backup.yml -l chat-production"):
        stage.copy()
    stage.publish(23)
    with pytest.raises(DbopsError, match=r"There is no backup 'chat_1'.*missing, newest, or an id"):
        stage.copy("chat_1")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "Nothing says where copies are kept.*dbops_offsite_repository: s3:"),
        ({"repository": "  "}, "Nothing says where copies are kept"),
        ({"repository": "/mnt/nas"}, "needs its password.*dbops_offsite_password_file"),
        ({"repository": "/mnt/nas", "password_file": "/none/word"}, "'/none/word', cannot be read on this host"),
        ({"repository": "/mnt/nas", "password": "word", "upload_limit": -1}, "KiB per second"),
        ({"repository": "nas/backups", "password": "word"}, "an absolute path, not 'nas/backups'"),
        (
            {"repository": "/mnt/nas", "password": "word", "environment": {"RESTIC_PASSWORD_COMMAND": "x"}},
            "RESTIC_PASSWORD_COMMAND does not belong",
        ),
    ],
)
def test_what_is_missing_is_said(given: dict[str, t.Any] | None, said: str) -> None:
    with pytest.raises(DbopsError, match=said):
        restic_of(operation(), given)


def test_its_secrets_are_masked() -> None:
    running = operation()
    given = {
        "repository": "rest:https://ann:a%2Fword@backup/chat",
        "password": "the password\n",
        "environment": {"AZURE_ACCOUNT_KEY": "key-of-hers", "AWS_DEFAULT_REGION": "eu", "NOT_GIVEN": None},
    }
    restic = restic_of(running, given)
    assert str(restic.repository) == "rest:https://ann:********@backup/chat"
    masked = running.redactor.text("a/word, a%2Fword, the password, key-of-hers, eu")
    assert not any(word in masked for word in ("a/word", "a%2Fword", "the password", "key-of-hers")) and masked.endswith("eu")
    assert restic.repository.host == "chat-production"
