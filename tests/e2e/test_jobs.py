# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nobody is watching: jobs of AWX and of GitHub Actions, on the example repository with the installed collection.

AWX runs a job template through ansible-runner: a private data folder, the inventory as a script that prints JSON, what a survey
asked for as extra variables that are all texts, a limit. GitHub Actions runs ansible-playbook itself. Either may be cancelled.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import ROOT, Controller, Started
from faults import Caught, Hand, damaged_backups, journal, left_behind, stop_in
from installed import install_tarball
from stack import Server, Stack

EXAMPLE = ROOT / "examples" / "own-repository"

BEFORE = {"messages": 60, "rooms": 3, "users": 5}
AFTER = {**BEFORE, "reactions": 0}

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

#: What AWX sets for all its jobs.
OF_AWX = {"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_RETRY_FILES_ENABLED": "False"}


@dataclass(frozen=True)
class Middle:
    """An operation in whose middle a job is cancelled: how the lock names it, the phase, and what the tables hold before and after.

    ``damage``: what is done to the database after a backup of it, so that a restore has something to do.
    """

    operation: str
    phase: str
    environment: str
    contents: str
    before: dict[str, int]
    after: dict[str, int]
    variables: dict[str, str] = field(default_factory=dict)
    damage: str = ""


EMPTY = dict.fromkeys(AFTER, 0)
SEEDED = {**AFTER, "reactions": 20}
MIDDLES = {
    "backup": Middle("backup", "backup: dump", "production", "v1", BEFORE, BEFORE),
    "migrate": Middle("migrate", "migrate: run", "production", "v1", BEFORE, AFTER),
    "seed": Middle("seed", "seed: run", "production", "v2-empty", EMPTY, SEEDED, {"dbops_confirm": "seed:chat"}),
    "preview_reset": Middle("reset", "reset: build", "preview", "v1", BEFORE, SEEDED),
    "restore": Middle(
        *("restore", "restore: load", "production", "v2", {**AFTER, "reactions": 0}, SEEDED),
        {"dbops_restore_backup": "latest", "dbops_confirm": "restore:chat"},
        damage="DELETE FROM reactions",
    ),
}


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_tarball(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def repository(stack: Stack, tmp_path: Path) -> Path:
    """The example repository with the hosts of the stack; what it says about keys, users and passwords stays."""
    made = tmp_path / "repository"
    shutil.copytree(EXAMPLE, made)
    inventory = yaml.safe_load((stack.inventory / "hosts.yml").read_text())
    del inventory["all"]["vars"]["ansible_ssh_common_args"]
    (made / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory))
    shutil.copy(stack.folder / "ssh" / "known_hosts", made / "known_hosts")
    return made


class Typed(yaml.SafeDumper):
    """As AWX writes what a person typed, so that it is not taken for a template. Ansible from 2.19 on reads '' so written as null."""

    def represent_data(self, data: Any) -> yaml.Node:
        return self.represent_scalar("!unsafe", data) if isinstance(data, str) else super().represent_data(data)


@dataclass(frozen=True)
class Ended:
    """A job that ended, as AWX sees it."""

    code: int
    status: str
    output: str
    stats: dict[str, Any]

    @property
    def text(self) -> str:
        """The output without colours and line breaks."""
        return " ".join(COLOUR.sub("", self.output).split())

    @property
    def facts(self) -> dict[str, Any]:
        """What a following node of a workflow is given."""
        [facts] = self.stats["dbops"].values()
        return dict(facts)


class Awx:
    """Runs job templates on one project."""

    def __init__(self, folder: Path, project: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._project = project
        self._env = env
        self._jobs: list[subprocess.Popen[bytes]] = []

    def launch(
        self,
        playbook: str,
        limit: str,
        survey: Mapping[str, str] | None = None,
        *,
        check: bool = False,
        credential: Mapping[str, str] | None = None,
        colour: bool = True,
        dumper: type[yaml.SafeDumper] = Typed,
    ) -> Job:
        private = self._folder / f"job-{len(self._jobs)}"
        (private / "env").mkdir(parents=True)
        (private / "inventory").mkdir()
        (private / "project").symlink_to(self._project)
        env = {**OF_AWX, ("ANSIBLE_FORCE_COLOR" if colour else "ANSIBLE_NOCOLOR"): "True", **(credential or {})}
        env |= {"AWX_PRIVATE_DATA_DIR": str(private), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder / "cp")}
        (private / "env" / "envvars").write_text(json.dumps(env))
        (private / "env" / "settings").write_text(json.dumps({"job_timeout": 200}))
        (private / "env" / "extravars").write_text(yaml.dump(dict(survey or {}), Dumper=dumper))
        script = private / "inventory" / "hosts"
        script.write_text(f"#! /usr/bin/env python3\nprint({json.dumps(self._inventory())!r})\n")
        script.chmod(0o700)
        argv = ["ansible-runner", "run", str(private), "--ident", "1", "--playbook", f"{playbook}.yml", "--limit", limit]
        argv += ["--cmdline=--check --diff"] if check else []
        process = subprocess.Popen(
            argv, env=self._env, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self._jobs.append(process)
        return Job(process, private / "artifacts" / "1")

    def run(self, playbook: str, limit: str, survey: Mapping[str, str] | None = None, **options: Any) -> Ended:
        return self.launch(playbook, limit, survey, **options).wait()

    def _inventory(self) -> dict[str, Any]:
        """As AWX reads a project's inventory: with templates as they are written."""
        argv = ["ansible-inventory", "-i", "inventory", "--list", "--export"]
        return dict(json.loads(subprocess.run(argv, env=self._env, cwd=self._project, capture_output=True, check=True).stdout))

    def close(self) -> None:
        for process in self._jobs:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)


@dataclass(frozen=True)
class Job:
    """A job under way."""

    process: subprocess.Popen[bytes]
    artifacts: Path

    def cancel(self) -> None:
        self.process.terminate()

    def wait(self) -> Ended:
        code = self.process.wait(timeout=240)
        status = (self.artifacts / "status").read_text()
        output = (self.artifacts / "stdout").read_text(errors="replace")
        events = [json.loads(path.read_text()) for path in (self.artifacts / "job_events").glob("*-*.json")]
        stats = [event["event_data"].get("artifact_data", {}) for event in events if event["event"] == "playbook_on_stats"]
        return Ended(code, status, output, stats[0] if stats else {})


@pytest.fixture
def environment(controller: Controller, collections: Path) -> dict[str, str]:
    """A machine with Ansible and the installed collection; nothing of the checkout."""
    env = controller.environment(controller.home / "record.jsonl", {"ANSIBLE_COLLECTIONS_PATH": str(collections)})
    for name in ("ANSIBLE_NOCOLOR", "ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CALLBACKS_ENABLED"):
        del env[name]
    return env


@pytest.fixture
def awx(controller: Controller, repository: Path, environment: dict[str, str]) -> Iterator[Awx]:
    made = Awx(controller.home, repository, environment)
    yield made
    made.close()


@pytest.fixture
def actions(controller: Controller, stack: Stack, repository: Path, collections: Path) -> Iterator[Controller]:
    """A workflow step of GitHub Actions: ansible-playbook in the repository, with colours and no terminal."""
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_FORCE_COLOR": "true",
        "GITHUB_ACTOR": "octocat",
        # A connection that an earlier test has left open would have no key to check.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(controller.home / "cp"),
    }

    class Step(Controller):
        def start(self, playbook: str, *arguments: str, **options: Any) -> Any:
            options |= {"cwd": repository, "env": {**own, **(options.get("env") or {})}}
            return super().start(f"{playbook}.yml", *arguments, **options)

    made = Step(controller.home, repository / "inventory")
    yield made
    made.close()


def blank(role: str) -> dict[str, str]:
    """A survey that asks for every variable of a role, and nobody filled in any."""
    specification = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text())
    survey = dict.fromkeys(specification["argument_specs"]["main"]["options"], "")
    return {**survey, "dbops_migrate_gates": "{}"} if role == "migrate" else survey  # empty, production would ask its checklist


class TestJobTemplates:
    """Every field of a survey is a text, an empty one where nobody filled it in."""

    @pytest.mark.share(1)
    @pytest.mark.parametrize("colour", [True, False])
    def test_a_backup(self, v2: None, awx: Awx, stack: Stack, production: Server, colour: bool) -> None:
        survey = {**blank("backup"), "dbops_backup_jobs": "3", "dbops_backup_reason": "nightly", "dbops_lock_wait": "5"}
        done = awx.run("backup", "production", survey, colour=colour)
        assert (done.code, done.status) == (0, "successful"), done.output
        assert ("\x1b[" in done.output) == colour
        [backup] = stack.backups(production)
        assert done.facts["backup"] == backup and "nightly" in backup
        assert done.facts["changed"] is True

    def test_a_migration_is_checked_and_then_run(self, v1: None, awx: Awx, stack: Stack, production: Server) -> None:
        before = stack.everything()
        checked = awx.run("migrate", "production", {**blank("migrate"), "dbops_confirm": "", "dbops_lock_wait": ""}, check=True)
        assert (checked.code, checked.status) == (0, "successful"), checked.output
        assert 'CREATE TABLE "reactions"' in checked.text
        assert stack.everything() == before

        survey = {**blank("migrate"), "dbops_migrate_runner": "ent", "dbops_migrate_backup": "true", "dbops_migrate_jobs": "3"}
        survey |= {"dbops_migrate_timeout": "120", "dbops_migrate_lock_timeout": "2.5", "dbops_migrate_lock_retries": "3"}
        done = awx.run("migrate", "production", {**survey, "dbops_lock_wait": "3"})
        assert (done.code, done.status) == (0, "successful"), done.output
        assert production.tables() == AFTER
        assert done.facts["backup"] == stack.backups(production)[-1]
        assert done.facts["plan"] == checked.facts["plan"] != ""
        assert done.facts["changed"] is True and checked.facts["changed"] is True
        assert done.facts["operation"] == "migrate" and done.facts["summary"]
        assert list(done.stats["dbops"]) == [production.host]

        again = awx.run("migrate", "production", blank("migrate"))
        assert (again.code, again.facts["changed"], again.facts["backup"]) == (0, False, ""), again.output

    def test_a_workflow_does_what_its_plan_has_said(self, v1: None, awx: Awx, stack: Stack, production: Server) -> None:
        """The artifacts of the first job are variables of the next one, which is how AWX hands them on."""
        planned = awx.run("plan", "production", blank("migrate"))
        assert (planned.code, planned.facts["operation"], planned.facts["changed"]) == (0, "plan", False), planned.output
        other = {production.host: {**planned.facts, "approved_plan": "ab" * 32}}
        refused = awx.run("migrate", "production", {**blank("migrate"), "dbops": other})
        assert refused.code != 0 and "There is no plan 'abababababababab'" in refused.text, refused.output
        between = awx.run("backup", "production", {"dbops": planned.stats["dbops"]})
        assert between.facts["approved_plan"] == planned.facts["plan"], "a job in between hands it on"
        required = {"dbops": between.stats["dbops"], "dbops_migrate_approval": "required"}
        done = awx.run("migrate", "production", {**blank("migrate"), **required})
        assert (done.code, done.facts["plan"]) == (0, planned.facts["plan"]), done.output
        assert done.facts["approved_plan"] == "", "it was done"

    def test_a_preview_is_reset(self, v1: None, awx: Awx, stack: Stack, preview: Server) -> None:
        survey = {
            **blank("preview_reset"),
            "dbops_preview_reset_seed": "ent",
            "dbops_preview_reset_keep": "1",
            "dbops_preview_reset_session_timeout": "20",
        }
        done = awx.run("preview_reset", "preview", {**survey, "dbops_backend_restart": ""}, dumper=yaml.SafeDumper)
        assert (done.code, done.status) == (0, "successful"), done.output
        assert preview.tables()["reactions"] == 20
        assert done.facts["operation"] == "reset" and done.facts["changed"] is True


class TestRefusals:
    """A job that did not do what it was started for is red, and does not wait for anybody."""

    def test_without_a_limit(self, v1: None, awx: Awx, stack: Stack) -> None:
        before = stack.everything()
        refused = awx.run("migrate", "", blank("migrate"))
        assert refused.code != 0 and refused.status == "failed"
        assert "run one environment at a time, for example 'ansible-playbook migrate.yml -l" in refused.text, refused.output
        assert stack.everything() == before

    def test_without_consent_nobody_is_asked(self, v2: None, awx: Awx, production: Server) -> None:
        """ansible-runner gives its jobs a terminal, at which nobody sits."""
        whole = production.dump()
        refused = awx.run("seed", "production", blank("seed"))
        assert refused.code != 0 and refused.status == "failed", refused.output
        assert "dbops_confirm=seed:chat" in refused.text, refused.output
        assert production.dump() == whole

    def test_a_wrong_field_is_named(self, v1: None, awx: Awx, stack: Stack) -> None:
        before = stack.everything()
        refused = awx.run("migrate", "production", {**blank("migrate"), "dbops_migrate_jobs": "many"})
        assert refused.code != 0 and refused.status == "failed"
        assert "dbops_migrate_jobs" in refused.text and "many" in refused.text
        assert stack.everything() == before


class TestCredentials:
    def test_the_password_comes_from_the_environment_and_shows_nowhere(self, v2: None, awx: Awx, stack: Stack, production: Server) -> None:
        wrong = awx.run("backup", "production", credential={"DBOPS_PASSWORD": "not-the-password-at-all"})
        assert wrong.code != 0
        assert "password authentication failed" in wrong.text
        assert "not-the-password-at-all" not in wrong.output
        assert stack.backups(production) == []

        password = production.env["POSTGRES_PASSWORD"]
        right = awx.run("backup", "production", credential={"DBOPS_PASSWORD": password})
        assert right.code == 0, right.output
        assert password not in right.output

    def test_a_server_that_nobody_vouches_for_is_refused_though_awx_asks_for_no_check(
        self, v2: None, awx: Awx, repository: Path, stack: Stack, production: Server
    ) -> None:
        shutil.copy(EXAMPLE / "known_hosts", repository / "known_hosts")
        refused = awx.run("backup", "production")
        assert refused.code != 0 and refused.status == "failed"
        assert "Host key verification failed" in refused.text
        assert stack.backups(production) == []


class TestCancelled:
    """S8: TERM in the middle of an operation leaves the database whole, and the next run cleans up."""

    @pytest.mark.parametrize(
        ("caller", "verb"),
        [
            pytest.param(caller, verb, marks=[] if (caller, verb) in (("awx", "migrate"), ("actions", "backup")) else [pytest.mark.long])
            for caller in ("awx", "actions")
            for verb in MIDDLES
        ],
    )
    def test_in_the_middle(self, verb: str, caller: str, awx: Awx, actions: Controller, stack: Stack, hand: Hand) -> None:
        middle = MIDDLES[verb]
        server = stack.production if middle.environment == "production" else stack.preview
        job, caught = self.stopped(verb, server, awx if caller == "awx" else actions, stack, hand)
        process = job.process
        process.terminate()
        try:
            assert process.wait(timeout=60) != 0
            if isinstance(job, Job):
                assert job.wait().status == "canceled"
        finally:
            caught.go_on()

        following = actions.run("backup", "-l", middle.environment, dbops_lock_wait="60")
        assert following.ok, following.output
        [entry] = [entry for entry in journal(stack, server) if entry["run_id"] == caught.run_id]
        assert entry["result"] == "ok" or "Interrupted by signal" in entry["message"]
        assert server.tables() in ([middle.after] if entry["result"] == "ok" else [middle.before, middle.after])
        assert damaged_backups(stack, server) == []
        assert left_behind(stack) == []

    def stopped(self, verb: str, server: Server, caller: Awx | Controller, stack: Stack, hand: Hand) -> tuple[Job | Started, Caught]:
        """A job whose module stands still in the middle; a phase that was over too soon is tried again."""
        middle = MIDDLES[verb]
        for _time in range(8):
            stack.fill(middle.contents)
            if middle.damage:
                made = (
                    caller.run("backup", middle.environment) if isinstance(caller, Awx) else caller.run("backup", "-l", middle.environment)
                )
                assert made.code == 0, made.output
                server.do(middle.damage)
            assert server.tables() == middle.before
            if isinstance(caller, Awx):
                job: Job | Started = caller.launch(verb, middle.environment, middle.variables)
            else:
                job = caller.start(verb, "-l", middle.environment, **middle.variables)
            caught = stop_in(hand, server, middle.operation, middle.phase)
            if caught:
                return job, caught
            job.wait()
        raise AssertionError(f"'{middle.phase}' was missed again and again")


class TestOwnRepository:
    @pytest.mark.share(1)
    @pytest.mark.parametrize(
        ("verb", "environment_", "expected"),
        [
            pytest.param("backup", "production", "Would back up", marks=pytest.mark.long),
            pytest.param("enroll", "preview", "is marked", marks=pytest.mark.long),
            ("migrate", "production", "Would migrate"),
            ("preview_reset", "preview", "Would reset"),
            ("restore", "production", "Would replace"),
            pytest.param("seed", "production", "Would seed", marks=pytest.mark.long),
        ],
    )
    def test_every_verb_has_its_file(
        self, verb: str, environment_: str, expected: str, v1: None, actions: Controller, stack: Stack, production: Server
    ) -> None:
        if verb == "restore":
            assert actions.run("backup", "-l", "production").ok
        before = stack.everything()
        checked = actions.run(verb, "-l", environment_, "--check", "--diff", dbops_restore_backup="latest")
        assert checked.ok, checked.output
        assert expected in checked.summary
        assert stack.everything() == before

    def test_it_has_a_file_for_every_playbook(self) -> None:
        playbooks = {path.name for path in (ROOT / "playbooks").glob("*.yml")} - {"require_database.yml"}
        assert {path.name for path in EXAMPLE.glob("*.yml")} == playbooks | {"requirements.yml"}
