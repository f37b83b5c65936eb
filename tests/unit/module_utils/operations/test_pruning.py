# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing backups: only what the policy keeps for no reason, never half, and replaced databases only where a backup of them is proved."""

from __future__ import annotations

import datetime
import json
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _catalogue
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import Backup
from ansible_collections.dbops.postgres.plugins.module_utils.archive._proof import FAILED, PROVED
from ansible_collections.dbops.postgres.plugins.module_utils.archive._retention import Policy, Within
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _pruning
from ansible_collections.dbops.postgres.plugins.module_utils.operations._pruning import prune
from ansible_collections.dbops.postgres.plugins.module_utils.operations._retention_options import policy_from
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import moment
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_retention import NEWEST
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import AT, OTHER_RUN, SERVER_ID, FakeConnection, operation, published

KEPT = "chat_before_restore_20261101_030000"


def server(kept: dict[str, str] | None = None, opened: tuple[str, ...] = ()) -> FakeConnection:
    """A server that knows UTC, and replaced databases: ``{name: when}``, all by one run."""
    facts = {"of": "chat", "by": "restore", "run_id": OTHER_RUN, "number": 1}

    def local(_text: str, parameters: tuple[str, list[str]]) -> list[tuple[datetime.datetime]]:
        return [(moment(made).replace(tzinfo=None),) for made in parameters[1]]

    return FakeConnection(
        {
            "pg_timezone_names": lambda _text, parameters: [(1,)] if parameters[0] == "UTC" else [],
            "AT TIME ZONE": local,
            "WHERE datallowconn": [(name,) for name in opened],
            "setrole = 0 AND split_part": [(name, json.dumps(dict(facts, at=at))) for name, at in (kept or {}).items()],
            "pg_database_size": [(4096,)],
        }
    )


class Stage:
    def __init__(self, folder: Path, kept: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.server = server(kept)

    def publish(self, day: int, proof: str = PROVED, **changes: t.Any) -> Backup:
        made = "2026-11-%02dT03:00:00Z" % day
        backup: Backup = published(self.folder, **{"id": "chat_202611%02d_030000" % day, "created": made, **changes})
        if proof:
            written(self.folder, backup, proof_of(backup, proof))
            (self.folder / ".work").rmdir()
        return backup

    def prune(self, policy: Policy | None = None, days: int = -1, check_mode: bool = False) -> Result:
        self.operation: Operation = operation(self.folder, self.server, risk=Risk.SAVE, check_mode=check_mode)
        return prune(self.operation, Policy(keep_last=1, kept_database_days=days) if policy is None else policy)

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pruning, "utc_now", lambda: AT)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_is_kept_for_no_reason_goes(stage: Stage) -> None:
    for day in (21, 22, 23):
        stage.publish(day)
    result = stage.prune()
    assert result.changed and stage.left == ["chat_20261123_030000"]
    assert result.facts["removed"] == ["chat_20261121_030000", "chat_20261122_030000"]
    assert result.facts["kept_because"] == {"chat_20261123_030000": [*NEWEST, "last"]}
    assert result.summary[0].startswith("Removed 2 of 3 backups of database 'chat' (")
    assert result.summary[1].split("  ")[-1] == ", ".join([*NEWEST, "last"])
    assert stage.operation.lock.journal[0] == "take proofs", "what is decided by proofs must not change meanwhile"  # type: ignore[attr-defined]
    again = stage.prune()
    assert not again.changed and again.facts["removed"] == []


def test_check_mode_says_the_same_and_removes_nothing(stage: Stage) -> None:
    for day in (22, 23):
        stage.publish(day)
    check = stage.prune(check_mode=True)
    assert stage.left == ["chat_20261122_030000", "chat_20261123_030000"]
    run = stage.prune()
    assert (check.changed, check.facts, check.diff) == (run.changed, run.facts, run.diff)
    assert check.diff and check.diff["after"] == "chat_20261123_030000\n"
    assert check.summary[0].startswith("Would remove 1 of 2") and run.summary[0].startswith("Removed 1 of 2")


def test_nothing_goes_while_the_newest_is_not_proved(stage: Stage) -> None:
    stage.publish(22)
    stage.publish(23, proof="")
    result = stage.prune()
    assert not result.changed and len(stage.left) == 2
    assert "not proved" in "".join(result.summary)


def test_one_that_cannot_be_read_stays_and_is_named(stage: Stage) -> None:
    for day in (22, 23):
        stage.publish(day)
    (stage.folder / "chat_20261122_030000" / "manifest.json").write_text("{")
    stage.prune()
    assert stage.left == ["chat_20261122_030000", "chat_20261123_030000"]
    assert stage.operation.warnings == ["Unreadable, and left alone: 'chat_20261122_030000'."]


def test_what_is_half_removed_is_no_backup_and_goes_with_the_next_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (22, 23):
        stage.publish(day)

    def killed(_path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_catalogue, "remove_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.prune()
    archive = stage.operation.archive
    assert [backup.manifest.id for backup in archive.catalogue("chat")[0]] == ["chat_20261123_030000"]
    [left] = archive.leftovers(lambda _run: False)
    assert "-%s-" % SERVER_ID in Path(left).name, "so that the next run's clean-up knows whose it is"


def test_a_time_zone_that_nobody_knows_is_refused(stage: Stage) -> None:
    stage.publish(23)
    with pytest.raises(DbopsError, match=r"knows no time zone 'Mars/Olympus' \(time_zone in dbops_retention\)"):
        stage.prune(Policy(keep_last=1, time_zone="Mars/Olympus"))


def test_without_a_policy_nothing_is_removed(stage: Stage) -> None:
    stage.publish(23)
    running = operation(stage.folder, stage.server, risk=Risk.SAVE)
    with pytest.raises(DbopsError, match=r"Nothing says which backups are kept.*dbops_retention: \{keep_daily: 14"):
        prune(running, None)


# --- replaced databases ---------------------------------------------------------------------------------------------------


def replaced(folder: Path, proof: str = PROVED, days: int = 14, run_id: str = OTHER_RUN, opened: bool = False) -> tuple[Stage, Result]:
    stage = Stage(folder, {KEPT: "2026-11-01T03:00:00Z"})
    stage.server.answers["WHERE datallowconn"] = [(KEPT,)] if opened else []
    stage.publish(23)
    if proof != "no backup":
        stage.publish(1, proof=proof, reason="before_restore", run_id=run_id)
    return stage, stage.prune(days=days)


def test_a_replaced_database_goes_where_its_backup_is_proved(tmp_path: Path) -> None:
    stage, result = replaced(tmp_path)
    assert result.facts["dropped_databases"] == [KEPT]
    assert stage.server.said("DROP DATABASE") == ['DROP DATABASE IF EXISTS "%s" WITH (FORCE)' % KEPT]
    assert "chat_20261101_030000" in stage.left, "its backup stays as long as the database was there"
    assert "'chat_20261101_030000' is a proved backup" in result.summary[-1]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"days": -1}, "replaced databases are kept (kept_database_days in dbops_retention)"),
        ({"days": 60}, "kept until 2026-12-31"),
        ({"proof": ""}, "verify_backups.yml -l chat-production -e dbops_verify_select=chat_20261101_030000"),
        ({"proof": FAILED}, "its backup 'chat_20261101_030000' did not come back, so it is the only one"),
        ({"proof": "no backup"}, 'there is no backup of it; to drop it by hand: DROP DATABASE "%s"' % KEPT),
        ({"run_id": "20261031T030000_bbbbbb"}, "there is no backup of it"),  # of what it was before it was live again
        ({"opened": True}, "it takes connections, so somebody may work with it"),
    ],
)
def test_else_it_is_kept_and_why_is_said(tmp_path: Path, given: dict[str, t.Any], why: str) -> None:
    stage, result = replaced(tmp_path, **given)
    assert stage.server.said("DROP DATABASE") == []
    assert why in result.facts["kept_databases"][KEPT] and why in result.summary[-1]


def test_one_whose_backup_was_damaged_since_it_was_proved_is_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {KEPT: "2026-11-01T03:00:00Z"})
    stage.publish(23)
    path = Path(stage.publish(1, reason="before_restore", run_id=OTHER_RUN).path, "dump", "toc.dat")
    path.write_bytes(b"x" * path.stat().st_size)
    result = stage.prune(days=14)
    assert "is damaged now, so it is the only one" in result.facts["kept_databases"][KEPT]
    assert stage.server.said("DROP DATABASE") == []


def test_the_live_database_is_never_one_of_them(tmp_path: Path) -> None:
    """Somebody went back by hand, with ALTER DATABASE ... RENAME: what is known of it went along."""
    stage = Stage(tmp_path, {"chat": "2026-11-01T03:00:00Z"})
    stage.publish(23)
    stage.publish(1, reason="before_restore", run_id=OTHER_RUN)
    result = stage.prune(days=0)
    assert (result.facts["dropped_databases"], result.facts["kept_databases"]) == ([], {})
    assert stage.server.said("DROP DATABASE") == []


def test_in_check_mode_none_is_dropped(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {KEPT: "2026-11-01T03:00:00Z"})
    stage.publish(23)
    stage.publish(1, reason="before_restore", run_id=OTHER_RUN)
    result = stage.prune(days=14, check_mode=True)
    assert result.facts["dropped_databases"] == [KEPT] and result.changed
    assert stage.server.said("DROP DATABASE") == []


# --- what is no backup of this server's own -------------------------------------------------------------------------------


def test_somebodys_copy_stays_and_counts_for_nothing(stage: Stage) -> None:
    for day in (21, 22, 23):
        stage.publish(day)
    shutil.copytree(stage.folder / "chat_20261121_030000", stage.folder / "KEEP_chat_20261121_030000")
    result = stage.prune(Policy(keep_last=2))
    assert stage.left == ["KEEP_chat_20261121_030000", "chat_20261122_030000", "chat_20261123_030000"]
    assert result.facts["kept_because"]["KEEP_chat_20261121_030000"] == ["somebody's copy of 'chat_20261121_030000'"]


def test_a_backup_that_lies_elsewhere_stays(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> None:
    for day in (22, 23):
        stage.publish(day)
    elsewhere = tmp_path_factory.mktemp("disk") / "chat_20261122_030000"
    (stage.folder / "chat_20261122_030000").rename(elsewhere)
    (stage.folder / "chat_20261122_030000").symlink_to(elsewhere)
    stage.prune()
    assert len(stage.left) == 2 and elsewhere.is_dir()


def test_a_proof_of_files_that_are_gone_holds_nothing_up(stage: Stage) -> None:
    """The newest was proved, then emptied: the good ones before it stay."""
    for day in (21, 22, 23):
        stage.publish(day)
    (stage.folder / "chat_20261123_030000" / "dump" / "toc.dat").write_bytes(b"")
    result = stage.prune()
    assert not result.changed and len(stage.left) == 3
    assert "backup.yml -l chat-production" in result.summary[-1]


def test_one_that_cannot_be_removed_is_said_with_what_was_done_by_then(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (21, 22, 23):
        stage.publish(day)
    removed: list[str] = []

    def remove(path: str) -> None:
        removed.append(path)
        if len(removed) == 2:
            raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_catalogue, "remove_folder", remove)
    with pytest.raises(DbopsError, match=r"Permission denied.*By then these were removed: chat_20261121_030000\."):
        stage.prune()


# --- the policy as it is given --------------------------------------------------------------------------------------------


def test_a_policy_is_taken_as_it_is_given() -> None:
    given = {"keep_daily": 7, "keep_yearly": -1, "keep_within": "2w", "pin_days": 0, "time_zone": "Asia/Tokyo", "without_proof": True}
    assert policy_from(given) == Policy(
        keep_daily=7, keep_yearly=-1, keep_within=Within(days=14), pin_days=0, time_zone="Asia/Tokyo", without_proof=True
    )
    assert policy_from(None) is None and policy_from({}) is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"keep_daily": 0, "pin_days": 30}, "would keep nothing, so nothing was removed"),
        ({"keep_daily": -2}, "keep_daily has to be a number from 0 on, or -1"),
        ({"keep_last": 1, "pin_days": -1}, "pin_days has to be"),
        ({"keep_last": 1, "pin_days": 10000000}, "pin_days has to be"),
        ({"keep_last": 1, "kept_database_days": -2}, "kept_database_days has to be"),
        ({"keep_within": "0d"}, "would keep nothing"),
        ({"keep_within": "two weeks"}, "keep_within is a length of time such as 14d or 1y6m, not 'two weeks'"),
    ],
)
def test_one_that_makes_no_sense_is_refused(given: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(DbopsError, match=sentence):
        policy_from(given)
