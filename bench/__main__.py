# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All measurements: `make bench`, which writes `bench/results.json` and draws docs/benchmarks from it.

It starts a stack of its own, over SSH as a user's, and removes it. DBOPS_BENCH_MB: how much data (1000, as a plain dump);
DBOPS_BENCH_ROUNDS: rounds of the backup (3); DBOPS_BENCH_GROWTH=10x3000,100x0 measures only these rows of how cost grows (megabytes,
further tables), 0 none; DBOPS_BENCH_ONLY=reset,status only these groups. What is left out keeps what was measured of it before.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results.json"
sys.path.insert(0, str(ROOT / "tests" / "e2e" / "support"))

import checkout  # noqa: E402

checkout.offer_collection()  # whose rules are measured

import damage  # noqa: E402
import dataset  # noqa: E402
import deploys  # noqa: E402
import fleet  # noqa: E402
import measure  # noqa: E402
import offsite_copies  # noqa: E402
import preview  # noqa: E402
import rehearsal  # noqa: E402
import report  # noqa: E402
import risk  # noqa: E402
from controller import Controller  # noqa: E402
from measure import Results  # noqa: E402
from stack import Stack, provide  # noqa: E402

MAJOR = 18

#: How cost grows: megabytes as a plain dump, and further tables.
GROWTH = ((10, 0), (100, 0), (1000, 0), (10, 300), (10, 3000), (5000, 0))


def main() -> int:
    megabytes = int(os.environ.get("DBOPS_BENCH_MB", "1000"))
    rounds = int(os.environ.get("DBOPS_BENCH_ROUNDS", "3"))
    asked = os.environ.get("DBOPS_BENCH_GROWTH", ",".join("%dx%d" % row for row in GROWTH))
    grow = [row for row in GROWTH if "%dx%d" % row in asked.split(",")]
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with provide("bench", MAJOR) as stack, tempfile.TemporaryDirectory(prefix="dbops-bench-") as scratch:
        controller = Controller(Path(scratch), stack.inventory)
        results = {**_one_size(stack, controller, megabytes, rounds, Path(scratch), known), **_machine(stack)}
        _write(results)
        for row in _growth(stack, controller, grow):
            kept = [other for other in results.get("growth", []) if _row_of(other) != _row_of(row)]
            results["growth"] = [*kept, row]
            if row["tables"] > 3000:
                results["plan_seconds_3000_tables"] = row["plan_seconds"]
            _write(results)
    print(report.table(json.loads(RESULTS.read_text(encoding="utf-8")), "en"))
    return 0


def _write(results: dict[str, Any]) -> None:
    """After each step, so that a run that is stopped has shown what it had measured."""
    RESULTS.write_text(json.dumps(_rounded(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report.write(ROOT)


def _one_size(stack: Stack, controller: Controller, megabytes: int, rounds: int, scratch: Path, known: Results) -> Results:
    groups = {
        "backup": lambda: measure.backups(stack, controller, rounds, scratch),
        "restore": lambda: measure.restores(stack, controller, rounds, scratch),
        "proof": lambda: measure.proofs(stack, controller, rounds),
        "silence": lambda: measure.silence(controller),
        "offsite": lambda: offsite_copies.copies(stack, controller, megabytes),
        "schedule": lambda: offsite_copies.scheduling(controller),
        "rehearsal": lambda: rehearsal.rehearsals(stack, controller, rounds, scratch),
        "migrate": lambda: measure.migration(controller),
        "deploy": lambda: deploys.deploys(stack, controller, rounds),
        "fleet": lambda: fleet.fleet(stack, controller, scratch),
        "blocked": lambda: rehearsal.blocked(stack, controller),
        "risk": lambda: risk.risks(stack, controller),
        "other": lambda: _other_data(stack, controller, megabytes // 2, rounds, scratch),
        "offsite other": lambda: _offsite_of_other_data(stack, controller, megabytes // 2, known),
        "reset": lambda: preview.measure_resets(stack, controller, rounds),
        "load": lambda: preview.measure_under_load(stack, controller),
        "status": lambda: measure.status(stack, controller, scratch),
        "damage": lambda: damage.damages(stack, controller),
        "diagnosis": lambda: measure.diagnosis(stack, controller, rounds),
    }
    wanted = [name for name in os.environ.get("DBOPS_BENCH_ONLY", ",".join(groups)).split(",") if name]
    stack.fill("v1")
    if {"backup", "restore", "proof", "silence", "migrate", "rehearsal"} & set(wanted):
        _say(f"filling with {megabytes} MB")
        dataset.fill(stack.production, megabytes)
    results = dict(known)
    for name in wanted:
        _say(name)
        found = groups[name]()
        results = {**results, **found, "remote_tasks": {**results.get("remote_tasks", {}), **found["remote_tasks"]}}
    return results


def _row_of(row: Results) -> tuple[int, int]:
    """Rows are the same by the size that was asked for, and by the tables."""
    return row["data_mb"], row["tables"]


def _other_data(stack: Stack, controller: Controller, megabytes: int, rounds: int, scratch: Path) -> Results:
    _say(f"filling with {megabytes} MB of another kind")
    stack.fill("v1")
    dataset.fill_otherwise(stack.production, megabytes)
    return measure.other_data(stack, controller, rounds, scratch)


def _offsite_of_other_data(stack: Stack, controller: Controller, megabytes: int, known: Results) -> Results:
    found = offsite_copies.copies_of_other_data(stack, controller, megabytes)
    return {"other_data": {**known.get("other_data", {}), **found}, "remote_tasks": {}}


def _growth(stack: Stack, controller: Controller, wanted: list[tuple[int, int]]) -> Iterator[Results]:
    for megabytes, tables in wanted:
        _say(f"growth: {megabytes} MB, {tables} further tables")
        stack.fill("v1")
        dataset.fill(stack.production, megabytes)
        dataset.add_tables(stack.production, tables)
        yield {"data_mb": megabytes, **measure.growth(controller, stack.production)}


def _machine(stack: Stack) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": {"cores": os.cpu_count(), "memory_gb": round(memory / 2**30), "architecture": platform.machine()},
        "postgres": stack.production.value("SHOW server_version").split()[0],
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _say(what: str) -> None:
    print(f"-- {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
