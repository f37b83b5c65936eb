# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent elsewhere once a row in a hundred has changed, and how long an empty server takes to have everything back."""

from __future__ import annotations

import secrets
import time
from typing import Any

from broken import answers
from controller import Controller
from measure import Results, must
from offsite import Storage, append_only
from stack import Server, Stack, command, wait_until

_APPEND = (
    "INSERT INTO messages (id, text, created_at, room_messages, user_messages) SELECT last + n, m.text, now(), m.room_messages, m.user_messages"
    " FROM (SELECT max(id) AS last FROM messages) AS l, generate_series(1, (SELECT count(*) / 100 FROM messages)) AS n JOIN messages AS m ON m.id = n * 37"
)

#: A row in a hundred: new ones, the newest ones changed as an application changes what it has just written, and here and there in the whole table.
CHANGES = {
    "appended": _APPEND,
    "newest": "UPDATE messages SET text = text || '.' WHERE id > (SELECT max(id) * 0.99 FROM messages)",
    "scattered": "UPDATE messages SET text = text || '.' WHERE id % 100 = 7",
}

#: Rows that come later also go into what pages had left. A table that has been in use for some time has little of that, a new one much.
_TIMES_IN_USE = 8


def copies(stack: Stack, controller: Controller) -> Results:
    found: dict[str, Any] = {}
    stack.production.do("CLUSTER messages USING messages_pkey", "VACUUM ANALYZE messages")
    for _time in range(_TIMES_IN_USE):
        stack.production.do(_APPEND, "VACUUM messages")
    with append_only() as storage:
        for form in ("auto", "none"):
            own = Storage(f"{storage.location}{form}/")
            first, remote_tasks = _sent(stack, controller, own, form)
            found[form] = {"first_mb": first / 1e6}
            for name, change in CHANGES.items():
                stack.production.do(change, "VACUUM messages")
                found[form][name] = _sent(stack, controller, own, form)[0] / first
        seconds = _fresh_host(stack, controller, own)
    return {
        "offsite_second_backup_share": found["none"]["newest"],
        "offsite_second_backup_share_appended": found["none"]["appended"],
        "offsite_second_backup_share_scattered": found["none"]["scattered"],
        "offsite_second_backup_share_compressed": found["auto"]["newest"],
        "offsite_second_backup_share_compressed_appended": found["auto"]["appended"],
        "offsite_first_mb": {form: found[form]["first_mb"] for form in found},
        "restore_fresh_host_seconds": seconds,
        "remote_tasks": {"copy_backups": remote_tasks},
    }


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
