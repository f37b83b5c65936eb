# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One measurement a function: the playbooks as a user runs them, the runbook's own commands, and the bare tools.

What is compared runs on the same data, in the same run, in turns; of several rounds the median counts. Seconds are wall clock.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from broken import BROKEN, Workbench, first_kind, run_diagnosis
from controller import Controller, Run
from stack import Server, Stack, command

#: How often the application asks, in seconds.
RETRY = 0.05

Results = dict[str, Any]


def seconds_of(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def phases(run: Run, prefix: str) -> float:
    """Seconds that an operation spent in the phases of one kind."""
    return sum(seconds for phase, seconds in run.result()["operation"]["phases"].items() if phase.startswith(prefix))


def must(run: Run) -> Run:
    if not run.ok:
        raise RuntimeError(run.output)
    return run


class Peak(threading.Thread):
    """The most memory that any one Python of a user's had, in megabytes, while this was watching."""

    def __init__(self, user: str) -> None:
        super().__init__(daemon=True)
        self._user = user
        self._stopping = threading.Event()
        self.megabytes = 0.0

    def run(self) -> None:
        while not self._stopping.wait(0.1):
            self.megabytes = max([self.megabytes, *self._look()])

    def _look(self) -> Iterable[float]:
        listed = command("ps", "--no-headers", "-u", self._user, "-o", "pid=,comm=", check=False).stdout
        for pid, name in (line.split(None, 1) for line in listed.splitlines()):
            if name.startswith("python"):
                yield _peak_of(pid)

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopping.set()
        self.join()


def _peak_of(pid: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


class Application(threading.Thread):
    """Asks for one row again and again, and connects anew after an error; notes how long it got none."""

    def __init__(self, server: Server, query: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._address = server.address
        self._query = query
        self._connection: Any = None
        self._stopping = threading.Event()
        self.unusable = 0.0

    def run(self) -> None:
        failing_since = None
        while not self._stopping.wait(RETRY):
            asked = time.monotonic()
            if not self._answered():
                failing_since = failing_since or asked
            elif failing_since:
                self.unusable += time.monotonic() - failing_since
                failing_since = None
        self.unusable += time.monotonic() - failing_since if failing_since else 0

    def _answered(self) -> bool:
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(
                    host=self._address,
                    user="postgres",
                    password=self._server.env["POSTGRES_PASSWORD"],
                    dbname=self._server.database,
                    connect_timeout=2,
                )
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                cursor.execute(self._query)
                return cursor.fetchone() is not None
        except psycopg2.Error:
            self._connection = None
            return False

    def __enter__(self) -> Application:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        time.sleep(1)  # what comes after the last command counts too
        self._stopping.set()
        self.join()


def plain_dump(server: Server, path: Path) -> None:
    """The runbook's backup."""
    with path.open("wb") as stream:
        subprocess.run(["docker", "exec", server.name, "pg_dump", "-U", "postgres", server.database], stdout=stream, check=True)


def bare_dump(server: Server, compression: str) -> int:
    """The fastest that PostgreSQL's own tool can do: in parallel, inside the container. Returns bytes."""
    folder = "/tmp/bench"  # noqa: S108 (the container's own)
    argv = ["pg_dump", "-U", "postgres", "-Fd", "-j2", "-Z", compression, "-f", folder, server.database]
    try:
        server.exec(*argv)
        return int(server.exec("du", "-sb", folder).stdout.split()[0])
    finally:
        server.exec("rm", "-rf", folder)


def backups(stack: Stack, controller: Controller, rounds: int, scratch: Path) -> Results:
    server = stack.production
    plain = scratch / "runbook.sql"
    runbook, bare, gzip, ours, digested, verify = ([] for _kind in range(6))  # type: ignore[var-annotated]
    sizes: dict[str, int] = {}
    peak = 0.0
    for _round in range(rounds):
        runbook.append(seconds_of(lambda: plain_dump(server, plain)))
        bare.append(seconds_of(lambda: sizes.update(bare=bare_dump(server, "zstd:1"))))
        gzip.append(seconds_of(lambda: sizes.update(gzip=bare_dump(server, "gzip:1"))))
        ours.append(seconds_of(lambda: must(controller.run("backup", "-l", "production", dbops_backup_content_hash="never"))))
        with Peak("deploy") as watched:
            begun = time.monotonic()
            run = must(controller.run("backup", "-l", "production", dbops_backup_content_hash="always"))
            digested.append(time.monotonic() - begun)
        peak = max(peak, watched.megabytes)
        verify.append(phases(run, "backup: verify"))
    sizes.update(ours=run.result()["backup"]["size"], runbook=plain.stat().st_size)
    median = statistics.median
    return {
        "data_mb": round(sizes["runbook"] / 1e6),
        "backup_time_ratio": median(_ratios(ours, runbook)),
        "backup_size_ratio": sizes["ours"] / sizes["runbook"],
        "backup_limit_ratio": median(_ratios(ours, bare)),
        "backup_verify_seconds": median(verify),
        "module_peak_rss_mb": peak,
        "content_hash_overhead": median([1 - without / whole for without, whole in zip(ours, digested)]),
        "backup_seconds": median(ours),
        "backup_seconds_phases": run.result()["operation"]["phases"],
        "backup_seconds_runbook": median(runbook),
        "backup_seconds_bare_zstd": median(bare),
        "backup_seconds_bare_gzip": median(gzip),
        "backup_size_ratio_bare_gzip": sizes["gzip"] / sizes["runbook"],
        "remote_tasks": {"backup": run.remote_tasks},
    }


def _ratios(ours: Iterable[float], theirs: Iterable[float]) -> list[float]:
    """Of pairs that ran one after the other: what a machine does meanwhile happens to both."""
    return [own / other for own, other in zip(ours, theirs)]


def bare_restore(server: Server) -> float:
    """Seconds of the fastest that PostgreSQL's own tool can do: in parallel, inside the container, into a new database."""
    folder, copy = "/tmp/bench", "bench_copy"  # noqa: S108 (the container's own)
    server.exec("pg_dump", "-U", "postgres", "-Fd", "-j2", "-Z", "zstd:1", "-f", folder, server.database)
    try:
        server.exec("createdb", "-U", "postgres", copy)
        return seconds_of(lambda: server.exec("pg_restore", "-U", "postgres", "-j2", "-d", copy, folder))
    finally:
        server.exec("dropdb", "-U", "postgres", "--if-exists", "--force", copy)
        server.exec("rm", "-rf", folder)


def restore_pairs(server: Server, controller: Controller, rounds: int) -> list[float]:
    """Ours, until the service is back (the backup of what was replaced comes after that), over the bare tool's."""
    ours, bare = [], []
    for _round in range(rounds):
        bare.append(bare_restore(server))
        begun = time.monotonic()
        run = must(
            controller.run("restore", "-l", "production", dbops_restore_backup="latest", dbops_confirm="restore:chat", dbops_restore_keep=0)
        )
        ours.append(time.monotonic() - begun - phases(run, "backup"))
    return _ratios(ours, bare)


def proof_pairs(server: Server, controller: Controller, rounds: int) -> tuple[list[float], Run]:
    """A proof, as a user runs it, over the bare tool's restore of the same; and the last proof."""
    ours, bare = [], []
    must(controller.run("backup", "-l", "production", dbops_backup_content_hash="always"))
    for _round in range(rounds):
        bare.append(bare_restore(server))
        begun = time.monotonic()
        run = must(controller.run("verify_backups", "-l", "production"))
        ours.append(time.monotonic() - begun)
    return _ratios(ours, bare), run


def silence(controller: Controller) -> Results:
    """The longest time in which a job's log says nothing new, over a backup, its proof and its restore."""
    consent = {"dbops_restore_backup": "latest", "dbops_confirm": "restore:chat"}
    works: tuple[tuple[str, dict[str, str]], ...] = (("backup", {}), ("verify_backups", {}), ("restore", consent))
    return {"progress_gap_seconds": max(_longest_silence(controller, verb, given) for verb, given in works), "remote_tasks": {}}


def _longest_silence(controller: Controller, verb: str, variables: dict[str, str]) -> float:
    started = controller.start(verb, "-l", "production", env={"PYTHONUNBUFFERED": "1"}, **variables)
    size, last, longest = 0, time.monotonic(), 0.0
    while started.process.poll() is None:
        time.sleep(0.05)
        now = started.output_size
        if now != size:
            size, longest, last = now, max(longest, time.monotonic() - last), time.monotonic()
    must(started.wait())
    return longest


def proofs(stack: Stack, controller: Controller, rounds: int) -> Results:
    """And what removing and listing backups ask of the target."""
    pairs, run = proof_pairs(stack.production, controller, rounds)
    listed = must(controller.run("backups", "-l", "production"))
    looked = must(controller.run("progress", "-l", "production"))
    pruned = must(controller.run("prune_backups", "-l", "production", dbops_retention={"keep_last": 1}))
    [found] = run.result()["verified"]
    return {
        "verify_limit_ratio": statistics.median(pairs),
        "verify_seconds_parts": found["seconds"],
        "remote_tasks": {
            "verify_backups": run.remote_tasks,
            "prune_backups": pruned.remote_tasks,
            "backups": listed.remote_tasks,
            "progress": looked.remote_tasks,
        },
    }


def other_data(stack: Stack, controller: Controller, rounds: int, scratch: Path) -> Results:
    """The same ratios on another kind of data."""
    backup = backups(stack, controller, rounds, scratch)
    names = ("data_mb", "content_hash_overhead", "backup_time_ratio", "backup_limit_ratio", "backup_size_ratio")
    found = {name: backup[name] for name in names}
    found["restore_limit_ratio"] = statistics.median(restore_pairs(stack.production, controller, rounds))
    found["verify_limit_ratio"] = statistics.median(proof_pairs(stack.production, controller, rounds)[0])
    return {"other_data": found, "remote_tasks": {}}


def restores(stack: Stack, controller: Controller, rounds: int, scratch: Path) -> Results:
    """Both ways back to the same contents; the application asks for the last message. (The runbook's own line, onto the live
    database, restores nothing: every row is there already. So it is given an empty one, as in its own section on resets.)"""
    server = stack.production
    pairs = restore_pairs(server, controller, rounds)
    last = f"SELECT 1 FROM messages WHERE id = {server.value('SELECT max(id) FROM messages')}"
    with Application(server, last) as application:
        begun = time.monotonic()
        run = must(controller.run("restore", "-l", "production", dbops_restore_backup="latest", dbops_confirm="restore:chat"))
        ours = time.monotonic() - begun
    with Application(server, last) as application_runbook:
        runbook = seconds_of(lambda: _restore_by_hand(server, scratch / "runbook.sql"))
    return {
        "restore_unusable_seconds": application.unusable,
        "restore_unusable_seconds_runbook": application_runbook.unusable,
        "restore_seconds": ours,
        "restore_limit_ratio": statistics.median(pairs),
        "restore_seconds_phases": run.result()["operation"]["phases"],
        "restore_seconds_runbook": runbook,
        "remote_tasks": {"restore": run.remote_tasks},
    }


def _restore_by_hand(server: Server, plain: Path) -> None:
    database = server.database
    server.exec("psql", "-U", "postgres", "-c", f"DROP DATABASE {database} WITH (FORCE)")
    server.exec("psql", "-U", "postgres", "-c", f"CREATE DATABASE {database}")
    with plain.open("rb") as stream:
        argv = ["docker", "exec", "-i", server.name, "psql", "-q", "-U", "postgres", database]
        subprocess.run(argv, stdin=stream, stdout=subprocess.DEVNULL, check=True)
    command("docker", "restart", *(backend.name for backend in server.backends))


def migration(controller: Controller) -> Results:
    """The deployed backend wants the next version of the schema."""
    begun = time.monotonic()
    run = must(controller.run("migrate", "-l", "production"))
    whole = time.monotonic() - begun
    if not run.changed:
        raise RuntimeError("there was nothing to migrate")
    return {
        "migrate_overhead_seconds": whole - phases(run, "backup") - run.result()["runner_seconds"],
        "plan_seconds": phases(run, "plan"),
        "migrate_seconds": whole,
        "migrate_seconds_phases": run.result()["operation"]["phases"],
        "remote_tasks": {"migrate": run.remote_tasks},
    }


def diagnosis(stack: Stack, controller: Controller, rounds: int) -> Results:
    """How long a look at a healthy preview takes, its plan included, and of how many broken stacks the first finding is the right one."""
    stack.fill("v2")
    bench = Workbench(stack, controller)
    seconds = []
    for _round in range(rounds):
        begun = time.monotonic()
        run = must(controller.run("diagnose", "-l", "preview", dbops_diagnose_env_files=[bench.env_files]))
        seconds.append(time.monotonic() - begun)
    missed = []
    for broken in BROKEN:
        stack.fill(broken.contents)
        with broken.break_and_mend(bench) as variables:
            kind = first_kind(must(run_diagnosis(bench, broken, variables)))
        if kind != broken.expected:
            missed.append(f"{broken.name}: {kind or 'nothing'} instead of {broken.expected}")
    return {
        "diagnose_seconds": statistics.median(seconds),
        "diagnose_found": 1 - len(missed) / len(BROKEN),
        "diagnose_broken_stacks": len(BROKEN),
        "diagnose_missed": missed,
        "remote_tasks": {"diagnose": run.remote_tasks},
    }


def growth(controller: Controller, server: Server) -> Results:
    """What one size costs: seconds that each module took on the target."""
    backup = must(controller.run("backup", "-l", "production"))
    plan = must(controller.run("migrate", "-l", "production", "--check"))
    restore = must(
        controller.run(
            "restore",
            "-l",
            "production",
            dbops_restore_backup="latest",
            dbops_confirm="restore:chat",
            dbops_restore_keep=0,
            dbops_restore_backup_first=False,
        )
    )
    return {
        "database_mb": round(server.value("SELECT pg_database_size(current_database())") / 1e6),
        "tables": server.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "backup_seconds": backup.result()["operation"]["duration_seconds"],
        "plan_seconds": phases(plan, "plan"),
        "restore_seconds": restore.result()["operation"]["duration_seconds"],
    }


def status(stack: Stack, controller: Controller, scratch: Path) -> Results:
    """One look at each database: where the journal tells that nothing is pending, where the sandbox has to; and at fifty at once."""
    for host in ("production", "preview"):
        must(controller.run("migrate", "-l", host))
        must(controller.run("backup", "-l", host))
    run = must(controller.run("status", "-l", "production"))
    sandbox = must(controller.run("status", "-l", "production", dbops_status_plan="always"))
    fifty = inventory_of(stack, scratch / "fifty.yml", 50)
    begun = time.monotonic()
    many = must(controller.run("status", "--forks=10", inventory=fifty))
    whole = time.monotonic() - begun
    if len(many.of_modules()) != 50:
        raise RuntimeError(many.output)
    return {
        "status_seconds": run.result()["operation"]["duration_seconds"],
        "status_seconds_sandbox": sandbox.result()["operation"]["duration_seconds"],
        "status_50_hosts_seconds": whole,
        "remote_tasks": {"status": run.remote_tasks},
    }


def inventory_of(stack: Stack, path: Path, number: int) -> Path:
    """So many hosts, each of which is one of the stack's two databases."""
    known = yaml.safe_load((stack.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]
    groups = {}
    for group, described in known["children"].items():
        [(host, variables)] = described["hosts"].items()
        variables = {**variables, "dbops_backup_dir": known["vars"]["dbops_backup_dir"].replace("{{ inventory_hostname }}", host)}
        groups[group] = {**described, "hosts": {f"{group}-{at:02d}": variables for at in range(number // len(known["children"]))}}
    path.write_text(yaml.safe_dump({"all": {"vars": known["vars"], "children": groups}}), encoding="utf-8")
    return path
