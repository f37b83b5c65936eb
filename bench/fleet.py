# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many databases: 50 on five servers of one host, backed up, looked at and planned with more and more forks.

What ``efficiency`` compares with is the slowest single one times their number over the forks: what so many would take if they did not
disturb each other at all. On a machine with two processors they do.
"""

from __future__ import annotations

import contextlib
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from controller import Controller, Run
from measure import must
from stack import Stack, command, wait_until

SERVERS, DATABASES = 5, 10
FORKS = (1, 5, 10, 25)

#: A row is a kilobyte that nothing compresses.
ROWS = 2000

PASSWORD = "of the fleet"  # noqa: S105 # of servers that live for minutes


def fleet(stack: Stack, controller: Controller, scratch: Path) -> dict[str, Any]:
    folder = scratch / "fleet"
    with servers(stack) as names:
        hosts = inventory(stack, names, folder)
        found: dict[str, Any] = {}
        single = max(_seconds(controller, "backup", folder, 1, limit=host)[0] for host in sorted(hosts)[:3])
        for forks in FORKS:
            seconds, run = _seconds(controller, "backup", folder, forks)
            done = [task for task in run.of_modules() if task.action.endswith(".backup")]
            if len(done) != len(hosts) or not all(task.result.get("changed") for task in done):
                raise RuntimeError("not every database was backed up")
            found[str(forks)] = {
                "backup": seconds,
                "status": _seconds(controller, "status", folder, forks, dbops_status_plan="never", dbops_status_fail_on="never")[0],
                "plan": _seconds(controller, "plan", folder, forks)[0],
                "efficiency": single * len(hosts) / forks / seconds,
                "controller_mb": run_memory(),
            }
    return {
        "fleet": found,
        "fleet_single_backup_seconds": single,
        "fleet_50_backup_efficiency": found["5"]["efficiency"],
        "fleet_50_backup_best_seconds": min(item["backup"] for item in found.values()),
        "remote_tasks": {},
    }


def _seconds(controller: Controller, playbook: str, folder: Path, forks: int, limit: str = "all", **given: Any) -> tuple[float, Run]:
    begun = time.monotonic()
    run = must(controller.run(playbook, "-l", limit, f"--forks={forks}", inventory=folder, **given))
    return time.monotonic() - begun, run


def run_memory() -> float:
    """The most memory that a process which this one has started had, in megabytes: Ansible's own, whose workers share it."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


@contextlib.contextmanager
def servers(stack: Stack) -> Iterator[list[str]]:
    names = [f"{stack.name}-fleet-{number}" for number in range(SERVERS)]
    try:
        for name in names:
            label = f"dbops-demo.stack={stack.name}"
            options = ["--detach", "--name", name, "--label", label, "--network", stack.network, "--env", f"POSTGRES_PASSWORD={PASSWORD}"]
            command("docker", "run", *options, stack.postgres_image)
        for name in names:
            fill(name)
        yield names
    finally:
        command("docker", "rm", "--force", "--volumes", *names, check=False)


def fill(name: str) -> None:
    address = json.loads(command("docker", "inspect", name).stdout)[0]["NetworkSettings"]["Networks"]
    place = {"host": next(iter(address.values()))["IPAddress"], "user": "postgres", "password": PASSWORD}

    def connected() -> Any:
        try:
            return psycopg2.connect(dbname="postgres", **place)
        except psycopg2.OperationalError:
            return None

    time.sleep(1)
    connection = wait_until(connected, 60)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        for number in range(DATABASES):
            cursor.execute(f"CREATE DATABASE app_{number}")
    for number in range(DATABASES):
        with contextlib.closing(psycopg2.connect(dbname=f"app_{number}", **place)) as own:
            own.autocommit = True
            with own.cursor() as cursor:
                text = "string_agg(md5(random()::text || id), '')"
                numbers = f"generate_series(1, {ROWS}) id, generate_series(1, 32)"
                cursor.execute(f"CREATE TABLE large AS SELECT id, {text} FROM {numbers} GROUP BY id")
                cursor.execute("ALTER TABLE large ADD PRIMARY KEY (id)")


def inventory(stack: Stack, names: list[str], folder: Path) -> list[str]:
    """The connection of the stack's own; its backend stands for theirs, with a runner that plans nothing much."""
    known = yaml.safe_load((stack.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]["vars"]
    runner = ["psql", "--no-psqlrc", "--version"]
    shared = {**known, "dbops_environment": "production", "dbops_backends": [stack.production.backends[0].name]}
    shared.update(dbops_migrate_image=stack.postgres_image, dbops_migrate_runner=runner)
    shared["dbops_backup_dir"] = f"{stack.folder}/opt/backups/{{{{ inventory_hostname }}}}"
    hosts = {
        f"app-{server}-{number}": {"dbops_container": name, "dbops_database": f"app_{number}"}
        for server, name in enumerate(names)
        for number in range(DATABASES)
    }
    folder.mkdir()
    (folder / "hosts.yml").write_text(json.dumps({"all": {"vars": shared, "hosts": hosts}}), encoding="utf-8")
    return list(hosts)
