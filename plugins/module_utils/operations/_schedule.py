# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Let the target run jobs by itself, or no longer."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._files import Files, alone_in
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._installation import Installation
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._job import (
    Job,
    cron_line,
    parse_jobs,
    playbook_of,
    service_unit,
    timer_unit,
)
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._timers import SYSTEMD, Cron, Systemd, kind_of_host, prefix_of
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

#: A consent is for one run that a person has in mind; what the schedule itself is made of is no variable of its jobs.
_NEVER = ("dbops_confirm", "dbops_schedule_", "dbops_restore_", "dbops_lock_wait")

_INVENTORY, _SETTINGS = "inventory.json", "ansible.cfg"

#: Seconds that a job waits for another operation, unless it says otherwise: nobody is there to start it again.
_LOCK_WAIT = 3600


@dataclass(frozen=True)
class ScheduleOptions:
    """``jobs``: as they were given, none removes all; ``variables`` and ``secrets``: of the host, for the inventory on it. ``delay``: seconds, at
    most, by which a timer runs later. ``kind``: ``systemd``, ``cron`` or ``auto``. ``on_failure``: a unit that systemd starts then."""

    jobs: t.Mapping[str, t.Any]
    installation: Installation
    variables: t.Mapping[str, t.Any] = field(default_factory=dict)
    secrets: t.Mapping[str, t.Any] = field(default_factory=dict)
    kind: str = "auto"
    delay: int = 600
    on_failure: str = ""


@dataclass(frozen=True)
class Plan:
    """What there will be: files of the host's own folder, and timers."""

    jobs: tuple[Job, ...]
    files: dict[str, str]
    timers: dict[str, str]


def schedule(operation: Operation, options: ScheduleOptions) -> Result:
    """The module's work."""
    host = operation.evidence.host
    kind = kind_of_host() if options.kind == "auto" else options.kind
    timers: Systemd | Cron = Systemd(host) if kind == SYSTEMD else Cron(host)
    files = Files(os.path.join(options.installation.folder, "hosts", host.replace("/", "_")))
    jobs = tuple(parse_jobs(options.jobs))
    if jobs:
        timers.require()
    plan = Plan(jobs, _files(operation, options, jobs, files.folder), _timers(options, host, jobs, timers, files.folder))
    before = {**files.read(), **timers.read()}
    after = {**plan.files, **plan.timers}
    changed = before != after or bool(jobs and not options.installation.is_there)
    facts = {"timers": [job.name for job in jobs], "kind": kind, "folder": options.installation.path if jobs else ""}
    diff = {"before": _shown(before), "after": _shown(after)}
    if changed and not operation.check_mode:
        with alone_in(options.installation.folder):
            _apply(operation, options, plan, files, timers)
    return Result(changed, _told(operation, plan, kind, changed), facts, diff, {"timers": facts["timers"]})


def _apply(operation: Operation, options: ScheduleOptions, plan: Plan, files: Files, timers: Systemd | Cron) -> None:
    """What is run comes first, and what runs it last; the other way round where it goes."""
    if plan.jobs:
        operation.enter("schedule: install")
        options.installation.make()
        files.write(plan.files)
    operation.enter("schedule: timers")
    timers.write(plan.timers)
    if not plan.jobs:
        files.write({})
    options.installation.remove_others(_versions_in_use(options.installation.folder))


def _versions_in_use(folder: str) -> set[str]:
    """Every host of the inventory that has jobs here names its version in its settings."""
    hosts = os.path.join(folder, "hosts")
    found = set()
    for host in sorted(os.listdir(hosts)) if os.path.isdir(hosts) else []:
        for line in Files(os.path.join(hosts, host)).read().get(_SETTINGS, "").splitlines():
            name, _equals, value = line.partition("=")
            if name.strip() == "collections_path":
                found.add(os.path.dirname(value.strip()))
    return found


def _files(operation: Operation, options: ScheduleOptions, jobs: t.Sequence[Job], folder: str) -> dict[str, str]:
    if not jobs:
        return {}
    own = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "dbops_lock_wait": _LOCK_WAIT}
    given = {name: value for name, value in {**options.variables, **options.secrets}.items() if not name.startswith(_NEVER)}
    inventory = {"all": {"children": {operation.request.environment: {"hosts": {operation.evidence.host: {**given, **own}}}}}}
    settings = ["[defaults]", "inventory = " + os.path.join(folder, _INVENTORY), "collections_path = " + options.installation.collections]
    settings += ["home = " + os.path.join(options.installation.folder, "ansible"), "nocolor = true", "nocows = true"]
    settings += ["callback_result_format = yaml", "deprecation_warnings = false"]
    return {
        _INVENTORY: json.dumps(inventory, indent=1, sort_keys=True) + "\n",
        _SETTINGS: "\n".join(settings) + "\n",
        **{job.name + ".yml": playbook_of(job) for job in jobs},
    }


def _timers(options: ScheduleOptions, host: str, jobs: t.Sequence[Job], timers: Systemd | Cron, folder: str) -> dict[str, str]:
    environment = {"ANSIBLE_CONFIG": os.path.join(folder, _SETTINGS), "LC_ALL": "C.UTF-8"}
    found: dict[str, str] = {}
    for job in jobs:
        argv = [options.installation.program, "--limit", host, os.path.join(folder, job.name + ".yml")]
        if timers.kind == SYSTEMD:
            name = prefix_of(host) + job.name
            found[name + ".service"] = service_unit(job, host, argv, environment, options.on_failure)
            found[name + ".timer"] = timer_unit(job, host, options.delay)
        else:
            found["crontab"] = found.get("crontab", "") + cron_line(job, argv, environment) + "\n"
    return found


def _shown(files: t.Mapping[str, str]) -> str:
    """For the diff: the inventory holds secrets, so only the names of its variables are shown."""
    lines = []
    for name, text in sorted(files.items()):
        lines += ["# " + name, _names_of(text) if name == _INVENTORY else text.rstrip("\n")]
    return "".join(line + "\n" for line in lines)


def _names_of(text: str) -> str:
    try:
        [group] = json.loads(text)["all"]["children"].values()
        [variables] = group["hosts"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        return "(not as this collection writes it)"
    return "\n".join(sorted(variables))


def _told(operation: Operation, plan: Plan, kind: str, changed: bool) -> list[str]:
    host = operation.evidence.host
    if not plan.jobs:
        verb = "Would remove" if operation.check_mode else "Removed"
        return ["%s everything that ran by itself for '%s'." % (verb, host) if changed else "Nothing runs by itself for '%s'." % host]
    verb = "Would run" if changed and operation.check_mode else "Runs"
    where = "systemd: systemctl --user list-timers" if kind == SYSTEMD else "cron: crontab -l"
    lines = ["%s by itself on the host of '%s' (%s), %s:" % (verb, host, where, count_text(len(plan.jobs), "job"))]
    return lines + [str(job) for job in plan.jobs]
