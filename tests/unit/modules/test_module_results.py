# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation really returns is what its module documents, in check mode and in the run, with the same diff in both."""

from __future__ import annotations

import importlib
import json
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup import back_up
from ansible_collections.dbops.postgres.plugins.module_utils.operations._backup_options import BackupOptions
from ansible_collections.dbops.postgres.plugins.module_utils.operations._enroll import enroll
from ansible_collections.dbops.postgres.tests.unit.module_utils.diagnosis import test_diagnosis
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import published
from ansible_collections.dbops.postgres.tests.unit.module_utils.looks import (
    test_backups,
    test_info,
    test_past_migrations,
    test_preview_status,
    test_running,
    test_status,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.operations import (
    test_backup,
    test_copying,
    test_deployment,
    test_migration,
    test_pruning,
    test_recollation,
    test_rehearsal,
    test_reset,
    test_restore,
    test_schedule,
    test_seed,
    test_verification,
)

Play = t.Callable[[pytest.MonkeyPatch, Path, bool], Result]


def _backup(monkeypatch: pytest.MonkeyPatch, folder: Path, check: bool) -> Result:
    return back_up(test_backup.Stage(monkeypatch, folder).operation(check), BackupOptions())


def _restore(monkeypatch: pytest.MonkeyPatch, folder: Path, check: bool) -> Result:
    stage = test_restore.Stage(monkeypatch, folder)
    stage.publish()
    return stage.restore(check_mode=check)


def _undo(monkeypatch: pytest.MonkeyPatch, folder: Path, check: bool) -> Result:
    stage = test_restore.Stage(monkeypatch, folder)
    stage.kept = test_restore.kept(("second", "2026-11-22T03:00:00Z", "reset"))
    return stage.restore("undo", check_mode=check)


def _info(_monkeypatch: pytest.MonkeyPatch, folder: Path, _check: bool) -> Result:
    return test_info.look(folder)


def _catalogue(_monkeypatch: pytest.MonkeyPatch, folder: Path, _check: bool) -> Result:
    published(folder)
    return test_backups.listed(folder, verify=True, policy={"keep_last": 1})


def _copy(_monkeypatch: pytest.MonkeyPatch, folder: Path, check: bool) -> Result:
    stage = test_copying.Stage(folder)
    stage.publish(22, 23)
    return stage.copy(check_mode=check)


def _progress(monkeypatch: pytest.MonkeyPatch, folder: Path, _check: bool) -> Result:
    return test_running.looked(monkeypatch, folder)


def _past_schemas(_monkeypatch: pytest.MonkeyPatch, folder: Path, _check: bool) -> Result:
    return test_past_migrations.asked(folder, test_past_migrations.DONE)


def _prune(_monkeypatch: pytest.MonkeyPatch, folder: Path, check: bool) -> Result:
    stage = test_pruning.Stage(folder)
    stage.publish(22)
    stage.publish(23)
    return stage.prune(check_mode=check)


#: How each module's work is played; ``restore`` has two ways.
PLAYS: list[tuple[str, Play]] = [
    ("backup", _backup),
    ("backup_copy", _copy),
    ("backup_info", _catalogue),
    ("backup_prune", _prune),
    ("backup_verify", lambda monkeypatch, folder, check: test_verification.Stage(monkeypatch, folder).verify(check_mode=check)),
    ("database_diagnosis", lambda monkeypatch, folder, _check: test_diagnosis.Stage(monkeypatch, folder).diagnose()),
    ("database_info", _info),
    ("database_marker", lambda _monkeypatch, _folder, check: enroll(test_info.marking("production", check_mode=check)[0])),
    ("database_status", lambda monkeypatch, folder, _check: test_status.Stage(monkeypatch, folder).look()),
    ("database_reset", lambda monkeypatch, folder, check: test_reset.Stage(monkeypatch, folder).reset(check_mode=check)),
    ("deployment", lambda monkeypatch, folder, check: test_deployment.Stage(monkeypatch, folder).deploy(check)),
    ("migration", lambda monkeypatch, folder, check: test_migration.Stage(monkeypatch, folder).migrate(check_mode=check)),
    ("migration_plan", lambda monkeypatch, folder, check: test_migration.Stage(monkeypatch, folder).plan_only(check)),
    ("migration_rehearsal", lambda monkeypatch, folder, check: test_rehearsal.Stage(monkeypatch, folder).rehearse(check)),
    ("migration_info", _past_schemas),
    ("operation_progress", _progress),
    ("preview_branch_info", lambda monkeypatch, folder, check: test_preview_status.Stage(monkeypatch, folder).look(check_mode=check)),
    ("recollation", lambda monkeypatch, folder, check: test_recollation.Stage(monkeypatch, folder).recollate(check)),
    ("restore", _restore),
    ("restore", _undo),
    (
        "schedule",
        lambda monkeypatch, folder, check: test_schedule.Stage(monkeypatch, folder).schedule(test_schedule.JOBS, check_mode=check),
    ),
    ("seed", lambda monkeypatch, folder, check: test_seed.Stage(monkeypatch, folder).seed(check_mode=check)),
]

_TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "list": list, "dict": dict}


def documented(name: str) -> dict[str, t.Any]:
    module = importlib.import_module("ansible_collections.dbops.postgres.plugins.modules." + name)
    results: dict[str, t.Any] = yaml.safe_load(module.RETURN)
    return {key: result for key, result in results.items() if key not in ("summary", "operation")}


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
@pytest.mark.parametrize(("name", "play"), PLAYS)
def test_results_are_documented_and_documented_results_are_returned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, play: Play, check: bool
) -> None:
    result, known = play(monkeypatch, tmp_path, check), documented(name)
    assert set(result.facts) <= set(known)
    assert {key for key, item in known.items() if item["returned"] == "success"} <= set(result.facts)
    for key, value in result.facts.items():
        assert value is None or isinstance(value, _TYPES[known[key]["type"]]), key
    assert json.loads(json.dumps([result.facts, result.diff, result.journal, result.summary]))
    assert result.summary and all(isinstance(line, str) for line in result.summary)


@pytest.mark.parametrize(("name", "play"), PLAYS)
def test_check_mode_and_run_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, play: Play) -> None:
    (tmp_path / "check").mkdir()
    (tmp_path / "run").mkdir()
    check, run = play(monkeypatch, tmp_path / "check", True), play(monkeypatch, tmp_path / "run", False)
    assert check.changed == run.changed
    assert json.dumps(check.diff).replace(str(tmp_path / "check"), "") == json.dumps(run.diff).replace(str(tmp_path / "run"), "")


@pytest.mark.parametrize("name", sorted({name for name, _play in PLAYS}))
def test_samples_have_the_keys_that_are_really_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    play = dict(reversed(PLAYS))[name]
    facts = play(monkeypatch, tmp_path, False).facts
    for key, result in documented(name).items():
        sample, value = result.get("sample"), facts.get(key)
        if isinstance(sample, dict) and isinstance(value, dict) and not {type(item) for item in value.values()} <= {int}:
            assert set(sample) == set(value), key


def test_every_module_is_played() -> None:
    assert {name for name, _play in PLAYS} == {
        path.stem for path in (Path(__file__).resolve().parents[3] / "plugins" / "modules").glob("*.py")
    }
