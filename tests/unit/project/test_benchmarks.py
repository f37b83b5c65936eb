# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/benchmarks says is what was measured: the pages show the figures of bench/results.json, all of them, and none by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
RESULTS = json.loads((ROOT / "bench" / "results.json").read_text(encoding="utf-8"))
KEYS = {
    "data_mb",
    "backup_time_ratio",
    "deploy_overhead_seconds",
    "deploy_error_seconds",
    "backup_size_ratio",
    "backup_limit_ratio",
    "backup_verify_seconds",
    "restore_unusable_seconds",
    "restore_unusable_seconds_runbook",
    "reset_unusable_seconds",
    "reset_seconds",
    "reset_success_with_backends",
    "reset_success_with_backends_runbook",
    "migrate_overhead_seconds",
    "plan_seconds",
    "plan_seconds_300_tables",
    "plan_seconds_3000_tables",
    "blocked_select_ratio",
    "rehearsal_overhead_ratio",
    "report_kb",
    "risk_catalogue_found",
    "risk_false_alarms",
    "other_data",
    "content_hash_overhead",
    "restore_limit_ratio",
    "verify_limit_ratio",
    "corrupt_found",
    "corrupt_found_bare",
    "corrupt_found_runbook",
    "offsite_second_backup_share",
    "restore_fresh_host_seconds",
    "progress_gap_seconds",
    "status_seconds",
    "status_seconds_sandbox",
    "status_50_hosts_seconds",
    "diagnose_seconds",
    "diagnose_found",
    "module_peak_rss_mb",
    "remote_tasks",
}


def load_report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_report", ROOT / "bench" / "report.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_was_measured() -> None:
    assert KEYS - set(RESULTS) == set()
    assert set(RESULTS["remote_tasks"]) == {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - {"require_database"}


@pytest.mark.parametrize(("name", "language"), [("benchmarks.md", "en"), ("benchmarks.ja.md", "ja")])
def test_the_page_shows_what_was_measured(name: str, language: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    report = load_report()
    assert report.rendered(page, RESULTS, language) == page
    other = json.loads(json.dumps(RESULTS))
    other["backup_time_ratio"] += 1
    assert report.rendered(page, other, language) != page


def test_a_goal_that_was_missed_says_so() -> None:
    report = load_report()
    assert "(missed)" in report.table({**RESULTS, "plan_seconds": 2.01}, "en")
    plans = [line for line in report.table({**RESULTS, "plan_seconds": 1.99}, "en").splitlines() if line.startswith("| Plan")]
    assert plans == ["| Plan in the sandbox, seconds | 1.99 | at most 2 |"]
    assert "| 0.98 | at least 1 (missed) |" in report.table({**RESULTS, "diagnose_found": 0.98}, "en")
