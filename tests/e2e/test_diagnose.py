# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks broken for real: the first finding is the right one, nothing was changed by looking, and no secret shows."""

from __future__ import annotations

import contextlib
import json
import urllib.parse

import psycopg2
import pytest

from broken import BRANCH, BROKEN, Broken, Workbench, first_kind, run_diagnosis
from controller import MOST_REMOTE_TASKS, Controller, Run
from stack import Stack, command, wait_until

#: Passwords that stand somewhere in the broken stacks; the stack's own come to them.
SECRETS = ["rotated-secret-word", "an-older-secret-word", "app-secret-word", "yesterdays-secret-word", "a/b@c#d", "throw-away-word"]

#: Lines of a terminal, in which the likeliest cause has to stand.
FIRST_SCREEN = 25


@pytest.fixture(scope="module")
def filled() -> list[str]:
    """What the databases hold now: they are filled anew only where a test needs something else, or has changed it."""
    return [""]


@pytest.fixture
def bench(stack: Stack, controller: Controller) -> Workbench:
    return Workbench(stack, controller)


def secrets_of(stack: Stack) -> list[str]:
    return [*SECRETS, *(server.env["POSTGRES_PASSWORD"] for server in stack.servers)]


def found_in(text: str, secrets: list[str]) -> list[str]:
    """Raw, as in an address, and as in JSON."""
    return [
        form
        for word in secrets
        for form in (word, urllib.parse.quote(word, safe=""), urllib.parse.quote(word), json.dumps(word)[1:-1])
        if form in text
    ]


def first_screen(run: Run) -> str:
    return "\n".join("\n".join(run.result()["summary"]).splitlines()[:FIRST_SCREEN])


@pytest.mark.parametrize("broken", [pytest.param(item, id=item.name, marks=[pytest.mark.long] if item.long else []) for item in BROKEN])
def test_the_first_finding_is_the_right_one(broken: Broken, bench: Workbench, stack: Stack, filled: list[str]) -> None:
    if filled[0] != broken.contents:
        stack.fill(broken.contents)
    filled[0] = ""
    with broken.break_and_mend(bench) as variables:
        before = bench.state()
        run = run_diagnosis(bench, broken, variables)
        after = bench.state()
    assert run.ok, run.output
    assert first_kind(run) == broken.expected, run.output
    screen = " ".join(first_screen(run).split())
    assert [word for word in broken.words if word not in screen] == [], first_screen(run)
    [first, *_others] = run.result()["findings"]
    typed = next(line for line in first["do"] if not line.startswith("#")) if any(not line.startswith("#") for line in first["do"]) else ""
    assert typed in first_screen(run)
    assert not run.changed
    assert after == before
    assert found_in(run.output, secrets_of(stack)) == []
    assert run.remote_tasks <= MOST_REMOTE_TASKS
    filled[0] = "" if broken.dirties else broken.contents


@pytest.fixture(scope="module")
def sound(stack: Stack) -> None:
    """Nothing is wrong with the databases."""
    stack.fill("v2")


@pytest.mark.usefixtures("sound")
class TestEnvironmentFiles:
    """Section by section of what people do to such a file: a sentence that names it, and the backend's container is judged all the same."""

    @pytest.mark.share(1)
    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("rm {file}", "is missing"),
            ("rm {file} && mkdir {file}", "is a folder"),
            ("chmod 000 {file}", "cannot be read by this user"),
            ("echo OTHER=x >{file}", "it has no variable PREVIEW_DATABASE_URL"),
            ("sed -i p {file} && sed -i '2s/5432/5433/' {file} && tac {file} >{file}.2 && mv {file}.2 {file}", "2 different values"),
            ("sed -i 's/$/\\r/' {file}", "Windows line ends"),
        ],
        ids=["missing", "a folder", "unreadable", "without the variable", "several", "line ends"],
    )
    def test_what_is_wrong_with_one_is_said(self, script: str, words: str, bench: Workbench, stack: Stack) -> None:
        with bench.branch(bench.url()) as variables:
            file = f"{stack.folder}/opt/chat-preview/{BRANCH}/.env.preview"
            stack.as_deploy(script.format(file=file))
            run = look(bench, **variables)
        assert run.ok, run.output
        assert run.result()["verdict"] == "yellow", run.output
        [first, *_others] = run.result()["findings"]
        assert first["kind"].startswith("env_file_") and words in first["found"] and file in first["found"]
        assert found_in(run.output, secrets_of(stack)) == []

    def test_quotes_and_export_are_read_as_compose_reads_them(self, bench: Workbench, stack: Stack) -> None:
        with bench.branch(bench.url()) as variables:
            file = f"{stack.folder}/opt/chat-preview/{BRANCH}/.env.preview"
            stack.as_deploy(f"sed -i -E 's/=(.*)/=\"\\1\"/; s/^/export /' {file} && grep -q '^export .*\"$' {file}")
            run = look(bench, **variables)
        assert [item["kind"] for item in run.result()["findings"] if item["kind"] != "error_lines"] == [], run.output


class TestLogs:
    @pytest.mark.parametrize("megabytes", [20, pytest.param(1000, marks=pytest.mark.long)])
    def test_a_large_binary_log_is_a_few_lines(self, megabytes: int, bench: Workbench, stack: Stack) -> None:
        noise = f"head -c {megabytes * 500000} /dev/urandom; i=0"
        errors = 'echo "ERROR number $i of 172.19.0.$i failed $PAD"; i=$((i+1))'
        lines = f"{noise}; while [ $i -lt {megabytes * 5000} ]; do {errors}; done; sleep 600"
        with bench.container(
            "chat-backend-preview-loud",
            "--env",
            f"PREVIEW_DATABASE_URL={bench.url()}",
            "--env",
            "PAD=" + "x" * 80,
            "--entrypoint",
            "sh",
            stack.postgres_image,
            "-c",
            lines,
        ) as loud:
            wait_until(
                lambda: f"number {megabytes * 5000 - 1} " in command("docker", "logs", "--tail", "1", loud.name, check=False).stdout, 300
            )
            run = look(bench, dbops_backends=[loud.name])
        assert run.ok, run.output
        log = run.result()["logs"][loud.name]
        assert log["groups"][0]["count"] > 1000
        assert "ERROR number" in log["groups"][0]["last"]
        assert len(run.output) < 200_000

    def test_a_time_that_is_none_is_refused_in_a_sentence(self, bench: Workbench) -> None:
        run = look(bench, dbops_diagnose_since="yesterday")
        assert not run.ok and "dbops_diagnose_since is 'yesterday', which is no time" in run.message


class TestBundle:
    def test_it_holds_logs_and_findings_and_no_secret(self, bench: Workbench, stack: Stack) -> None:
        """The branch's program says its own address in its log, and the server's log holds a statement with a password."""
        stack.fill("v2")
        path = "/tmp/dbops-test-bundle.tgz"
        program = ("/bin/sh", "-c", "env; echo ERROR $PREVIEW_DATABASE_URL; sleep 600")
        with contextlib.suppress(psycopg2.Error):
            bench.preview.do("ALTER ROLE nobody PASSWORD 'rotated-secret-word'")
        try:
            with bench.container(
                "chat-backend-preview-loud",
                "--env",
                f"PREVIEW_DATABASE_URL={bench.url(password='yesterdays-secret-word')}",
                stack.postgres_image,
                *program,
            ) as loud:
                run = look(bench, dbops_backends=[loud.name], dbops_diagnose_bundle=path)
            assert run.ok, run.output
            assert f"'{path}'" in run.summary
            assert stack.as_deploy(f"stat -c %a {path}").stdout.strip() == "600"
            held = stack.as_deploy(f"tar -xzOf {path}").stdout
            names = stack.as_deploy(f"tar -tzf {path}").stdout.split()
        finally:
            stack.as_deploy(f"rm -f {path}")
        assert {
            "diagnosis/report.txt",
            "diagnosis/findings.json",
            f"diagnosis/logs/{loud.name}.log",
            f"diagnosis/logs/{bench.preview.name}.log",
        } <= set(names)
        assert "ERROR postgresql://postgres:" in held
        assert "ALTER ROLE nobody PASSWORD ********" in held
        assert found_in(held + run.output, secrets_of(stack)) == []

    def test_a_folder_that_is_not_there_is_a_sentence(self, bench: Workbench) -> None:
        run = look(bench, dbops_diagnose_bundle="/no/such/folder/b.tgz")
        assert not run.ok and "The bundle '/no/such/folder/b.tgz' cannot be written: No such file or directory" in run.message


class TestTheRun:
    def test_it_may_be_told_to_fail(self, bench: Workbench) -> None:
        run = look(bench, dbops_port=5433, dbops_diagnose_fail_on="red")
        assert not run.ok and "Something is broken, see the report above" in run.text
        assert "wrong_port" in run.text

    def test_all_at_once_in_check_mode_and_nothing_is_written(self, bench: Workbench, stack: Stack) -> None:
        stack.fill("v2")
        before = stack.everything()
        run = bench.controller.run("diagnose", "--check", "--diff", dbops_diagnose_env_files=[bench.env_files])
        assert run.ok, run.output
        for server in stack.servers:
            kinds = {item["kind"] for item in run.result(server.host)["findings"]}
            assert kinds <= {"error_lines", "disk_filling"}, run.output
            assert any("the pending migration of image" in line for line in run.result(server.host)["looked_at"])
        assert stack.everything() == before
        assert found_in(run.output, secrets_of(stack)) == []


def look(bench: Workbench, **variables: object) -> Run:
    given = {"dbops_diagnose_env_files": [bench.env_files], "dbops_diagnose_plan": False, **variables}
    return bench.controller.run("diagnose", "-l", "preview", **given)
