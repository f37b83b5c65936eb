# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example workflows: what their scripts do, and what each of them has to say (linters see only what is wrong, not what is missing)."""

from __future__ import annotations

import http.server
import importlib.util
import json
import re
import stat
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples" / "github-actions" / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "workflows").glob("*.yml"))}
ACTION = yaml.safe_load((FOLDER / "actions" / "prepare" / "action.yml").read_text(encoding="utf-8"))
JOBS = [(workflow, name) for workflow, content in WORKFLOWS.items() for name in content["jobs"]]

#: The jobs that run a playbook which changes data; backup reads it.
CHANGING = {("deploy", "deploy"), ("preview_reset", "preview-reset"), ("by_hand", "run")}

RECAP = "PLAY RECAP *****\nchat-production : ok=5    changed={} unreachable=0    failed=0\n"


def script(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prepare = script("prepare")
report_plan = script("report_plan")


def steps(job: tuple[str, str]) -> list[dict[str, Any]]:
    return list(WORKFLOWS[job[0]]["jobs"][job[1]]["steps"])


class TestPrepare:
    @pytest.fixture
    def env(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "known_hosts").write_text("# a comment\nserver.example.com ssh-ed25519 AAAA\n")
        return {
            "LIMIT": "production",
            "SSH_KEY": "-----BEGIN\nkey\n-----END",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ENV": str(tmp_path / "env"),
        }

    def test_the_key_is_for_its_owner_and_ends_with_a_line(self, env: dict[str, str], tmp_path: Path) -> None:
        assert prepare.main(env) == 0
        key = tmp_path / "ssh_key"
        assert key.read_text() == "-----BEGIN\nkey\n-----END\n"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert (tmp_path / "env").read_text() == f"ANSIBLE_PRIVATE_KEY_FILE={key}\n"

    def test_what_was_typed_stays_one_variable(self, env: dict[str, str], tmp_path: Path) -> None:
        typed = "latest dbops_confirm=restore:chat; $(id) {{ 1 }}"
        assert prepare.main({**env, "dbops_restore_backup": typed, "dbops_confirm": "", "OTHER": "x"}) == 0
        variables = tmp_path / "variables.json"
        assert json.loads(variables.read_text()) == {"dbops_restore_backup": typed}
        assert stat.S_IMODE(variables.stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"LIMIT": " "}, "LIMIT is empty"),
            ({"SSH_KEY": ""}, "SSH_KEY is empty"),
            ({"dbops_password": "x"}, "DBOPS_PASSWORD"),
        ],
    )
    def test_what_is_missing_is_said_and_nothing_written(
        self, env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], sentence: str
    ) -> None:
        assert prepare.main({**env, **change}) == 1
        said = capsys.readouterr().out
        assert said.startswith("::error::") and sentence in said
        assert not (tmp_path / "ssh_key").exists() and not (tmp_path / "variables.json").exists()

    @pytest.mark.parametrize("content", [None, "", "# only a comment\n\n"])
    def test_no_host_key_no_job(self, env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None) -> None:
        (tmp_path / "known_hosts").unlink()
        if content is not None:
            (tmp_path / "known_hosts").write_text(content)
        assert prepare.main(env) == 1
        assert "known_hosts holds no host key" in capsys.readouterr().out

    def test_the_file_of_known_hosts_is_the_one_that_ansible_is_told(self) -> None:
        configuration = (ROOT / "examples" / "own-repository" / "ansible.cfg").read_text(encoding="utf-8")
        assert f"-o UserKnownHostsFile={prepare.KNOWN_HOSTS}\n" in configuration


class TestBody:
    def test_a_plan_is_shown_as_it_is_without_colours(self) -> None:
        text = report_plan.body("\x1b[0;32m+ CREATE TABLE a\x1b[0m\n" + RECAP.format(1), [], "production", "success", "https://run")
        assert text.startswith(report_plan.mark("production"))
        assert "```text\n+ CREATE TABLE a\nPLAY RECAP" in text and "\x1b" not in text
        assert "https://run" in text and "Cut at" not in text

    @pytest.mark.parametrize("length", [59_000, 59_700, 60_000, 60_001, 500_000])
    @pytest.mark.parametrize("line", ["CREATE TABLE a\n", "あ" * 40 + "\n", "one endless line "])
    def test_a_long_one_is_cut_at_60000_characters(self, length: int, line: str) -> None:
        text = report_plan.body(line * (length // len(line)), [], "production", "success", "https://run")
        assert len(text) <= 60_000
        assert text.count("```") == 2
        assert ("Cut at 60,000 characters" in text) == (length >= 60_000)
        assert length < 60_000 or len(text) > 59_800

    def test_nothing_in_the_plan_ends_its_frame(self) -> None:
        text = report_plan.body("````\n@everyone\n````", [], "production", "success", "https://run")
        assert "\n`````text\n" in text and text.endswith("\n`````\n")

    def test_a_plan_that_failed_says_so(self) -> None:
        assert "the plan failed (failure)" in report_plan.body("fatal", ["# an older one"], "production", "failure", "https://run")

    def test_the_reports_are_shown_where_they_fit(self) -> None:
        text = report_plan.body("printed", ["# first", "# second"], "production", "success", "https://run")
        assert text.endswith("# first\n\n# second\n") and "printed" not in text
        assert "printed" in report_plan.body("printed", ["x" * 60_000], "production", "success", "https://run")

    def test_whether_there_is_something_to_migrate(self) -> None:
        empty, full = ({"plan": {"empty": value, "fingerprint": "3f9a2c"}} for value in (True, False))
        assert [report_plan.changed(plans) for plans in ([], [empty], [empty, full])] == [False, False, True]
        assert [report_plan.fingerprint(plans) for plans in ([], [full], [full, full])] == ["", "3f9a2c", ""]


class GitHub(http.server.ThreadingHTTPServer):
    """As much of GitHub as there is to a pull request's comments."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.comments: list[dict[str, Any]] = []
        self.calls: list[str] = []

    def add(self, author: str, body: str) -> None:
        self.comments.append({"id": len(self.comments) + 1, "user": {"login": author}, "body": body})


class Answers(http.server.BaseHTTPRequestHandler):
    server: GitHub

    def answer(self) -> None:
        path, _question, query = self.path.partition("?")
        self.server.calls.append(f"{self.command} {path}")
        assert self.headers["Authorization"] == "Bearer the-token"
        size = int(self.headers["Content-Length"] or 0)
        data = json.loads(self.rfile.read(size)) if size else {}
        found: Any = {}
        if self.command == "GET":
            asked = dict(pair.split("=") for pair in query.split("&"))
            page, most = int(asked["page"]), int(asked["per_page"])
            found = self.server.comments[(page - 1) * most : page * most]
        elif self.command == "POST":
            self.server.add("github-actions[bot]", data["body"])
        else:
            self.server.comments[int(path.rpartition("/")[2]) - 1]["body"] = data["body"]
        content = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *args: Any) -> None:
        """Nothing on the terminal."""


class TestComment:
    @pytest.fixture
    def github(self) -> Iterator[GitHub]:
        with GitHub() as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    @pytest.fixture
    def env(self, github: GitHub, tmp_path: Path) -> dict[str, str]:
        return {
            "LIMIT": "production",
            "OUTCOME": "success",
            "PULL_REQUEST": "7",
            "GITHUB_TOKEN": "the-token",
            "GITHUB_API_URL": f"http://127.0.0.1:{github.server_address[1]}",
            "GITHUB_SERVER_URL": "https://github.example.com",
            "GITHUB_REPOSITORY": "chat/backend",
            "GITHUB_RUN_ID": "99",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
        }

    def report(self, env: dict[str, str], tmp_path: Path, text: str) -> None:
        (tmp_path / "plan.txt").write_text("printed")
        (tmp_path / "chat-production-3f9a2c.md").write_text(text)
        (tmp_path / "chat-production-3f9a2c.json").write_text(json.dumps({"plan": {"empty": False, "fingerprint": "3f9a2c"}}))
        report_plan.main(tmp_path / "plan.txt", tmp_path, env)

    def test_it_is_made_once_and_then_updated(self, github: GitHub, env: dict[str, str], tmp_path: Path) -> None:
        self.report(env, tmp_path, "first plan\n")
        self.report(env, tmp_path, "second plan\n")
        [comment] = github.comments
        assert "second plan" in comment["body"] and "first plan" not in comment["body"]
        assert "https://github.example.com/chat/backend/actions/runs/99" in comment["body"]
        assert [call.split()[0] for call in github.calls] == ["GET", "POST", "GET", "PATCH"]

    def test_it_is_found_among_many(self, github: GitHub, env: dict[str, str], tmp_path: Path) -> None:
        for number in range(150):
            github.add("somebody", f"comment {number}")
        self.report(env, tmp_path, "first plan\n")
        self.report(env, tmp_path, "second plan\n")
        assert len(github.comments) == 151 and "second plan" in github.comments[-1]["body"]

    def test_other_comments_are_left_alone(self, github: GitHub, env: dict[str, str], tmp_path: Path) -> None:
        github.add("somebody", report_plan.mark("production") + " a copy")
        github.add("github-actions[bot]", report_plan.mark("preview") + " another database")
        before = [dict(comment) for comment in github.comments]
        self.report(env, tmp_path, "plan\n")
        assert github.comments[:2] == before and len(github.comments) == 3

    def test_the_summary_has_it_too_and_later_jobs_are_told(self, github: GitHub, env: dict[str, str], tmp_path: Path) -> None:
        self.report(env, tmp_path, "plan\n")
        assert (tmp_path / "summary").read_text() == github.comments[0]["body"]
        assert (tmp_path / "output").read_text() == "changed=true\nplan=3f9a2c\n"

    def test_without_a_pull_request_there_is_only_the_summary(self, github: GitHub, env: dict[str, str], tmp_path: Path) -> None:
        del env["PULL_REQUEST"], env["GITHUB_TOKEN"]
        self.report(env, tmp_path, "plan\n")
        assert "plan" in (tmp_path / "summary").read_text() and github.calls == []


class TestWorkflows:
    def test_they_tell_the_whole_story(self) -> None:
        assert set(WORKFLOWS) == {"deploy", "plan", "backup", "preview_reset", "by_hand"}

    @pytest.mark.parametrize("workflow", WORKFLOWS)
    def test_they_may_do_as_little_as_possible(self, workflow: str) -> None:
        assert WORKFLOWS[workflow]["permissions"] == {"contents": "read"}
        further = {name: job.get("permissions", {}) for name, job in WORKFLOWS[workflow]["jobs"].items()}
        expected = {"plan": {"contents": "read", "pull-requests": "write"}} if workflow == "plan" else {}
        assert {name: wanted for name, wanted in further.items() if wanted} == expected

    @pytest.mark.parametrize("job", JOBS)
    def test_one_at_a_time_and_none_is_cut_off(self, job: tuple[str, str]) -> None:
        concurrency = WORKFLOWS[job[0]]["jobs"][job[1]]["concurrency"]
        assert concurrency["group"] and concurrency["cancel-in-progress"] is False

    def test_what_changes_one_database_shares_its_group(self) -> None:
        group = {job: WORKFLOWS[job[0]]["jobs"][job[1]]["concurrency"]["group"] for job in CHANGING}
        assert group[("deploy", "deploy")] == "chat-production"
        assert group[("preview_reset", "preview-reset")] == "chat-preview"
        assert group[("by_hand", "run")] == "chat-${{ github.event.inputs.limit }}"

    def test_production_is_changed_only_with_approval(self) -> None:
        environments = {job: WORKFLOWS[job[0]]["jobs"][job[1]]["environment"] for job in CHANGING}
        assert environments == {
            ("deploy", "deploy"): "production",
            ("preview_reset", "preview-reset"): "preview",
            ("by_hand", "run"): "${{ github.event.inputs.limit }}",
        }
        assert WORKFLOWS["by_hand"][True]["workflow_dispatch"]["inputs"]["limit"]["options"] == ["preview", "production"]

    @pytest.mark.parametrize("job", [job for job in JOBS if job != ("deploy", "build")])
    def test_every_playbook_runs_with_a_limit(self, job: tuple[str, str]) -> None:
        assert WORKFLOWS[job[0]]["jobs"][job[1]]["env"]["LIMIT"]
        commands = [step["run"] for step in steps(job) if "ansible-playbook" in step.get("run", "")]
        assert commands and all('--limit "$LIMIT"' in command for command in commands)
        for command in commands:
            playbook = re.search(r"ansible-playbook (\S+)\.yml", command.replace('"', ""))
            assert playbook
            verbs = (
                WORKFLOWS["by_hand"][True]["workflow_dispatch"]["inputs"]["verb"]["options"] if playbook[1] == "$VERB" else [playbook[1]]
            )
            assert [verb for verb in verbs if not (ROOT / "examples" / "own-repository" / f"{verb}.yml").is_file()] == []

    @pytest.mark.parametrize("job", JOBS)
    def test_nothing_is_pasted_into_a_shell_line(self, job: tuple[str, str]) -> None:
        assert [step["run"] for step in steps(job) + ACTION["runs"]["steps"] if "${{" in step.get("run", "")] == []

    @pytest.mark.parametrize("job", JOBS)
    def test_actions_are_pinned_and_leave_no_token_behind(self, job: tuple[str, str]) -> None:
        used = [step for step in steps(job) + ACTION["runs"]["steps"] if "uses" in step]
        foreign = [step for step in used if not step["uses"].startswith("./")]
        assert foreign and all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]) for step in foreign)
        checkouts = [step for step in foreign if step["uses"].startswith("actions/checkout@")]
        assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)

    def test_host_keys_are_always_checked(self) -> None:
        text = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*") if path.is_file())
        assert not re.search(r"StrictHostKeyChecking|HOST_KEY_CHECKING|ssh-keyscan|accept-new", text, re.IGNORECASE)

    @pytest.mark.parametrize("job", JOBS)
    def test_variables_are_the_roles_own(self, job: tuple[str, str]) -> None:
        specifications = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")]
        known = {name for specification in specifications for name in specification["argument_specs"]["main"]["options"]}
        given = {name for name in WORKFLOWS[job[0]]["jobs"][job[1]].get("env", {}) if name.startswith("dbops_")}
        assert given <= known

    def test_a_pull_request_is_planned_with_what_was_reviewed(self) -> None:
        [checkout] = [step for step in steps(("plan", "plan")) if step.get("uses", "").startswith("actions/checkout@")]
        assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
        assert WORKFLOWS["plan"]["jobs"]["plan"]["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
