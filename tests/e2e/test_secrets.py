# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S7: secrets are looked for everywhere that somebody could see them, while operations run and afterwards.

The runner's own environment is where the backend has its secrets, so there they are expected (docs/safety.md); the containers of
PostgreSQL's own programs must have none.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import Controller, Run
from faults import Hand, left_behind, repeatedly
from stack import Server, Stack, as_root, command

#: Every ASCII character that means something to somebody, and some that are none.
PASSWORD = "p'a\"s`s$w{o}r(d)%41%s:@/?#[]!&*+,;=<>|^~ \\1\\n é漢 end"

ROLE = """o'ps "1" é"""


def written(secret: str) -> list[str]:
    """As it may stand in a text: raw, in an address, in JSON, in SQL, in the shell's and in YAML's quotes, as Python shows it."""
    forms = {
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.replace("'", "''"),
        secret.replace("'", "'\"'\"'"),
        secret.replace("\\", "\\\\").replace(":", "\\:"),
        repr(secret)[1:-1],
    }
    return sorted(forms)


def found_in(text: str, secrets: list[str]) -> list[str]:
    return [form for secret in secrets for form in written(secret) if form in text]


class Spy:
    """Sees what every user of the host can see while something runs: argument lists, files' modes, containers."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.argument_lists: set[str] = set()
        self.modes: set[str] = set()
        self.containers: dict[str, dict[str, Any]] = {}
        self._events = subprocess.Popen(
            [
                "docker",
                "events",
                "--filter",
                "type=container",
                "--filter",
                "event=create",
                "--filter",
                "label=dbops.run",
                "--format",
                "{{.ID}}",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._inspect, daemon=True)
        self._listener.start()

    def _inspect(self) -> None:
        assert self._events.stdout
        for line in self._events.stdout:
            seen = command("docker", "inspect", line.strip(), check=False).stdout
            for container in json.loads(seen or "[]"):
                self.containers[container["Name"].lstrip("/")] = container

    def close(self) -> None:
        self._events.terminate()
        self._listener.join(timeout=10)
        self._events.communicate(timeout=10)

    def look(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.argument_lists.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it ended meanwhile
                continue


@pytest.fixture
def spy(stack: Stack) -> Iterator[Spy]:
    made = Spy(stack)
    with repeatedly(made.look, 0.02):
        yield made
    made.close()


@pytest.fixture
def modes(stack: Stack, production: Server) -> Iterator[set[str]]:
    """All modes that files and folders of ours have had while the test ran: kind, mode, name."""
    seen: set[str] = set()
    look = f"find {production.backups} /tmp/dbops-* -user deploy -printf '%y %m %p\\n' 2>/dev/null || true"
    with Hand(stack) as hand, repeatedly(lambda: seen.update(hand.do(look).splitlines()), 0.02):
        yield seen


@pytest.fixture
def operator(v1: None, controller: Controller, stack: Stack, production: Server) -> Iterator[Controller]:
    """Everything is done by a role with an awkward name, whose password has every special character; both stand in a vault (here: a file)."""
    literal = "U&'" + "".join(f"\\+{ord(char):06X}" for char in PASSWORD) + "'"
    name = '"' + ROLE.replace('"', '""') + '"'
    production.do(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD {literal}", database="postgres")
    vault = controller.home / "vault.json"
    vault.write_text(json.dumps({"dbops_user": ROLE, "dbops_password": PASSWORD}))
    vault.chmod(0o600)
    yield controller
    stack.fill("nothing")
    production.do(f"DROP ROLE {name}", database="postgres")


def test_no_secret_shows_anywhere(operator: Controller, stack: Stack, production: Server, spy: Spy, modes: set[str]) -> None:
    vault = ("-e", f"@{operator.home}/vault.json")
    own = production.env["POSTGRES_PASSWORD"]
    secrets = [PASSWORD, own]
    assert own in urllib.parse.unquote(production.backends[0].env["DATABASE_URL"])

    def run(playbook: str, *arguments: str, **variables: Any) -> Run:
        done = operator.run(playbook, "-l", "production", "-vvv", "--diff", *arguments, *vault, **variables)
        assert found_in(done.output, secrets) == [], done.argv
        assert found_in(json.dumps([task.result for task in done.tasks], ensure_ascii=False), secrets) == [], done.argv
        return done

    assert run("migrate", "--check").ok
    assert run("migrate").ok
    assert run("seed", dbops_confirm="seed:chat").ok
    assert run("backup").ok
    assert run("restore", dbops_restore_backup="latest", dbops_confirm="restore:chat").ok

    talkative = {
        "dbops_migrate_image": stack.postgres_image,
        "dbops_migrate_runner": ["sh", "-c", 'env; echo "CREATE ROLE x PASSWORD \'$DATABASE_URL\'"; echo "$DATABASE_URL" >&2; exit 1'],
    }
    told = run("migrate", **talkative)
    assert not told.ok
    assert "DATABASE_URL=postgresql://postgres:********@" in told.result()["output"]

    encoding = (
        'printf %s "$DATABASE_URL" | base64 -w0; echo; for pad in x xy; do printf %s "$pad$DATABASE_URL" | base64 -w0 | tr +/ -_; echo; done;'
        ' printf %s "$DATABASE_URL" | od -An -v -tx1 | tr -d " \\n"; exit 1'
    )
    told = run("migrate", dbops_migrate_image=stack.postgres_image, dbops_migrate_runner=["sh", "-c", encoding])
    url = production.backends[0].env["DATABASE_URL"]
    shown = told.result()["output"]
    assert "********" in shown
    password = url.split(":")[2].split("@")[0]
    assert password.encode().hex() not in shown
    for pad in ("", "x", "xy"):
        assert base64.b64encode((pad + url).encode()).decode() not in shown
        assert base64.urlsafe_b64encode((pad + url).encode()).decode() not in shown

    names = "\n".join(spy.containers)
    for purpose in ("dump", "verify", "restore", "sandbox", "migrate-1", "seed"):
        assert f"-{purpose}" in names, f"the spy has not seen the container for '{purpose}'"
    runners = ("-plan", "-migrate", "-seed")
    for name, container in spy.containers.copy().items():
        seen = json.dumps(container, ensure_ascii=False)
        if any(word in name for word in runners):
            seen = seen.replace(json.dumps(container["Config"]["Env"], ensure_ascii=False), "")
        assert found_in(seen, secrets) == [], name

    assert any("pg_dump" in text for text in spy.argument_lists.copy())
    assert [text for text in spy.argument_lists.copy() if found_in(text, secrets)] == []

    seen = [line.split(" ", 2) for line in modes.copy()]
    assert {mode for kind, mode, _name in seen if kind == "d"} == {"700"}, "what is in a folder cannot be reached"
    assert {mode for _kind, mode, name in seen if name.endswith("/pgpass")} == {"600"}
    assert stack.as_deploy(f"find {production.backups} -type f ! -perm 0600 -o -type d ! -perm 0700").stdout == ""
    patterns = operator.home / "patterns"
    patterns.write_text("\n".join(form for secret in secrets for form in written(secret)) + "\n")
    searched = as_root("grep", "-rlaF", "-f", str(patterns), production.backups, check=False)
    assert searched.stdout == ""
    assert searched.returncode == 1, "there were files to search"
    logged = command("docker", "logs", production.name)
    assert found_in(logged.stdout + logged.stderr, secrets) == []
    assert left_behind(stack) == []
