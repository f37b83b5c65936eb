# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong input: a clear sentence that says what to do, a run that has failed, and nothing changed.

The spellings of "everything", witnesses and consent are in test_guard.py.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller import Controller, Run
from faults import left_behind
from stack import Server, Stack, command

RESTORE = {"dbops_confirm": "restore:chat"}


def cases(quick: set[str], names: list[str], values: list[tuple[str, list[str]]]) -> list[Any]:
    """Named cases; those that are not ``quick`` are long, since unit tests have them too."""
    pairs = zip(names, values, strict=True)
    return [pytest.param(*value, id=name, marks=[] if name in quick else [pytest.mark.long]) for name, value in pairs]


@pytest.fixture(scope="module")
def contents(stack: Stack) -> dict[str, Any]:
    stack.fill("v2")
    return state(stack)


def state(stack: Stack) -> dict[str, Any]:
    found = stack.everything()
    del found["files"]  # the journal tells of refusals
    return found


@pytest.fixture(autouse=True)
def nothing_is_changed(contents: dict[str, Any], stack: Stack) -> Iterator[None]:
    yield
    before, now = dict(contents), state(stack)
    contents.update(now)  # one test that changed something fails, and not all that come after it as well
    assert now == before
    assert left_behind(stack) == []


def assert_told(run: Run, *words: str) -> None:
    """It failed, in one readable sentence."""
    assert not run.ok, run.output
    assert "Traceback" not in run.output
    assert [word for word in words if word not in run.text and word not in run.message] == [], run.output


class TestContainers:
    def test_one_that_is_not_there(self, controller: Controller, production: Server) -> None:
        refused = controller.run("backup", "-l", "production", dbops_container="chat-postgres-prd")
        assert_told(refused, "There is no container 'chat-postgres-prd'", production.name, "dbops_container")

    def test_one_that_is_stopped(self, controller: Controller, stack: Stack) -> None:
        name = f"{stack.name}-stopped"
        command("docker", "create", "--name", name, stack.postgres_image)
        try:
            refused = controller.run("backup", "-l", "production", dbops_container=name)
        finally:
            command("docker", "rm", "--volumes", name)
        assert_told(refused, f"Container '{name}' is created, not running", f"docker start {name}")

    @pytest.mark.long
    def test_two_of_one_service(self, controller: Controller, stack: Stack, production: Server) -> None:
        name, project = f"{stack.name}-second", production.inspect()["Config"]["Labels"]["com.docker.compose.project"]
        labels = ["--label", f"com.docker.compose.project={project}", "--label", "com.docker.compose.service=db"]
        command("docker", "create", "--name", name, *labels, stack.postgres_image)
        try:
            compose = {"dbops_container": "", "dbops_compose_project": project, "dbops_compose_service": "db"}
            refused = controller.run("backup", "-l", "production", **compose)
        finally:
            command("docker", "rm", "--volumes", name)
        assert_told(refused, "has 2 containers", name, production.name, "dbops_container")

    @pytest.mark.long
    def test_a_compose_project_that_is_not_there(self, controller: Controller) -> None:
        compose = {"dbops_container": "", "dbops_compose_project": "no-such-project", "dbops_compose_service": "db"}
        refused = controller.run("backup", "-l", "production", **compose)
        assert_told(refused, "Compose project 'no-such-project' has no container for service 'db'", "docker compose up -d")

    def test_none_at_all(self, controller: Controller) -> None:
        refused = controller.run("backup", "-l", "production", dbops_container="")
        assert not refused.ok
        assert "names no container" in refused.text and "dbops_container" in refused.text

    @pytest.mark.long
    def test_no_backend(self, controller: Controller) -> None:
        refused = controller.run("migrate", "-l", "production", dbops_backends=["no-such-backend-*"])
        assert_told(refused, "No backend container of database 'chat' was found", "dbops_backends")

    @pytest.mark.long
    def test_an_image_that_is_not_there(self, controller: Controller) -> None:
        refused = controller.run("migrate", "-l", "production", dbops_migrate_image="chat-backend:no-such-version")
        assert_told(refused, "Image 'chat-backend:no-such-version' could not be pulled", "docker login")


class TestEngine:
    def test_one_that_does_not_run(self, controller: Controller) -> None:
        refused = controller.run("backup", "-l", "production", dbops_docker_host="unix:///var/tmp/no-such.sock")
        assert_told(refused, "The Docker engine does not answer")

    def test_one_that_the_user_may_not_use(self, controller: Controller, stack: Stack) -> None:
        path = f"{stack.folder}/private.sock"
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
            listening.bind(path)
            listening.listen()
            Path(path).chmod(0o600)
            try:
                refused = controller.run("backup", "-l", "production", dbops_docker_host=f"unix://{path}")
            finally:
                Path(path).unlink()
        assert_told(refused, "may not use the Docker engine", "group 'docker'")

    def test_a_python_without_psycopg2(self, controller: Controller, stack: Stack) -> None:
        """`-S` leaves out the folders in which packages lie."""
        path = f"{stack.folder}/opt/backups/python3"
        stack.as_deploy(f"printf '#!/bin/sh\\nexec /usr/bin/python3 -S \"$@\"\\n' > {path} && chmod 0755 {path}")
        refused = controller.run("backup", "-l", "production", ansible_python_interpreter=path)
        assert_told(refused, "no psycopg2", "python3-psycopg2", "ansible_python_interpreter")


class TestServer:
    @pytest.mark.parametrize("playbook", ["backup", pytest.param("migrate", marks=pytest.mark.long)])
    def test_a_wrong_password(self, playbook: str, controller: Controller) -> None:
        refused = controller.run(playbook, "-l", "production", dbops_password="not-the-password")
        assert_told(refused, "password authentication failed", "dbops_password")
        assert "not-the-password" not in refused.message

    @pytest.mark.long
    def test_a_role_that_is_not_there(self, controller: Controller) -> None:
        refused = controller.run("backup", "-l", "production", dbops_user="nobody", dbops_password="whatever")
        assert_told(refused, "user 'nobody'", "dbops_user")

    @pytest.mark.share(1)
    @pytest.mark.parametrize("playbook", ["backup", "migrate", pytest.param("seed", marks=pytest.mark.long)])
    def test_a_database_that_is_not_there(self, playbook: str, controller: Controller) -> None:
        refused = controller.run(playbook, "-l", "production", dbops_database="chatt", dbops_confirm=f"{playbook}:chatt")
        assert_told(refused, "There is no database 'chatt' on this server", "chat")

    @pytest.mark.share(1)
    @pytest.mark.parametrize("database", ["postgres", "template0", "template1"])
    def test_a_database_of_the_servers_own(self, database: str, controller: Controller, stack: Stack, production: Server) -> None:
        """Nobody means these; a swap would take away what new databases are made from, or where the lock lives."""
        path = f"{stack.folder}/opt/backups/by_hand.sql"
        stack.as_deploy(f"docker exec {production.name} pg_dump -U postgres chat > {path}")
        chosen = {"dbops_database": database, "dbops_restore_backup": path, "dbops_confirm": f"restore:{database}"}
        refused = controller.run("restore", "-l", "production", **chosen)
        stack.as_deploy(f"rm {path}")
        assert_told(refused, f"'{database}'", "dbops_database")

    def test_a_role_that_does_not_own_the_database(self, controller: Controller, production: Server) -> None:
        production.do("CREATE ROLE guest LOGIN PASSWORD 'guest-secret'", database="postgres")
        try:
            refused = controller.run("backup", "-l", "production", dbops_user="guest", dbops_password="guest-secret")
        finally:
            production.do("DROP ROLE guest", database="postgres")
        assert_told(refused, "permission denied", "guest")
        assert "guest-secret" not in refused.message

    @pytest.mark.long
    def test_a_port_on_which_nobody_listens(self, controller: Controller) -> None:
        refused = controller.run("backup", "-l", "production", dbops_port=5433)
        assert_told(refused, "5433", "dbops_port")

    @pytest.mark.long
    def test_a_database_whose_connection_limit_is_reached(
        self, contents: dict[str, Any], controller: Controller, production: Server
    ) -> None:
        """The limit does not bind superusers, so an owner who is none meets it."""
        production.do("CREATE ROLE keeper LOGIN PASSWORD 'keeper-secret' CONNECTION LIMIT 1", database="postgres")
        try:
            with contextlib.closing(production.connect("postgres", "keeper", "keeper-secret")):
                refused = controller.run("backup", "-l", "production", dbops_user="keeper", dbops_password="keeper-secret")
        finally:
            production.do("DROP ROLE keeper", database="postgres")
        assert_told(refused, "too many connections", "connection limit is reached")


class TestBackupFolder:
    @pytest.mark.share(2)
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            ("true", ["cannot be made", "install -d -m 0700 -o deploy"]),
            ("mkdir -m 0500 {parent} && mkdir -m 0500 {folder} || mkdir {folder}", []),
            ("mkdir -p {parent} && ln -s /tmp {folder}", ["is a symbolic link", "dbops_backup_dir"]),
            ("mkdir -p {parent} && touch {folder}", ["is not a folder that this user may write"]),
            ("mkdir -p {folder} && chmod 0500 {folder}", ["is not a folder that this user may write", "chown deploy"]),
        ],
        ids=["no parent", "a parent that is read-only", "a link", "a file", "read-only"],
    )
    def test_one_that_is_no_good(self, make: str, words: list[str], controller: Controller, stack: Stack) -> None:
        parent = f"{stack.folder}/opt/backups/parent"
        folder = f"{parent}/folder"
        stack.as_deploy(make.format(parent=parent, folder=folder), check=False)
        try:
            refused = controller.run("backup", "-l", "production", dbops_backup_dir=folder)
        finally:
            stack.as_deploy(f"chmod -R u+w {parent} 2>/dev/null; rm -rf {parent}")
        assert_told(refused, folder, *words)


class TestBackups:
    """Each test damages the one backup, and the next begins with a whole one again."""

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, contents: dict[str, Any], stack: Stack, controller_home: Path) -> str:
        made = Controller(controller_home, stack.inventory).run("backup", "-l", "production")
        assert made.ok, made.output
        return str(made.result()["backup"]["id"])

    @pytest.fixture
    def backup(self, whole: str, stack: Stack, production: Server) -> Iterator[str]:
        """Its folder; afterwards it is as it was."""
        folder = f"{production.backups}/{whole}"
        stack.as_deploy(f"cp -a {folder} {production.backups}/.whole")
        yield folder
        stack.as_deploy(f"rm -rf {folder} && mv {production.backups}/.whole {folder}")

    @pytest.mark.share(2)
    @pytest.mark.parametrize(
        ("damage", "words"),
        cases(
            {"link", "manifest edited", "file shut"},
            [
                "link",
                "toc gone",
                "schema gone",
                "cut",
                "manifest gone",
                "manifest cut",
                "manifest edited",
                "manifest shut",
                "file shut",
                "folder shut",
            ],
            [
                ("mv {b}/dump {b}.elsewhere; ln -s {b}.elsewhere {b}/dump", ["'dump' is a symbolic link", "Use another backup"]),
                ("rm {b}/dump/toc.dat", ["toc.dat", "is missing", "Use another backup"]),
                ("rm {b}/schema.json", ["schema.json", "is missing"]),
                ("truncate --size=-1 $(ls -S {b}/dump/*.dat* | head -n 1)", ["bytes instead of"]),
                ("rm {b}/manifest.json", ["There is no backup"]),
                ("truncate --size=100 {b}/manifest.json", ["is damaged"]),
                ('sed -i \'s/"rows": 60/"rows": 59/\' {b}/manifest.json', ["was changed after the backup was made"]),
                ("chmod 0000 {b}/manifest.json", ["manifest"]),
                ("chmod 0000 {b}/dump/toc.dat", ["toc.dat"]),
                ("chmod 0000 {b}/dump", ["dump"]),
            ],
        ),
    )
    def test_one_that_is_damaged(self, damage: str, words: list[str], backup: str, controller: Controller, stack: Stack) -> None:
        stack.as_deploy(damage.format(b=backup))
        try:
            for arguments in (["--check"], []):
                refused = controller.run(
                    "restore", "-l", "production", *arguments, dbops_restore_backup=backup.rpartition("/")[2], **RESTORE
                )
                assert_told(refused, *words)
        finally:
            stack.as_deploy(f"rm -rf {backup}.elsewhere; chmod -R u+rwX {backup}")

    def test_one_with_files_that_are_not_its_own(self, backup: str, controller: Controller, stack: Stack) -> None:
        """And with one that pg_restore would read instead of the right one."""
        stack.as_deploy(f"touch {backup}/core {backup}/dump/toc.dat.bak {backup}/manifest.json.tmp")
        wanted = {"dbops_restore_backup": backup.rpartition("/")[2]}
        checked = controller.run("restore", "-l", "production", "--check", **wanted, **RESTORE)
        assert checked.ok, checked.output
        assert any("'core', 'dump/toc.dat.bak', 'manifest.json.tmp'" in warning for warning in checked.result()["warnings"])
        stack.as_deploy(f"cd {backup}/dump && packed=$(ls [0-9]*.dat.* | head -n 1) && touch ${{packed%.*}}")
        refused = controller.run("restore", "-l", "production", "--check", **wanted, **RESTORE)
        assert_told(refused, "none of its own", "pg_restore might read it")

    def test_one_of_a_newer_server(self, backup: str, controller: Controller, stack: Stack) -> None:
        """Forged as carefully as somebody can who knows how the seal is made."""
        forge = (
            "import hashlib, json, sys; data = json.load(open(sys.argv[1])); del data['seal']; data['server_version_number'] = 990001;"
            " data['seal'] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest(); json.dump(data, open(sys.argv[1], 'w'))"
        )
        stack.as_deploy(f'python3 -c "{forge}" {backup}/manifest.json')
        refused = controller.run("restore", "-l", "production", dbops_restore_backup=backup.rpartition("/")[2], **RESTORE)
        assert_told(refused, "made on PostgreSQL 99", f"this server is {stack.major}", "Use a server of version 99")

    @pytest.mark.long
    def test_one_that_was_made_tomorrow(self, backup: str, controller: Controller, stack: Stack, production: Server) -> None:
        """The host's clock was ahead, or has jumped back since: the newest backup is from the future. Nothing goes wrong for that."""
        forge = (
            "import hashlib, json, sys; data = json.load(open(sys.argv[1])); del data['seal']; data['created'] = '2099-01-01T00:00:00Z';"
            " data['seal'] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest(); json.dump(data, open(sys.argv[1], 'w'))"
        )
        stack.as_deploy(f'python3 -c "{forge}" {backup}/manifest.json')
        checked = controller.run("restore", "-l", "production", "--check", dbops_restore_backup="latest")
        assert checked.ok, checked.output
        assert "2099-01-01" in checked.summary and "-" not in checked.summary.partition(" ago")[0].rpartition("made ")[2]
        assert any("clock" in warning for warning in checked.result().get("warnings", []))


class TestFiles:
    @pytest.mark.share(3)
    @pytest.mark.parametrize(
        ("make", "words"),
        cases(
            {"empty", "cut", "DROP DATABASE", "shell", "custom cut", "pipe"},
            [
                *("empty", "no SQL", "noise", "cut", "DROP DATABASE", "connect", "shell", "pg_dumpall", "create", "gzip cut"),
                *("custom cut", "tar", "shut", "folder", "pipe"),
            ],
            [
                (": > {f}", ["is empty"]),
                ("echo 'hello, world' > {f}", ["is not a dump that pg_dump made"]),
                ("head -c 100000 /dev/urandom > {f}", ["{f}"]),
                ("{dump} | head -n 60 > {f}", ["cut off"]),
                ("{dump} | sed '/^-- Name: messages; Type: TABLE;/i DROP DATABASE chat;' > {f}", ["DROP DATABASE chat", "reaches beyond"]),
                ("{dump} | awk '/^-- Name: messages; Type: TABLE;/ {{print \"\\\\connect postgres\"}} 1' > {f}", ["\\connect postgres"]),
                (
                    "{dump} | awk '/^-- Name: messages; Type: TABLE;/ {{print \"\\\\! touch /tmp/owned\"}} 1' > {f}",
                    ["\\! touch", "run a program"],
                ),
                ("docker exec {c} pg_dumpall -U postgres > {f}", ["pg_dumpall", "whole server"]),
                ("{dump} --create > {f}", ["--create"]),
                ("{dump} | gzip | head -c 800 > {f}", ["cut off or damaged"]),
                ("{dump} -Fc | head -c 5000 > {f}", ["cut off or damaged"]),
                ("{dump} -Ft > {f}", ["{f}"]),
                ("{dump} > {f} && chmod 0000 {f}", ["cannot be read", "Permission denied"]),
                ("mkdir {f}", ["is not a backup"]),
                ("mkfifo {f}", ["{f}"]),
            ],
        ),
    )
    def test_one_that_is_no_whole_dump_of_one_database(
        self, make: str, words: list[str], contents: dict[str, Any], controller: Controller, stack: Stack, production: Server
    ) -> None:
        path = f"{stack.folder}/opt/backups/by_hand.sql"
        stack.as_deploy(make.format(f=path, c=production.name, dump=f"docker exec {production.name} pg_dump -U postgres chat"))
        try:
            refused = controller.start("restore", "-l", "production", dbops_restore_backup=path, **RESTORE).wait(60)
        finally:
            stack.as_deploy(f"if [ -p {path} ]; then timeout 2 sh -c ': > {path}'; fi; rm -rf {path}")  # who waits for the pipe goes on
        assert_told(refused, *[word.format(f=path) for word in words])
        assert stack.as_deploy("ls /tmp/owned 2>/dev/null || true").stdout == ""


class TestInventory:
    def test_one_in_which_production_does_not_appear_lets_its_own_preview_be_reset(
        self, contents: dict[str, Any], controller: Controller, stack: Stack, tmp_path: Path
    ) -> None:
        """A slice of an AWX job: the witnesses are in the database and on its server, not in other hosts of the inventory."""
        hosts = (stack.inventory / "hosts.yml").read_text()
        begin, end = hosts.index("    production:\n"), hosts.index("    preview:\n")
        (tmp_path / "hosts.yml").write_text(hosts[:begin] + hosts[end:])
        allowed = controller.run("preview_reset", "-l", "preview", "--check", inventory=tmp_path)
        assert allowed.ok, allowed.output

    @pytest.mark.share(2)
    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"dbops_port": "five"}, ["dbops_port"]),
            ({"dbops_lock_wait": "soon"}, ["dbops_lock_wait"]),
            ({"dbops_backup_dir": ""}, ["backup_dir"]),
            ({"dbops_backup_dir": "relative/folder"}, ["dbops_backup_dir"]),
            ({"dbops_database": ""}, ["dbops_database"]),
            ({"dbops_backup_jobs": 0}, ["jobs"]),
            ({"dbops_backup_jobs": -2}, ["jobs"]),
        ],
        ids=str,
    )
    def test_values_that_mean_nothing(
        self, variables: dict[str, Any], words: list[str], contents: dict[str, Any], controller: Controller
    ) -> None:
        refused = controller.run("backup", "-l", "production", **variables)
        assert not refused.ok, refused.output
        assert "Traceback" not in refused.output
        assert [word for word in words if word not in refused.text] == [], refused.text

    @pytest.mark.share(1)
    @pytest.mark.parametrize(
        ("playbook", "variables", "words"),
        [
            (
                "migrate",
                {"dbops_migrate_jobs": "many", "dbops_lock_wait": "soon"},
                ["dbops_migrate_jobs", "'many'", "dbops_lock_wait", "'soon'"],
            ),
            (
                "migrate",
                {"dbops_backend_restart": "sometimes"},
                ["dbops_backend_restart must be one of: auto, always, never, got: sometimes"],
            ),
            ("restore", {}, ["missing required arguments: dbops_restore_backup"]),
        ],
        ids=["of a wrong type", "not among the choices", "missing"],
    )
    def test_a_wrong_variable_is_told_in_a_few_lines(
        self, playbook: str, variables: dict[str, Any], words: list[str], controller: Controller, contents: dict[str, Any]
    ) -> None:
        refused = controller.run(playbook, "-l", "production", **variables)
        assert_told(refused, "The variables of host 'chat-production' are not right, so nothing was begun: ", *words)
        shown = refused.output.partition("Refuse wrong variables")[2].partition("PLAY RECAP")[0]
        assert 0 < len([line for line in shown.splitlines()[1:] if line.strip()]) < 15, refused.output
        assert "description" not in refused.output
