# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent elsewhere once a row in a hundred has changed, and how long an empty server takes to have everything back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import dataset
from broken import answers
from controller import Controller
from measure import Results, must
from offsite import Storage, append_only
from stack import Server, Stack, command, wait_until

#: A row in a hundred: new ones, the newest ones changed as an application changes what it has just written, and here and there in the whole table.
CHAT = {
    "appended": "INSERT INTO messages (id, text, created_at, room_messages, user_messages) SELECT last + n, m.text, now(), m.room_messages, m.user_messages"
    " FROM (SELECT max(id) AS last FROM messages) AS l, generate_series(1, (SELECT count(*) / 100 FROM messages)) AS n JOIN messages AS m ON m.id = n * 37",
    "newest": "UPDATE messages SET text = text || '.' WHERE id > (SELECT max(id) * 0.99 FROM messages)",
    "scattered": "UPDATE messages SET text = text || '.' WHERE id % 100 = 7",
}
#: The same of rows that are all of one width, so that none fits into what an older page has left.
READINGS = {
    "appended": "INSERT INTO readings SELECT last + n, n % 5000, now(), random() * 100"
    " FROM (SELECT max(id) AS last FROM readings) AS l, generate_series(1, (SELECT count(*) / 100 FROM readings)) AS n",
    "newest": "UPDATE readings SET value = value + 1 WHERE id > (SELECT max(id) * 0.99 FROM readings)",
    "scattered": "UPDATE readings SET value = value + 1 WHERE id % 100 = 7",
}


def copies(stack: Stack, controller: Controller, megabytes: int) -> Results:
    with append_only() as storage:
        shares, first, remote_tasks = _shares(stack, controller, storage, CHAT, lambda: dataset.fill(stack.production, megabytes))
        seconds = _fresh_host(stack, controller, Storage(f"{storage.location}none/"))
    return {
        "offsite_second_backup_share": shares["none"]["newest"],
        "offsite_second_backup_shares": shares,
        "offsite_first_mb": first,
        "restore_fresh_host_seconds": seconds,
        "remote_tasks": {"copy_backups": remote_tasks},
    }


def copies_of_other_data(stack: Stack, controller: Controller, megabytes: int) -> Results:
    with append_only() as storage:
        shares, _first, _remote_tasks = _shares(
            stack, controller, storage, READINGS, lambda: dataset.fill_otherwise(stack.production, megabytes)
        )
    return {"offsite_second_backup_share": shares["none"]["newest"], "offsite_second_backup_shares": shares}


def scheduling(controller: Controller) -> Results:
    """What it asks of the target, also where there is nothing to do."""
    run = must(controller.run("schedule", "-l", "production", dbops_schedule_kind="systemd"))
    return {"remote_tasks": {"schedule": run.remote_tasks}}


def _shares(
    stack: Stack, controller: Controller, storage: Storage, changes: dict[str, str], fill: Callable[[], None]
) -> tuple[dict[str, dict[str, float]], dict[str, float], int]:
    """By the form of the dump and the change, how much is sent of what the first copy was; the first copies in MB; the tasks that travelled."""
    shares: dict[str, dict[str, float]] = {}
    sizes: dict[str, float] = {}
    for form in ("auto", "none"):
        own = Storage(f"{storage.location}{form}/")
        stack.fill("v1")
        fill()  # anew, since a change also leaves room behind into which the next one writes
        first, remote_tasks = _sent(stack, controller, own, form)
        sizes[form], shares[form] = first / 1e6, {}
        for name, change in changes.items():
            stack.production.do(change, "VACUUM")
            shares[form][name] = _sent(stack, controller, own, form)[0] / first
    return shares, sizes, remote_tasks


def _sent(stack: Stack, controller: Controller, storage: Storage, form: str) -> tuple[int, int]:
    """Bytes that the repository did not have, and the tasks that travelled."""
    stack.as_deploy(f"rm -rf {stack.production.backups}")
    must(controller.run("backup", "-l", "production", dbops_backup_compression=form))
    run = must(controller.run("copy_backups", "-l", "production", **storage.variables, dbops_copy_init=True))
    [sent] = run.result()["copied"]
    return int(sent["added"]), run.remote_tasks


def _fresh_host(stack: Stack, controller: Controller, storage: Storage) -> float:
    """From the start of an empty server to every row compared: the two commands of the guide, one after the other."""
    name = f"{stack.name}-fresh-{secrets.token_hex(3)}"
    folder = f"{stack.folder}/opt/backups/fresh"
    options = [
        "--name",
        name,
        "--label",
        f"dbops-demo.stack={stack.name}",
        "--network",
        stack.network,
        "--env",
        "POSTGRES_PASSWORD=throw-away-word",
    ]
    begun = time.monotonic()
    command("docker", "run", "--detach", *options, stack.postgres_image)
    try:
        server = Server(name, "postgres", "fresh", "production", [], folder)
        wait_until(lambda: answers(server))
        given = {"dbops_container": name, "dbops_backends": [], "dbops_backup_dir": folder, "dbops_server_id": server.identifier}
        wanted = {"dbops_restore_from": "offsite", "dbops_restore_backup": "latest", "dbops_restore_missing_roles": "create"}
        must(controller.run("restore", "-l", "production", **storage.variables, **given, **wanted, dbops_confirm="restore:chat"))
        return time.monotonic() - begun
    finally:
        command("docker", "rm", "--force", "--volumes", name)
        stack.as_deploy(f"rm -rf {folder}")
