# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`schedule.yml`: the target backs up, proves and removes by itself, on a real timer, and stops when it is told to."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.release import __version__ as core_version

from controller import Controller, Run
from faults import journal, left_behind
from stack import Server, Stack, wait_until
from systemd_host import SystemdHost, systemd_host, wheels

NIGHTLY = {"at": "03:00", "run": ["backup", "verify_backups", "prune_backups"]}
POLICY = {"keep_last": 1}


@pytest.fixture(scope="module")
def host(stack: Stack) -> Iterator[SystemdHost]:
    with systemd_host(stack) as made:
        yield made


@pytest.fixture(scope="module")
def pip(stack: Stack, host: SystemdHost) -> list[str]:
    return wheels(f"ansible-core=={core_version}", host.folder / "wheels")


def schedule(controller: Controller, host: SystemdHost, timers: dict[str, Any], *arguments: str, **variables: Any) -> Run:
    given = {"dbops_schedule_timers": timers, "dbops_schedule_delay": 0, "dbops_retention": POLICY, **variables}
    return controller.run("schedule", "-l", "chat-production", *arguments, inventory=host.inventory, **given)


def units(host: SystemdHost) -> list[str]:
    return sorted(host.run("bash", "-c", "ls .config/systemd/user 2>/dev/null | grep dbops: || true").stdout.split())


def test_it_runs_by_itself(v2: None, host: SystemdHost, pip: list[str], controller: Controller, stack: Stack, production: Server) -> None:
    refused = schedule(controller, host, {"nightly": NIGHTLY}, dbops_schedule_pip=pip)
    assert not refused.ok and "as root on that host, run once: loginctl enable-linger deploy" in refused.message, refused.output
    host.as_root("loginctl", "enable-linger", "deploy")
    wait_until(lambda: host.run("systemctl", "--user", "is-system-running", check=False).stdout.strip() == "running")

    soon = datetime.datetime.fromisoformat(host.run("date", "+%FT%T").stdout.strip()) + datetime.timedelta(seconds=75)
    timers = {"nightly": {**NIGHTLY, "at": f"*:{soon.minute:02}"}}
    checked = schedule(controller, host, timers, "--check", "--diff", dbops_schedule_pip=pip)
    assert checked.ok and units(host) == [], checked.output
    before = stack.backups(production)
    done = schedule(controller, host, timers, "--diff", dbops_schedule_pip=pip)
    assert done.ok and done.changed and done.result()["diff"] == checked.result()["diff"], done.output
    assert units(host) == ["dbops:chat-production:nightly.service", "dbops:chat-production:nightly.timer"]
    assert production.env["POSTGRES_PASSWORD"] not in done.output

    operations = ["backup", "verify_backups", "prune_backups"]
    wait_until(lambda: [entry["operation"] for entry in journal(stack, production)][-3:] == operations, seconds=150)
    assert [entry["result"] for entry in journal(stack, production)[-3:]] == ["ok"] * 3
    [backup] = [name for name in stack.backups(production) if name not in before]
    listed = controller.run("backups", "-l", "production")
    assert listed.result()["proofs"][backup]["state"] == "proved"
    wait_until(
        lambda: (
            host.run("systemctl", "--user", "is-active", "dbops:chat-production:nightly.service", check=False).stdout.strip() == "inactive"
        )
    )
    said = host.as_root("journalctl", "--unit", f"user@{host.uid}.service", "--no-pager")
    assert f"Backup '{backup}' is proved" in said
    assert left_behind(stack) == []

    again = schedule(controller, host, timers, dbops_schedule_pip=pip)
    assert again.ok and not again.changed, again.output
    gone = schedule(controller, host, {})
    assert gone.ok and gone.changed and units(host) == []
    assert host.run("bash", "-c", "ls .local/share/dbops.postgres/hosts .local/share/dbops.postgres/versions").stdout.split() == [
        ".local/share/dbops.postgres/hosts:",
        ".local/share/dbops.postgres/versions:",
    ]
    assert host.run("systemctl", "--user", "list-timers", "--all", "dbops:*", "--no-legend").stdout.strip() == ""


def test_two_jobs_at_once_wait_for_each_other(
    v2: None, host: SystemdHost, pip: list[str], controller: Controller, stack: Stack, production: Server
) -> None:
    """Nobody is there to start the second one again: it waits for the lock, and both end well."""
    host.as_root("loginctl", "enable-linger", "deploy")
    backup = {"at": "03:00", "run": ["backup"]}
    done = schedule(controller, host, {"first": backup, "second": backup}, dbops_schedule_pip=pip)
    assert done.ok, done.output
    before = stack.backups(production)
    names = [f"dbops:chat-production:{name}.service" for name in ("first", "second")]
    host.run("systemctl", "--user", "start", *names)  # a oneshot unit's start ends with it, and fails with it
    made = [name for name in stack.backups(production) if name not in before]
    assert len(made) == 2 and [entry["result"] for entry in journal(stack, production)[-2:]] == ["ok", "ok"], made
    assert left_behind(stack) == []
    assert schedule(controller, host, {}).ok


def test_a_job_that_fails_is_a_unit_that_has_failed(
    v2: None, host: SystemdHost, pip: list[str], controller: Controller, stack: Stack, production: Server
) -> None:
    """And what comes after it does not run. The host's server may have moved meanwhile: its identity is another one."""
    host.as_root("loginctl", "enable-linger", "deploy")
    page = "[Service]\nType=oneshot\nExecStart=/usr/bin/touch paged\nWorkingDirectory=%%h\n"
    host.run("bash", "-c", f"mkdir -p .config/systemd/user && printf '{page}' > .config/systemd/user/page.service")
    done = schedule(controller, host, {"nightly": NIGHTLY}, dbops_schedule_pip=pip, dbops_schedule_on_failure="page.service")
    assert done.ok, done.output
    settings = host.folder / ".local/share/dbops.postgres/hosts/chat-production/inventory.json"
    inventory = json.loads(settings.read_text(encoding="utf-8"))
    variables = inventory["all"]["children"]["production"]["hosts"]["chat-production"]
    variables["dbops_server_id"] = "7000000000000000001"
    settings.write_text(json.dumps(inventory), encoding="utf-8")
    started = host.run("systemctl", "--user", "start", "dbops:chat-production:nightly.service", check=False)
    assert started.returncode != 0
    assert [entry["operation"] for entry in journal(stack, production)] == ["schedule", "backup"], "nothing comes after it"
    assert "The inventory pins server 7000000000000000001" in journal(stack, production)[-1]["message"]
    wait_until((host.folder / "paged").exists)
    mended = schedule(controller, host, {"nightly": NIGHTLY}, dbops_schedule_pip=pip)
    assert mended.ok and mended.changed, "what somebody has changed there is put right"
    assert schedule(controller, host, {}).ok


def test_where_it_cannot_be_installed_nothing_is_set_up(
    v2: None, host: SystemdHost, controller: Controller, stack: Stack, production: Server
) -> None:
    host.as_root("loginctl", "enable-linger", "deploy")
    assert schedule(controller, host, {}).ok
    nowhere = ["--no-index", "--find-links", "/nowhere"]
    for variables, said in (
        ({"dbops_schedule_pip": nowhere}, "could not be installed on this host"),
        ({"dbops_schedule_python": "/usr/bin/false"}, "needs Python 3.11 or newer"),
        ({"dbops_schedule_python": "no-such-python"}, "'no-such-python' is none"),
    ):
        failed = schedule(controller, host, {"nightly": NIGHTLY}, **variables)
        assert not failed.ok and said in failed.message, failed.output
        assert units(host) == [] and "Traceback" not in failed.output
    wrong = schedule(controller, host, {"nightly": {**NIGHTLY, "run": ["restore"]}})
    assert not wrong.ok and "The job 'nightly' in dbops_schedule_timers is not right: run is a list of" in wrong.message


def test_with_cron(v2: None, host: SystemdHost, pip: list[str], controller: Controller, stack: Stack, production: Server) -> None:
    """The line does what it says, in the shell and the bare environment that cron gives it."""
    host.run("bash", "-c", "echo '5 5 * * * mine' | crontab -")
    done = schedule(controller, host, {"nightly": {**NIGHTLY, "run": ["backup"]}}, dbops_schedule_pip=pip, dbops_schedule_kind="cron")
    assert done.ok and done.result()["kind"] == "cron", done.output
    crontab = host.run("crontab", "-l").stdout.splitlines()
    assert crontab[0] == "5 5 * * * mine" and crontab[2].startswith("0 3 * * * env ANSIBLE_CONFIG=")
    line = crontab[2].split(None, 5)[5].replace("\\%", "%")
    bare = ["env", "-i", f"HOME={host.folder}", "LOGNAME=deploy", "PATH=/usr/bin:/bin", "SHELL=/bin/sh", "/bin/sh", "-c", line]
    ran = host.run(*bare, check=False)
    assert ran.returncode == 0, ran.stdout
    assert len(stack.backups(production)) == 1
    gone = schedule(controller, host, {}, dbops_schedule_kind="cron")
    assert gone.ok and host.run("crontab", "-l").stdout == "5 5 * * * mine\n"
