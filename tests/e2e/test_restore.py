# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`restore.yml`: a backup, or a file made by hand, in the place of the live database; and back."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import shlex
from pathlib import Path

import pexpect
import pytest

from broken import Workbench
from controller import ROOT, CheckThenRun, Controller
from faults import journal
from stack import Server, Stack, command

CONSENT = "restore:chat"

#: The newest PostgreSQL that is tested.
NEWEST = 18


@pytest.fixture
def backup(v2: None, controller: Controller) -> str:
    """The id of a backup of both databases' state v2, of production."""
    made = controller.run("backup", "-l", "production")
    assert made.ok, made.output
    return str(made.result()["backup"]["id"])


def damage(server: Server) -> None:
    """What an accident does: rows gone, a column gone, and rows that came after the backup."""
    server.do(
        "DELETE FROM reactions",
        "DELETE FROM messages WHERE id % 2 = 0",
        "ALTER TABLE users DROP COLUMN nickname",
        "INSERT INTO rooms (name, topic) VALUES ('new since', '')",
        "CREATE TABLE made_since (id int)",
    )


@pytest.mark.core
def test_the_latest_backup_comes_back_as_its_check_has_shown(
    backup: str, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    whole = production.dump()
    damage(production)
    damaged = production.dump()
    checked, done = check_then_run("restore", "-l", "production", dbops_restore_backup="latest", dbops_confirm=CONSENT)
    assert backup in checked.summary
    assert "which would be lost: public.rooms 1." in checked.summary
    assert re.search(r"Room on the data volume: .+ needed, .+ free\.", checked.summary)
    assert "public.rooms: 1 row newer than the backup" in checked.output
    assert production.dump() == whole
    assert done.result()["rows_lost"] == {"public.rooms": 1}
    assert production.marker == "production"
    assert production.backends[0].exec("/app/backend", "health").returncode == 0
    before = [name for name in stack.backups(production) if name.endswith("_before_restore")]
    assert [done.result()["backup_before"]["id"]] == before

    undone = controller.run("restore", "-l", "production", dbops_restore_backup="undo", dbops_confirm=CONSENT)
    assert undone.ok, undone.output
    assert production.dump() == damaged


@pytest.mark.long
def test_a_backup_is_chosen_by_its_id_or_by_a_time(backup: str, controller: Controller, production: Server) -> None:
    whole = production.dump()
    between = datetime.datetime.now(datetime.timezone.utc)
    damage(production)
    assert controller.run("backup", "-l", "production", dbops_backup_reason="after_the_damage").ok
    for choice in (backup, between.strftime("%Y-%m-%dT%H:%M:%S")):
        production.do("UPDATE rooms SET topic = 'changed'")
        done = controller.run(
            "restore",
            "-l",
            "production",
            dbops_restore_backup=choice,
            dbops_confirm=CONSENT,
            dbops_restore_backup_first=False,
        )
        assert done.ok, done.output
        assert production.dump() == whole


@pytest.mark.share(2)
@pytest.mark.parametrize(
    ("name", "options", "filter_"),
    [("chat_by_hand.sql", "", ""), ("chat_by_hand.sql.gz", "", "| gzip"), ("chat_by_hand.dump", "--format=custom", "")],
    ids=["plain", "gzip", "custom"],
)
def test_a_file_made_by_hand_comes_back(
    name: str, options: str, filter_: str, v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    path = f"{stack.folder}/opt/backups/{name}"
    stack.as_deploy(f"docker exec {production.name} pg_dump -U postgres {options} chat {filter_} > {path}")
    whole = production.dump()
    damage(production)
    done = controller.run("restore", "-l", "production", dbops_restore_backup=path, dbops_confirm=CONSENT)
    assert done.ok, done.output
    assert production.dump() == whole
    assert path in done.summary


def test_a_file_that_windows_has_saved_comes_back(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    path = f"{stack.folder}/opt/backups/utf16.sql"
    stack.as_deploy(f"docker exec {production.name} pg_dump -U postgres chat | sed 's/$/\\r/' | iconv -f UTF-8 -t UTF-16 > {path}")
    whole = production.dump()
    damage(production)
    done = controller.run("restore", "-l", "production", dbops_restore_backup=path, dbops_confirm=CONSENT)
    assert done.ok, done.output
    assert production.dump() == whole


def dump_by_newer_tools(stack: Stack, server: Server, path: str, *options: str) -> None:
    """What a newer image's pg_dump makes of this server: a file that older tools stumble over."""
    password = server.env["POSTGRES_PASSWORD"]
    argv = ["docker", "run", "--rm", "--network", f"container:{server.name}", "--env", f"PGPASSWORD={password}", newer_image(stack)]
    line = shlex.join([*argv, "pg_dump", "-h", "127.0.0.1", "-U", "postgres", *options, "chat"])
    stack.as_deploy(f"{line} > {path}")


def newer_image(stack: Stack) -> str:
    if stack.major >= NEWEST:
        pytest.skip("there is no newer PostgreSQL than this one")
    command(str(ROOT / "demo" / "images"), "--postgres", str(NEWEST))
    return f"dbops-demo/postgres:{NEWEST}"


@pytest.mark.core
def test_a_plain_file_of_newer_tools_comes_back(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    """It sets what this server does not know, and begins with a command that an older psql does not know."""
    path = f"{stack.folder}/opt/backups/newer.sql"
    dump_by_newer_tools(stack, production, path)
    assert "SET transaction_timeout" in stack.as_deploy(f"head -40 {path}").stdout
    whole = production.dump()
    damage(production)
    done = controller.run("restore", "-l", "production", dbops_restore_backup=path, dbops_confirm=CONSENT)
    assert done.ok, done.output
    assert production.dump() == whole
    assert any("passed over: transaction_timeout" in warning for warning in done.result()["warnings"])


@pytest.mark.core
def test_an_archive_of_newer_tools_is_named_and_read_by_a_newer_image(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    path = f"{stack.folder}/opt/backups/newer.dump"
    dump_by_newer_tools(stack, production, path, "--format=custom")
    whole = production.dump()
    damage(production)
    wanted = {"dbops_restore_backup": path, "dbops_confirm": CONSENT}
    for arguments in (["--check"], []):
        refused = controller.run("restore", "-l", "production", *arguments, **wanted)
        assert not refused.ok
        assert "newer" in refused.message and "dbops_restore_tools_image" in refused.message, refused.message
        assert "It is not damaged" in refused.message
    done = controller.run("restore", "-l", "production", **wanted, dbops_restore_tools_image=newer_image(stack))
    assert done.ok, done.output
    assert production.dump() == whole
    assert "every count compared with the rows in the file" in done.summary


def test_roles_that_are_not_there_are_named_made_or_left_out(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    path = f"{stack.folder}/opt/backups/roles.sql"
    production.do(
        'CREATE ROLE "READWRITE_test"', 'GRANT SELECT ON rooms TO "READWRITE_test"', 'ALTER TABLE users OWNER TO "READWRITE_test"'
    )
    stack.as_deploy(f"docker exec {production.name} pg_dump -U postgres chat > {path}")
    production.do("ALTER TABLE users OWNER TO postgres", 'DROP OWNED BY "READWRITE_test"', 'DROP ROLE "READWRITE_test"')
    wanted = {"dbops_restore_backup": path, "dbops_confirm": CONSENT}
    for arguments in (["--check"], []):
        refused = controller.run("restore", "-l", "production", *arguments, **wanted)
        assert not refused.ok and 'CREATE ROLE "READWRITE_test";' in refused.message, refused.output
    skipped = controller.run("restore", "-l", "production", **wanted, dbops_restore_missing_roles="skip")
    assert skipped.ok, skipped.output
    told = " ".join(skipped.result()["warnings"])
    assert 'GRANT SELECT ON TABLE public.rooms TO "READWRITE_test";' in told
    assert 'ALTER TABLE public.users OWNER TO "READWRITE_test";' in told
    try:
        made = controller.run("restore", "-l", "production", **wanted, dbops_restore_missing_roles="create")
        assert made.ok, made.output
        assert b'OWNER TO "READWRITE_test"' in production.dump()
        production.do('REASSIGN OWNED BY "READWRITE_test" TO postgres', 'DROP OWNED BY "READWRITE_test"', 'DROP ROLE "READWRITE_test"')
    finally:
        stack.as_deploy(f"rm {path}")


@pytest.mark.core
def test_roles_come_back_as_the_backup_knows_them(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    """What a server that never had them needs: rights, memberships, settings, and logins that go on working."""
    gone = "DO $$ BEGIN IF to_regrole('app_group') IS NOT NULL THEN DROP OWNED BY app_group; DROP ROLE app_group, app_login; END IF; END $$"
    production.do(
        *(gone, "SET password_encryption = 'scram-sha-256'", "CREATE ROLE app_group"),
        "CREATE ROLE app_login LOGIN CREATEDB PASSWORD 'a word of hers' CONNECTION LIMIT 7 IN ROLE app_group",
        *("ALTER ROLE app_login SET work_mem = '7MB'", "ALTER TABLE users OWNER TO app_group"),
    )
    try:
        made = controller.run("backup", "-l", "production", dbops_backup_role_passwords=True)
        assert made.ok, made.output
        manifest = json.loads(stack.as_deploy(f"cat {made.result()['backup']['path']}/manifest.json").stdout)
        [login] = [role for role in manifest["role_definitions"] if role["name"] == "app_login"]
        assert login["verifier"].startswith("SCRAM-SHA-256$")
        production.do("ALTER TABLE users OWNER TO postgres", gone)
        wanted = {"dbops_restore_backup": "latest", "dbops_confirm": CONSENT}
        assert not controller.run("restore", "-l", "production", **wanted).ok
        done = controller.run("restore", "-l", "production", **wanted, dbops_restore_missing_roles="create")
        assert done.ok, done.output
        assert login["verifier"] not in made.output + done.output and login["verifier"] not in json.dumps(journal(stack, production))
        with contextlib.closing(
            production.connect(user="app_login", password="a word of hers")
        ) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('work_mem'), count(*) FROM users")
            assert cursor.fetchone() == ("7MB", production.tables()["users"])
    finally:
        production.do("ALTER TABLE users OWNER TO postgres", gone)


@pytest.mark.core
def test_a_server_that_has_never_seen_the_database_gets_it_back(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    """From a backup's folder alone: database, roles with logins, settings, and every row."""
    gone = "DO $$ BEGIN IF to_regrole('app_login') IS NOT NULL THEN DROP OWNED BY app_login; DROP ROLE app_login; END IF; END $$"
    production.do(
        *(gone, "SET password_encryption = 'scram-sha-256'", "CREATE ROLE app_login LOGIN PASSWORD 'a word of hers'"),
        *("GRANT SELECT ON users TO app_login", "ALTER DATABASE chat SET work_mem = '7MB'", "COMMENT ON DATABASE chat IS 'it is chat'"),
    )
    try:
        made = controller.run("backup", "-l", "production", dbops_backup_role_passwords=True)
        assert made.ok, made.output
        with Workbench(stack, controller).server() as server:
            fresh = {"dbops_container": server.name, "dbops_backends": [], "dbops_server_id": server.identifier}
            wanted = {"dbops_restore_backup": made.result()["backup"]["id"], "dbops_confirm": CONSENT}
            done = controller.run("restore", "-l", "production", **fresh, **wanted, dbops_restore_missing_roles="create")
            assert done.ok, done.output
            assert server.dump("chat") == production.dump()
            assert server.value("SHOW work_mem", database="chat") == "7MB"
            with contextlib.closing(
                server.connect("chat", user="app_login", password="a word of hers")
            ) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM users")
                assert cursor.fetchone() == (production.tables()["users"],)
    finally:
        production.do(gone, "ALTER DATABASE chat RESET work_mem")


def test_a_backup_that_is_not_there_is_not_guessed(backup: str, controller: Controller, stack: Stack) -> None:
    before = stack.everything()
    for choice in ("chat_20010101_000000", "2001-01-01T00:00", f"{stack.folder}/opt/backups/none.sql"):
        refused = controller.run("restore", "-l", "production", dbops_restore_backup=choice, dbops_confirm=CONSENT)
        assert not refused.ok
        assert choice in refused.message or backup in refused.message
    assert stack.everything()["databases"] == before["databases"]


class TestOnATerminal:
    """With a person there, the question comes before the work; a job is never asked."""

    @pytest.fixture
    def terminal(self, controller: Controller, tmp_path: Path) -> pexpect.spawn:
        argv = controller.argv("restore", "-l", "production", dbops_restore_backup="latest")
        child = pexpect.spawn(
            argv[0],
            list(argv[1:]),
            cwd=str(ROOT),
            env=controller.environment(tmp_path / "record"),
            timeout=120,
            encoding="utf-8",
            dimensions=(50, 200),
        )
        child.expect("Type the name of the database")
        return child

    def test_the_name_of_the_database_is_consent(self, backup: str, terminal: pexpect.spawn, production: Server) -> None:
        production.do("DELETE FROM reactions")
        terminal.sendline("chat")
        output = terminal.read()
        terminal.close()
        assert terminal.exitstatus == 0, output
        assert production.tables()["reactions"] == 20

    @pytest.mark.share(1)
    @pytest.mark.parametrize("answer", ["chat_preview", ""])
    def test_any_other_answer_is_none(self, answer: str, v2: None, terminal: pexpect.spawn, production: Server) -> None:
        before = production.contents()
        terminal.sendline(answer)
        output = terminal.read()
        terminal.close()
        assert terminal.exitstatus != 0
        assert "Add: -e dbops_confirm=restore:chat" in " ".join(output.split())
        assert production.contents() == before
