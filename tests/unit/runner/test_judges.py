# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner's judges: a tool that exits 0 having checked nothing must not pass."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import checks_e2e
import checks_examples
import checks_package
import checks_sanity
import checks_unit
import junit
import stages
from junit import FAILED, PASSED, SKIPPED, Case
from stages import Finished, Tally

RECAP = "here : ok=3    changed=0    unreachable=0    failed=0    skipped=0\n"


def case(name: str = "pep8", outcome: str = PASSED, text: str = "") -> Case:
    return Case(name, outcome, text)


@pytest.mark.parametrize(
    ("done", "tally"),
    [
        (Finished(0, "Passed: 7 files"), Tally(passed=1)),
        (Finished(0, "Passed: 0 files"), Tally(failed=1)),
        (Finished(0, ""), Tally(failed=1)),
        (Finished(2, "Passed: 7 files"), Tally(failed=1)),
    ],
)
def test_a_linter_must_say_how_much_it_checked(done: Finished, tally: Tally) -> None:
    assert stages.says(r"Passed: (\d+) files", "{} files")(done).tally == tally


@pytest.mark.parametrize(
    ("done", "cases", "tally"),
    [
        (Finished(0, ""), [case(), case("compile-python-3.8")], Tally(passed=2)),
        (Finished(1, ""), [case(), case("pylint", FAILED, "x.py: bad")], Tally(passed=1, failed=1)),
        (Finished(0, ""), [], Tally(failed=1)),
        (Finished(0, ""), [case(), case("pslint", SKIPPED, "No tests applicable.")], Tally(passed=1)),
        (Finished(0, ""), [case(), case("validate-modules", SKIPPED, "No tests applicable.")], Tally(passed=1, failed=1)),
        (Finished(0, ""), [case(), case("import-python-3.8", SKIPPED, "because it could not be found")], Tally(passed=1, skipped=1)),
        (Finished(0, 'WARNING: Required program "pwsh" not found.\n'), [case()], Tally(passed=1)),
        (Finished(0, 'WARNING: Required program "shellcheck" not found.\n'), [case()], Tally(passed=1, skipped=1)),
        (Finished(1, "crash"), [case()], Tally(passed=1, failed=1)),
    ],
)
def test_sanity_counts_what_ran_and_what_was_left_out(done: Finished, cases: list[Case], tally: Tally) -> None:
    assert checks_sanity.judge(done, cases).tally == tally


@pytest.mark.parametrize(
    ("done", "cases", "tally"),
    [
        (Finished(0, ""), [case(), case("b", SKIPPED)], Tally(passed=1, skipped=1)),
        (Finished(1, ""), [case(), case("b", FAILED)], Tally(passed=1, failed=1)),
        (Finished(5, ""), [], Tally(failed=1)),
        (Finished(0, ""), [], Tally(failed=1)),
        (Finished(0, ""), [case("b", SKIPPED)], Tally(failed=1)),
        (Finished(2, "interrupted"), [case()], Tally(passed=1, failed=1)),
    ],
)
def test_pytest_must_have_executed_something(done: Finished, cases: list[Case], tally: Tally) -> None:
    assert checks_unit.judge(done, cases).tally == tally


@pytest.mark.parametrize(
    ("done", "green"),
    [
        (Finished(0, RECAP), True),
        (Finished(1, RECAP), False),
        (Finished(0, ""), False),
        (Finished(0, RECAP.replace("ok=3", "ok=0")), False),
        (Finished(0, f"[WARNING]: provided hosts list is empty, only localhost is available\n{RECAP}"), False),
        (Finished(0, f"PLAY [Migrate] ***\nskipping: no hosts matched\n{RECAP}"), False),
        (Finished(0, f"PLAY [Require a database in the inventory] ***\nskipping: no hosts matched\n{RECAP}"), True),
    ],
)
def test_a_scenario_must_have_run_on_a_host(done: Finished, green: bool) -> None:
    assert checks_e2e.judge(done).tally.green is green


@pytest.mark.parametrize(
    ("scenario", "cases", "tally"),
    [
        (stages.ok("7 tasks"), [case(), case("b")], Tally(passed=3)),
        (stages.bad("exit code 2"), [case(), case("b", FAILED, "assert False")], Tally(passed=1, failed=1)),
        (stages.bad("exit code 2"), [case()], Tally(passed=1, failed=1)),
        (stages.bad("exit code 2"), [], Tally(failed=1)),
        (stages.ok("7 tasks"), [], Tally(failed=1)),
    ],
)
def test_a_scenario_counts_with_its_tests(scenario: stages.Verdict, cases: list[Case], tally: Tally) -> None:
    assert checks_e2e.with_tests(scenario, cases).tally == tally


@pytest.mark.parametrize(
    ("output", "green"),
    [
        ("Loading module a\nLoading role b\nImporter processing completed successfully", True),
        ("Loading module a\nImporter processing completed successfully", False),
        ("Loading module a\nLoading role b\n", False),
        ("ERROR: no registry\nLoading module a\nLoading role b\nImporter processing completed successfully", False),
    ],
)
def test_the_importer_must_have_loaded_everything_without_complaint(output: str, green: bool) -> None:
    assert checks_package.judge_importer(modules=1, roles=1)(Finished(0, output)).tally.green is green


def test_a_tarball_must_hold_what_users_need_and_nothing_else() -> None:
    own = ["plugins/modules/a.py", "LICENSE", "playbooks/ansible.cfg", "tests/run/x.py", "Makefile"]
    made = ["MANIFEST.json", "FILES.json"]
    good = ["plugins/modules/a.py", "LICENSE", *made]
    assert checks_package.judge_content(good, own).tally.green
    assert not checks_package.judge_content([*good, "tests/run/x.py"], own).tally.green
    assert not checks_package.judge_content([*good, "playbooks/ansible.cfg"], own).tally.green
    assert not checks_package.judge_content([*good, "plugins/left_over.py"], own).tally.green
    assert not checks_package.judge_content(["LICENSE", *made], own).tally.green
    assert not checks_package.judge_content(made, []).tally.green


def test_reports_are_read_as_they_are_written(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite><testcase name='a'/><testcase name='b'><failure message='m'>why</failure></testcase>"
        "<testcase name='c'><skipped message='later'/></testcase><testcase name='d'><error message='broke'/></testcase></testsuite></testsuites>"
    )
    found = junit.read([report, tmp_path / "missing.xml"])
    assert found == [case("a"), case("b", FAILED, "why"), case("c", SKIPPED, "later"), case("d", FAILED, "broke")]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> stages.Stage:
    monkeypatch.setattr(stages, "CACHE", tmp_path)
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    return stages.Stage("trial")


def test_a_program_s_output_is_kept_and_counted(stage: stages.Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.check("good", [sys.executable, "-c", "print(7)"], stages.exits_zero("seven"), cwd=tmp_path)
    assert not stage.check("broken", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], stages.exits_zero(""), cwd=tmp_path)
    assert not stage.check("missing", [str(tmp_path / "no-such-program")], stages.exits_zero(""), cwd=tmp_path)
    assert stage.tally == Tally(passed=1, failed=2)
    assert "7\n" in stage.log.read_text()
    shown = capsys.readouterr().out
    assert "| why" in shown and "| 7" not in shown


def test_a_program_that_hangs_is_ended_with_all_it_started(stage: stages.Stage, tmp_path: Path) -> None:
    begun = time.monotonic()
    done = stage.run(["sh", "-c", "sleep 60 & echo started; wait"], cwd=tmp_path, limit=1)
    assert done.code == 124 and "started" in done.output
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("done", "tally"),
    [
        (Finished(0, " completed a.yml\n completed b.yml\nNo findings to report."), Tally(passed=1)),
        (Finished(0, " completed a.yml\nNo findings to report."), Tally(failed=1)),
        (Finished(0, ""), Tally(failed=1)),
        (Finished(14, " completed a.yml\n completed b.yml\n1 finding"), Tally(failed=1)),
    ],
)
def test_zizmor_must_look_at_every_file(done: Finished, tally: Tally) -> None:
    assert checks_examples.judge_zizmor(2)(done).tally == tally
