# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Being told: real runs, a real receiver, metrics as promtool reads them; and nothing that fails because nobody listens."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import Controller
from faults import journal
from offsite import free_port
from stack import Server, Stack


class Receiver:
    """Remembers what it is told, by path."""

    def __init__(self) -> None:
        told: list[tuple[str, str]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self.told = told
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_failure_and_a_recovery_are_told_once(
    v2: None, receiver: Receiver, controller: Controller, stack: Stack, production: Server
) -> None:
    hooks = {
        "dbops_notify_webhook": f"{receiver.url}/hook/word-of-ours",
        "dbops_notify_heartbeats": {"backup": f"{receiver.url}/beat/0c2f5a7e"},
    }
    assert controller.run("backup", "-l", "production", **hooks).ok
    assert [path for path, _body in receiver.told] == ["/beat/0c2f5a7e/start", "/beat/0c2f5a7e"], "that it works is no news"
    receiver.told.clear()
    failed = controller.run("backup", "-l", "production", **hooks, dbops_password="not-the-word")
    assert not failed.ok
    assert [path for path, _body in receiver.told] == ["/beat/0c2f5a7e/start", "/beat/0c2f5a7e/fail", "/hook/word-of-ours"]
    said = json.loads(receiver.told[-1][1])
    assert said["event"] == "failure" and "backup of 'chat' on chat-production (production) failed: " in said["text"]
    assert "not-the-word" not in receiver.told[-1][1] and "word-of-ours" not in failed.output
    receiver.told.clear()
    assert controller.run("backup", "-l", "production", **hooks).ok
    assert json.loads(receiver.told[-1][1])["event"] == "recovery"
    receiver.told.clear()
    assert controller.run("backup", "-l", "production", "--check", **hooks).ok and controller.run("status", "-l", "production", **hooks).ok
    assert receiver.told == []


def test_a_receiver_that_hangs_or_is_not_there_fails_no_backup(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        hooks = {
            "dbops_notify_webhook": f"http://127.0.0.1:{deaf.getsockname()[1]}/hook/word-of-ours",
            "dbops_notify_events": ["success"],
            "dbops_notify_heartbeats": {"backup": f"http://127.0.0.1:{free_port()}/beat"},
        }
        began = time.monotonic()
        done = controller.run("backup", "-l", "production", **hooks)
    assert done.ok and len(stack.backups(production)) == 1
    assert time.monotonic() - began < 90
    warnings = done.result()["warnings"]
    assert any("The webhook at '127.0.0.1' was not told" in warning for warning in warnings), warnings
    assert any("The heartbeat at '127.0.0.1' was not told" in warning for warning in warnings)
    assert "word-of-ours" not in done.output + json.dumps(journal(stack, production))


def test_prometheus_reads_the_metrics(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    folder = f"{stack.folder}/opt/metrics"
    stack.as_deploy(f"mkdir -p {folder}")
    try:
        assert controller.run("backup", "-l", "production", dbops_metrics_dir=folder).ok
        assert controller.run("verify_backups", "-l", "production", dbops_metrics_dir=folder).ok
        text = stack.as_deploy(f"cat {folder}/*.prom").stdout
        program = shutil.which("promtool") or str(Path(__file__).parents[2] / ".cache" / "promtool" / "usr" / "bin" / "promtool")
        checked = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0 and "error" not in checked.stderr, checked.stdout + checked.stderr
        assert 'dbops_backup_proved_timestamp_seconds{host="chat-production",database="chat",environment="production"}' in text
        missing = controller.run("backup", "-l", "production", dbops_metrics_dir=f"{folder}/none")
        assert missing.ok and any("dbops_metrics_dir" in warning for warning in missing.result()["warnings"])
    finally:
        stack.as_deploy(f"rm -rf {folder}")
