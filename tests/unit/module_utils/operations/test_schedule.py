# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scheduling as a whole: what check mode shows is what is set up, no secret is shown, no consent travels, and all of it goes again."""

from __future__ import annotations

import json
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations import _schedule
from ansible_collections.dbops.postgres.plugins.module_utils.operations._schedule import ScheduleOptions, schedule
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._files import alone_in
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._timers import Systemd
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, operation
from ansible_collections.dbops.postgres.tests.unit.module_utils.schedule.test_timers import Machine, installation

JOBS = {
    "nightly": {"at": "03:00", "run": ["backup", "prune_backups"]},
    "hourly": {"at": "*:15", "run": ["backup"], "variables": {"dbops_jobs": 1}},
}


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.machine = Machine()
        monkeypatch.setattr(Systemd, "require", lambda _self: None)
        monkeypatch.setattr(_schedule, "Systemd", self.systemd)

    def systemd(self, host: str) -> Systemd:
        return Systemd(host, self.machine, str(self.folder), str(self.folder))

    def schedule(self, jobs: t.Mapping[str, t.Any], check_mode: bool = False, **changes: t.Any) -> Result:
        given = {
            "variables": {"dbops_database": "chat", "dbops_confirm": "restore:chat", "dbops_schedule_timers": {}},
            "secrets": {"dbops_password": "hidden-word"},
            "kind": "systemd",
            **changes,
        }
        options = ScheduleOptions(jobs, installation(self.folder, self.machine), **given)
        return schedule(operation(self.folder / "backups", FakeConnection(), risk=Risk.ASIDE, check_mode=check_mode), options)

    @property
    def host(self) -> Path:
        return self.folder / "share" / "hosts" / "chat-production"

    @property
    def units(self) -> list[str]:
        folder = self.folder / ".config" / "systemd" / "user"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_it_is_set_up_as_check_mode_has_shown(stage: Stage) -> None:
    check = stage.schedule(JOBS, check_mode=True)
    assert stage.units == [] and not stage.host.exists() and stage.machine.calls == []
    run = stage.schedule(JOBS)
    assert (check.changed, check.diff, check.facts) == (run.changed, run.diff, run.facts)
    assert stage.units == ["dbops:chat-production:%s.%s" % (job, kind) for job in ("hourly", "nightly") for kind in ("service", "timer")]
    again = stage.schedule(JOBS)
    assert not again.changed and again.diff and again.diff["before"] == again.diff["after"]
    assert "'nightly' at 03:00: backup, prune_backups" in run.summary


def test_what_travels_and_what_does_not(stage: Stage) -> None:
    run = stage.schedule(JOBS)
    inventory = json.loads((stage.host / "inventory.json").read_text())
    variables = inventory["all"]["children"]["production"]["hosts"]["chat-production"]
    assert (variables["dbops_password"], variables["dbops_database"], variables["ansible_connection"]) == ("hidden-word", "chat", "local")
    assert variables["dbops_lock_wait"] == 3600 and not {"dbops_confirm", "dbops_schedule_timers"} & set(variables)
    assert "hidden-word" not in json.dumps([run.diff, run.summary, run.facts, run.journal])
    assert run.diff and "\ndbops_password\n" in run.diff["after"]


def test_another_variable_is_a_change_and_a_job_that_is_gone_goes(stage: Stage) -> None:
    stage.schedule(JOBS)
    assert stage.schedule(JOBS, secrets={"dbops_password": "another-word"}).changed
    done = stage.schedule({"nightly": JOBS["nightly"]})
    assert done.changed and stage.units == ["dbops:chat-production:nightly.service", "dbops:chat-production:nightly.timer"]
    assert sorted(path.name for path in stage.host.iterdir()) == ["ansible.cfg", "inventory.json", "nightly.yml"]


def test_all_of_it_goes(stage: Stage) -> None:
    stage.schedule(JOBS)
    check = stage.schedule({}, check_mode=True)
    assert check.changed and check.summary == ["Would remove everything that ran by itself for 'chat-production'."]
    done = stage.schedule({})
    assert done.changed and done.diff == check.diff
    assert stage.units == [] and not stage.host.exists() and list((stage.folder / "share" / "versions").iterdir()) == []
    assert stage.schedule({}).summary == ["Nothing runs by itself for 'chat-production'."]


def test_a_version_that_another_host_uses_stays(stage: Stage) -> None:
    stage.schedule(JOBS)
    other = stage.folder / "share" / "hosts" / "other"
    other.mkdir()
    (other / "ansible.cfg").write_text((stage.host / "ansible.cfg").read_text())
    stage.schedule({})
    assert len(list((stage.folder / "share" / "versions").iterdir())) == 1


def test_two_databases_of_one_host_are_set_up_one_after_the_other(stage: Stage) -> None:
    """They install the same version into the same folder, and each removes what no other one uses."""
    order: list[str] = []

    def second() -> None:
        with alone_in(str(stage.folder / "share")):
            order.append("second")

    with alone_in(str(stage.folder / "share")):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(5)
    assert order == ["first", "second"]
    stage.schedule(JOBS)
    assert (stage.folder / "share" / ".lock").exists()
