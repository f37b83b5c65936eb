# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the playbooks as a user does, and keeps what their tasks returned."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warm import Playbook, Warm

ROOT = Path(__file__).resolve().parents[3]
CALLBACK = ROOT / "tests" / "e2e" / "callback"

#: Actions that need no connection to the host.
ON_THE_CONTROLLER = {"assert", "debug", "fail", "include_role", "meta", "pause", "set_fact", "set_stats", "validate_argument_spec"}

#: The most tasks that may travel to one host in one playbook run.
MOST_REMOTE_TASKS = 8

#: A person's own settings must not decide what a test finds.
_DROPPED = ("ANSIBLE_", "MOLECULE_", "PYTEST_", "AWX_", "GITHUB_", "DBOPS_")


@dataclass(frozen=True)
class Task:
    """What one task returned on one host."""

    host: str
    name: str
    action: str
    outcome: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A playbook run that ended: what a person saw, and what the tasks returned."""

    argv: tuple[str, ...]
    code: int
    output: str
    tasks: tuple[Task, ...]

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        """The output with its line breaks taken out: Ansible wraps long messages."""
        return " ".join(self.output.split())

    def of_modules(self) -> list[Task]:
        """The tasks that ran a module of this collection, apart from what a migration asks of the preview on its way."""
        asked_on_the_way = "dbops.postgres.migration_info"
        return [task for task in self.tasks if task.action.startswith("dbops.postgres.") and task.action != asked_on_the_way]

    def result(self, host: str = "") -> dict[str, Any]:
        """What the one module of this collection returned."""
        found = [task.result for task in self.of_modules() if host in ("", task.host)]
        assert len(found) == 1, f"{len(found)} results of {self.argv}:\n{self.output}"
        return found[0]

    @property
    def changed(self) -> bool:
        return bool(self.result()["changed"])

    @property
    def message(self) -> str:
        return str(self.result()["msg"])

    @property
    def summary(self) -> str:
        return "\n".join(self.result()["summary"])

    @property
    def remote_tasks(self) -> int:
        """How many tasks travelled to the host that had most of them."""
        hosts = [task.host for task in self.tasks if task.action.rpartition(".")[2] not in ON_THE_CONTROLLER]
        return max((hosts.count(host) for host in hosts), default=0)


#: The fixture of that name: what the check returned, and what the run returned.
CheckThenRun = Callable[..., tuple[Run, Run]]


class Controller:
    """The machine that Ansible runs on: this one, with the checkout's virtual environment.

    :param warm: begins those runs that agree with it; the others load Ansible anew.
    :param ansible_home: where Ansible keeps its own files, such as the sockets of open connections; `home` where nothing is given.
    """

    def __init__(self, home: Path, inventory: Path, warm: Warm | None = None, ansible_home: Path | None = None) -> None:
        self.home = home
        self.inventory = inventory
        self._warm = warm
        self._ansible_home = ansible_home or home
        self._runs = 0
        self._started: list[Started] = []

    def close(self) -> None:
        """End what a test that failed has left under way."""
        for started in self._started:
            started.end()

    def run(
        self,
        playbook: str,
        *arguments: str,
        inventory: Path | None = None,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Run:
        """Run `playbooks/<playbook>.yml`, or whatever else `playbook` names, and wait for its end."""
        return self.start(playbook, *arguments, inventory=inventory, cwd=cwd, env=env, **variables).wait()

    def start(
        self,
        playbook: str,
        *arguments: str,
        inventory: Path | None = None,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Started:
        """The same, without waiting."""
        self._runs += 1
        record = self.home / f"run-{self._runs}.jsonl"
        argv = self.argv(playbook, *arguments, inventory=inventory, **variables)
        output = (self.home / f"run-{self._runs}.log").open("w+b")
        environment = self.environment(record, env)
        process: subprocess.Popen[bytes] | Playbook
        if self._warm and self._warm.serves(cwd, environment):
            process = self._warm.start(argv, environment, output.fileno())
        else:
            process = subprocess.Popen(argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self._started.append(Started(argv, process, output, record))
        return self._started[-1]

    def run_module(self, module: str, host: str, options: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run a module on its own, without any playbook or role."""
        argv = ["ansible", host, "-i", str(self.inventory), "-m", module, "-a", json.dumps(options)]
        return subprocess.run(argv, cwd=ROOT, env=self.environment(self.home / "module.jsonl"), capture_output=True, text=True, check=False)

    def argv(self, playbook: str, *arguments: str, inventory: Path | None = None, **variables: Any) -> Sequence[str]:
        """The command line as a user types it; `variables` become `-e`."""
        named = f"playbooks/{playbook}.yml" if playbook.replace("_", "").isalpha() else playbook
        extra = [word for name, value in variables.items() for word in ("-e", _as_extra_variable(name, value))]
        return ("ansible-playbook", named, "-i", str(inventory or self.inventory), *arguments, *extra)

    def environment(self, record: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
        env["LC_ALL"] = "C.UTF-8"
        env["USER"] = "tester"
        env["LOGNAME"] = getpass.getuser()  # whose home Ansible takes for its temporary files on this machine
        env["ANSIBLE_NOCOLOR"] = "1"
        env["ANSIBLE_HOME"] = str(self._ansible_home)
        env["ANSIBLE_CALLBACK_PLUGINS"] = str(CALLBACK)
        env["ANSIBLE_CALLBACKS_ENABLED"] = "record"
        env["DBOPS_TEST_RECORD"] = str(record)
        env.update(extra or {})
        return env


@dataclass
class Started:
    """A playbook run under way."""

    argv: Sequence[str]
    process: subprocess.Popen[bytes] | Playbook
    _output: Any
    _record: Path

    @property
    def output_so_far(self) -> str:
        return Path(self._output.name).read_text(errors="replace")

    @property
    def output_size(self) -> int:
        return os.fstat(self._output.fileno()).st_size

    def wait(self, seconds: float = 300) -> Run:
        code = self.process.wait(timeout=seconds)
        self._output.seek(0)
        output = self._output.read().decode(errors="replace")
        self.end()
        return Run(tuple(self.argv), code, output, read_record(self._record))

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


def read_record(record: Path) -> tuple[Task, ...]:
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    return tuple(Task(**json.loads(line)) for line in lines)


def _as_extra_variable(name: str, value: Any) -> str:
    return f"{name}={value}" if isinstance(value, str) and " " not in value else json.dumps({name: value})
