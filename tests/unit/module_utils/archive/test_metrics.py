# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file for Prometheus: what it says, how it is written, and that nothing of it is ever half there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _metrics
from ansible_collections.dbops.postgres.plugins.module_utils.archive._metrics import Labels, Sample, rendered, samples, write_metrics
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.archive.test_proof import proof_of, written
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import published

LABELS = Labels("chat-production", "chat", "production")
AT_THREE = 1795402800.0  # 2026-11-23T03:00:00Z


def found(samples_of: list[Sample]) -> dict[str, float]:
    return {sample.name[len("dbops_") :] + (":" + sample.operation if sample.operation else ""): sample.value for sample in samples_of}


def test_a_database_without_backups_says_so() -> None:
    assert found(samples([], [], 5)) == {"backups": 0, "metrics_timestamp_seconds": 5}


def test_what_is_known_of_backups_and_proofs(tmp_path: Path) -> None:
    newest, older = published(tmp_path), published(tmp_path, id="chat_20261122_030000", created="2026-11-22T03:00:00Z")
    written(tmp_path, older, proof_of(older, seconds={"server": 1.0, "restore": 11.5}))
    known = found(samples([newest, older], [], 5))
    assert known["backup_last_timestamp_seconds"] == AT_THREE and known["backup_last_duration_seconds"] == 5
    assert known["backup_proved_timestamp_seconds"] == AT_THREE - 86400 and known["backup_proof_timestamp_seconds"] == AT_THREE + 3600
    assert known["restore_measured_seconds"] == 12.5 and known["backup_last_failed_proof"] is False
    assert known["backups"] == 2 and known["backup_last_size_bytes"] == newest.manifest.size


def test_of_each_operation_the_last_success_and_the_last_failure() -> None:
    entries = [
        {"operation": "backup", "result": "ok", "finished": "2026-11-22T03:00:00Z", "duration_seconds": 4.5},
        {"operation": "backup", "result": "failed", "finished": "2026-11-23T03:00:00Z"},
        {"operation": "migrate", "result": "refused", "finished": "2026-11-23T03:00:00Z"},
        {"operation": "branch", "branch": "x"},
        {},
        {"operation": "backup", "result": "ok", "finished": "yesterday"},
        {"operation": "backup", "result": "ok", "finished": 5},
        {"operation": ["odd"], "result": "ok", "finished": "2026-11-23T03:00:00Z", "duration_seconds": "long"},
    ]
    known = found(samples([], entries, 5))
    assert known["operation_last_success_timestamp_seconds:backup"] == AT_THREE - 86400
    assert known["operation_last_failure_timestamp_seconds:backup"] == AT_THREE
    assert known["operation_last_duration_seconds:backup"] == 4.5
    assert "operation_last_success_timestamp_seconds:migrate" not in known


def test_the_text_is_what_prometheus_reads() -> None:
    text = rendered(
        [Sample("dbops_backups", 2), Sample("dbops_operation_last_duration_seconds", 1.5, "backup")], Labels("h", 'a"b\\c\nd', "x")
    )
    assert text.splitlines() == [
        "# HELP dbops_backups Backups of this database on this server.",
        "# TYPE dbops_backups gauge",
        'dbops_backups{host="h",database="a\\"b\\\\c\\nd",environment="x"} 2.0',
        "# HELP dbops_operation_last_duration_seconds How long the last one took that succeeded.",
        "# TYPE dbops_operation_last_duration_seconds gauge",
        'dbops_operation_last_duration_seconds{host="h",database="a\\"b\\\\c\\nd",environment="x",operation="backup"} 1.5',
    ]


def test_the_file_is_for_everybody_to_read_and_replaced_as_a_whole(tmp_path: Path) -> None:
    write_metrics(str(tmp_path), LABELS, "one\n")
    write_metrics(str(tmp_path), LABELS, "two\n")
    [path] = tmp_path.iterdir()
    assert (path.name, path.read_text(), path.stat().st_mode & 0o777) == ("dbops_chat-production_chat.prom", "two\n", 0o644)
    write_metrics(str(tmp_path), Labels("../h", "a/b", "x"), "")
    assert (tmp_path / "dbops_..%2Fh_a%2Fb.prom").is_file()


def test_a_disk_that_is_full_leaves_the_last_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metrics(str(tmp_path), LABELS, "one\n")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_metrics.os, "rename", full)
    with pytest.raises(DbopsError, match="No space left"):
        write_metrics(str(tmp_path), LABELS, "two\n")
    [path] = tmp_path.iterdir()
    assert path.read_text() == "one\n"


def test_a_folder_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match=r"could not be written \(No such file or directory\).*dbops_metrics_dir"):
        write_metrics(str(tmp_path / "none"), LABELS, "")
