# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Storage elsewhere, for real: an S3 server, restic's REST protocol without the right to remove, and a folder."""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.server import ThreadedMotoServer

from stack import Stack, wait_until

PASSWORD = "the word that opens the copies"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "ACCESS-of-the-tests", "AWS_SECRET_ACCESS_KEY": "SECRET-of-the-tests"}


@dataclass(frozen=True)
class Storage:
    """A place for a repository, and how restic and the playbooks reach it."""

    location: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "dbops_offsite_repository": self.location,
            "dbops_offsite_password": PASSWORD,
            **({"dbops_offsite_environment": self.environment} if self.environment else {}),
        }

    def restic(self, stack: Stack, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What somebody who has the host can do with what is there."""
        given = {**self.environment, "RESTIC_REPOSITORY": self.location, "RESTIC_PASSWORD": PASSWORD}
        line = " ".join(f"{name}={shlex.quote(text)}" for name, text in given.items())
        return stack.as_deploy(f"{line} restic --no-cache {shlex.join(words)}", check=check)

    def snapshots(self, stack: Stack) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.restic(stack, "snapshots", "--json", "--no-lock").stdout)
        return found


@contextlib.contextmanager
def s3() -> Iterator[Storage]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Storage(f"s3:http://{host}:{port}/backups-{secrets.token_hex(4)}/chat", S3_KEYS)
    finally:
        server.stop()


@contextlib.contextmanager
def append_only(port: int = 0) -> Iterator[Storage]:
    """A REST server on another machine, as it were: who sends there can remove nothing."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="dbops-rest-") as folder:
        argv = ["rclone", "serve", "restic", "--append-only", "--addr", f"127.0.0.1:{port}", "--config", "/dev/null", folder]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: listens(port))
            yield Storage(f"rest:http://127.0.0.1:{port}/")
        finally:
            process.terminate()
            process.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def folder(stack: Stack, name: str) -> Iterator[Storage]:
    """A drive that is mounted, as far as anybody can tell."""
    path = f"{stack.folder}/opt/{name}"
    stack.as_deploy(f"mkdir {path}")
    try:
        yield Storage(path)
    finally:
        stack.as_deploy(f"rm -rf {path}")
