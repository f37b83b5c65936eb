# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proof belongs to one manifest, and nobody changes either of them unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _proof
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import select
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import (
    MANIFEST,
    PROOF,
    Backup,
    read_backup,
    seal,
    verify_files,
)
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import (
    FAILED,
    INVALID,
    NONE,
    PROVED,
    Proof,
    read_proof,
    write_proof,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import SERVER_ID, published


def proof_of(backup: Backup, state: str = PROVED, **changes: object) -> Proof:
    return replace(
        Proof(
            state,
            backup.manifest.id,
            _proof.manifest_sha256(backup),
            "2026-11-23T04:00:00Z",
            compared=("3 rows in 1 table",),
            failures=("table public.users is missing",) if state == FAILED else (),
            seconds={"restore": 1.5},
        ),
        **changes,
    )


def written(folder: Path, backup: Backup, proof: Proof) -> Path:
    work = folder / ".work"
    work.mkdir(exist_ok=True)
    write_proof(backup, proof, str(work))
    assert list(work.iterdir()) == []
    return Path(backup.path, PROOF)


def test_a_proof_reads_back_as_it_was_written(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = written(tmp_path, backup, proof_of(backup))
    assert read_proof(backup) == proof_of(backup)
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify_files(read_backup(backup.path)) == (), "it is no foreign file"


def test_the_last_one_counts(tmp_path: Path) -> None:
    backup = published(tmp_path)
    written(tmp_path, backup, proof_of(backup, FAILED))
    written(tmp_path, backup, proof_of(backup))
    assert read_proof(backup).state == PROVED


def test_of_a_backup_that_nobody_has_tried_nothing_is_known(tmp_path: Path) -> None:
    assert read_proof(published(tmp_path)) == Proof(NONE)


def test_a_change_anywhere_in_it_makes_it_worth_nothing(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = written(tmp_path, backup, proof_of(backup, FAILED))
    whole = path.read_bytes()
    for text in (whole.replace(b"failed", b"proved"), whole[:-20], b"", b"[]", b"null", b"{}"):
        path.write_bytes(text)
        found = read_proof(backup)
        assert found.state == INVALID and str(path) in found.failures[0]


def test_one_that_was_edited_and_sealed_again_lacks_what_it_needs(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = written(tmp_path, backup, proof_of(backup))
    data = json.loads(path.read_text())
    data.pop("seal")
    data.pop("compared")
    path.write_text(json.dumps(dict(data, seal=seal(data))))
    assert read_proof(backup).state == INVALID


def test_one_of_a_newer_version_says_nothing_here(tmp_path: Path) -> None:
    backup = published(tmp_path)
    written(tmp_path, backup, proof_of(backup, format=_proof.FORMAT + 1))
    assert "newer version" in read_proof(backup).failures[0]


def test_a_copied_one_proves_nothing(tmp_path: Path) -> None:
    one, other = published(tmp_path), published(tmp_path, id="chat_20261122_030000")
    written(tmp_path, one, proof_of(one))
    Path(other.path, PROOF).write_bytes(Path(one.path, PROOF).read_bytes())
    assert "another manifest" in read_proof(other).failures[0]


def test_a_manifest_that_was_changed_with_new_sums_is_not_proved_any_more(tmp_path: Path) -> None:
    """Whoever changes a dump and makes its sums and seal anew is seen here."""
    backup = published(tmp_path)
    written(tmp_path, backup, proof_of(backup))
    path = Path(backup.path, MANIFEST)
    data = json.loads(path.read_text())
    data.pop("seal")
    data["large_objects"] += 1
    path.write_text(json.dumps(dict(data, seal=seal(data))))
    assert read_proof(read_backup(backup.path)).state == INVALID


# --- what 'latest' means --------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> list[Backup]:
    """Newest first."""
    return [
        published(tmp_path, id="chat_202611%02d_030000" % day, created="2026-11-%02dT03:00:00Z" % day, next_transaction=day)
        for day in (23, 22, 21)
    ]


def test_the_latest_is_none_that_does_not_come_back(three: list[Backup], tmp_path: Path) -> None:
    written(tmp_path, three[0], proof_of(three[0], FAILED))
    assert select(three, "latest", SERVER_ID, "chat") == three[1]
    assert select(three, "2026-11-23T12:00", SERVER_ID, "chat") == three[1]
    assert select(three, three[0].manifest.id, SERVER_ID, "chat") == three[0], "by its id it can be had"


def test_where_none_comes_back_the_way_on_is_said(three: list[Backup], tmp_path: Path) -> None:
    for backup in three:
        written(tmp_path, backup, proof_of(backup, FAILED))
    with pytest.raises(DbopsError, match=r"did not come back in a test restore: chat_20261123_030000, .*Name one by its id"):
        select(three, "latest", SERVER_ID, "chat")
