# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`copy_backups.yml` and `restore.yml` from elsewhere: what is sent comes back, on an empty server too, and nobody on the host can remove it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from broken import Workbench
from controller import CheckThenRun, Controller, Run
from faults import Hand, journal, left_behind, stop_in
from offsite import PASSWORD, S3_KEYS, Storage, append_only, folder, free_port, s3
from stack import Server, Stack, as_root, command
from tampering import back_up, flip_a_bit, seal_again

CONSENT = "restore:chat"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Storage]:
    with s3() as storage:
        yield storage


@pytest.fixture
def drive(stack: Stack, controller: Controller, v2: None) -> Iterator[Storage]:
    """A repository in a folder, made already."""
    with folder(stack, "nas") as storage:
        storage.restic(stack, "init")
        yield storage


def copy(controller: Controller, storage: Storage, *arguments: str, **variables: Any) -> Run:
    return controller.run("copy_backups", "-l", "production", *arguments, **{**storage.variables, **variables})


def restore(controller: Controller, storage: Storage, *arguments: str, backup: str = "latest", **variables: Any) -> Run:
    given = {"dbops_restore_from": "offsite", "dbops_restore_backup": backup, "dbops_confirm": CONSENT}
    return controller.run("restore", "-l", "production", *arguments, **{**storage.variables, **given, **variables})


def lose_backups(stack: Stack, server: Server) -> None:
    stack.as_deploy(f"rm -rf {server.backups}")


@pytest.mark.core
def test_to_s3_and_back(
    v2: None, bucket: Storage, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    first = back_up(controller, production)
    refused = copy(controller, bucket)
    assert not refused.ok and "ansible-playbook copy_backups.yml -l chat-production -e dbops_copy_init=true" in refused.message
    made = copy(controller, bucket, dbops_copy_init=True)
    assert made.ok and made.result()["to_copy"] == [first], made.output

    production.do("UPDATE messages SET text = 'newer'")
    second = back_up(controller, production)
    known = production.dump()
    _checked, done = check_then_run("copy_backups", "-l", "production", **bucket.variables)
    assert f"Backup '{second}' is in '{bucket.location}' now" in done.summary
    again = copy(controller, bucket)
    assert again.ok and not again.changed
    listed = controller.run("backups", "-l", "production")
    assert [set(entry) for entry in listed.result()["offsite"].values()] == [{"repository", "snapshot", "at"}] * 2
    assert journal(stack, production)[-2]["copied"] == [second]

    lose_backups(stack, production)
    production.do("DELETE FROM reactions; DELETE FROM messages")
    before = stack.everything()
    looked = restore(controller, bucket, "--check")
    assert looked.ok and f"Would replace database 'chat' with '{second}'" in looked.summary, looked.output
    assert stack.everything() == before
    came = restore(controller, bucket)
    assert came.ok and f"'{second}'" in came.summary, came.output
    assert production.dump() == known
    assert left_behind(stack) == []
    for run in (refused, made, done, looked, came):
        assert not any(secret in run.output for secret in (PASSWORD, *S3_KEYS.values()))
    by_id = restore(controller, bucket, backup=first)
    assert by_id.ok and production.value("SELECT count(*) FROM messages WHERE text = 'newer'") == 0


def test_a_backup_is_sent_once_it_is_made(drive: Storage, controller: Controller, stack: Stack, production: Server) -> None:
    done = controller.run("backup", "-l", "production", **drive.variables)
    assert done.ok, done.output
    backup, sent = (task.result for task in done.of_modules())
    assert [item["backup"] for item in sent["copied"]] == [backup["backup"]["id"]]
    checked = controller.run("backup", "-l", "production", "--check", **drive.variables)
    assert checked.ok and len(checked.of_modules()) == 1
    apart = controller.run("backup", "-l", "production", **drive.variables, dbops_offsite_after_backup=False)
    assert apart.ok and len(apart.of_modules()) == 1 and len(drive.snapshots(stack)) == 1


def test_where_it_cannot_be_sent_the_backup_is_there_and_the_run_fails(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    nowhere = Storage(f"rest:http://ann:hidden-word@127.0.0.1:{free_port()}/")
    done = controller.run("backup", "-l", "production", **nowhere.variables)
    assert not done.ok
    backup, sent = (task.result for task in done.of_modules())
    assert stack.backups(production) == [backup["backup"]["id"]]
    assert "connection refused" in sent["msg"] and "hidden-word" not in done.output + str(journal(stack, production))


@pytest.mark.core
def test_a_stolen_host_cannot_delete_the_past(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    with append_only() as storage:
        known = production.dump()
        backup = back_up(controller, production)
        assert copy(controller, storage, dbops_copy_init=True).ok
        [snapshot] = storage.snapshots(stack)
        assert storage.restic(stack, "forget", snapshot["id"], "--prune", check=False).returncode != 0
        stack.as_deploy(f"rm -rf {production.backups}/{backup}")
        production.do("DROP TABLE reactions, messages CASCADE")
        newer = back_up(controller, production)
        assert copy(controller, storage).ok, "a lock can be taken and given back"
        assert [item["id"] for item in storage.snapshots(stack)][:1] == [snapshot["id"]]
        came = restore(controller, storage, backup=backup)
        assert came.ok and production.dump() == known, came.output
        assert newer in stack.backups(production)


def test_what_is_found_out_later_follows(drive: Storage, controller: Controller, stack: Stack, production: Server) -> None:
    older, newest = back_up(controller, production), back_up(controller, production)
    assert copy(controller, drive).ok
    seal_again(stack, production, newest, large_objects=3)
    assert not controller.run("verify_backups", "-l", "production").ok
    assert copy(controller, drive).ok, "its manifest is another one now, and so is what is known of it"
    lose_backups(stack, production)
    came = restore(controller, drive, "--check")
    assert came.ok and f"'{older}'" in came.summary


def test_a_damaged_backup_is_not_sent(drive: Storage, controller: Controller, stack: Stack, production: Server) -> None:
    whole, damaged = back_up(controller, production), back_up(controller, production)
    flip_a_bit(stack, production, damaged)
    done = copy(controller, drive)
    assert not done.ok and f"Backup '{damaged}' was not sent. Backup '{damaged}' is damaged" in done.message
    assert [f"backup={whole}" in item["tags"] for item in drive.snapshots(stack)] == [True]


@pytest.mark.share(3)
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"dbops_offsite_repository": ""}, "Nothing says where copies are kept"),
        ({"dbops_offsite_password": "another word"}, "The password is not that of the offsite repository"),
        ({"dbops_offsite_password": "", "dbops_offsite_password_file": "/none/word"}, "'/none/word', cannot be read"),
        ({"dbops_offsite_program": "no-such-restic"}, "There is no program 'no-such-restic' on this host: install restic"),
        ({"dbops_offsite_image": "no/such:image"}, "no/such:image"),
        ({"dbops_offsite_repository": "nonsense:there"}, "restic could not look into the offsite repository"),
        ({"dbops_copy_select": "chat_1"}, "There is no backup 'chat_1'"),
    ],
)
def test_what_is_wrong_is_said(
    variables: dict[str, Any], said: str, drive: Storage, controller: Controller, stack: Stack, production: Server
) -> None:
    back_up(controller, production)
    done = copy(controller, drive, **variables)
    assert not done.ok and said in done.message, done.output
    assert "Traceback" not in done.output and PASSWORD not in done.output
    assert drive.snapshots(stack) == [] and left_behind(stack) == []


def test_a_full_storage_holds_nothing_back(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    backup = back_up(controller, production)
    with folder(stack, "nas") as storage:
        owner = stack.as_deploy("id -u").stdout.strip()
        as_root("mount", "-t", "tmpfs", "-o", f"size=200k,mode=0700,uid={owner}", "tmpfs", storage.location)
        try:
            storage.restic(stack, "init")
            stack.as_deploy(f"cat /dev/zero > {storage.location}/else 2>/dev/null || true")
            full = copy(controller, storage)
            assert not full.ok and f"Backup '{backup}' was not sent. restic could not" in full.message and "no space left" in full.message
            assert storage.snapshots(stack) == [] and controller.run("backups", "-l", "production").result()["offsite"] == {}
            stack.as_deploy(f"rm {storage.location}/else")
            as_root("mount", "-o", "remount,size=20m", storage.location)
            assert copy(controller, storage).ok
        finally:
            as_root("umount", storage.location)


def test_the_lock_of_a_dead_run_is_removed_when_somebody_says_so(
    drive: Storage, controller: Controller, stack: Stack, production: Server
) -> None:
    back_up(controller, production)
    assert copy(controller, drive).ok
    back_up(controller, production)
    lock = f"RESTIC_PASSWORD='{PASSWORD}' restic -r {drive.location} --no-cache check --read-data --limit-download 1"
    stack.as_deploy(f"{lock} >/dev/null 2>&1 & sleep 2; kill -9 $!")
    assert stack.as_deploy(f"ls {drive.location}/locks").stdout.split(), "it has left its lock"
    refused = copy(controller, drive, dbops_copy_check="100%")
    assert not refused.ok and "-e dbops_copy_unlock=true" in refused.message and "is locked by another run" in refused.message
    done = copy(controller, drive, dbops_copy_check="100%", dbops_copy_unlock=True)
    assert done.ok and len(drive.snapshots(stack)) == 2, done.output
    assert "100% of it was read" in done.summary


def test_damage_in_the_repository_is_found_and_never_restored(
    drive: Storage, controller: Controller, stack: Stack, production: Server
) -> None:
    back_up(controller, production)
    assert copy(controller, drive).ok
    stack.as_deploy(
        f"for f in $(find {drive.location}/data -type f); do chmod u+w $f; printf x | dd of=$f bs=1 seek=100 conv=notrunc 2>/dev/null; done"
    )
    checked = copy(controller, drive, dbops_copy_check="100%")
    assert not checked.ok and "restic could not check" in checked.message
    lose_backups(stack, production)
    before = production.dump()
    came = restore(controller, drive)
    assert not came.ok and "The live database is untouched" in came.message, came.output
    assert production.dump() == before and stack.backups(production) == [] and left_behind(stack) == []


@pytest.mark.parametrize("phase", ["copy: send", pytest.param("copy: look", marks=pytest.mark.long)])
def test_one_that_is_killed_counts_for_nothing(
    phase: str, drive: Storage, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    backup = back_up(controller, production)
    started = controller.start("copy_backups", "-l", "production", **drive.variables)
    caught = stop_in(hand, production, "copy_backups", phase)
    assert caught
    caught.kill()
    assert not started.wait().ok
    assert controller.run("backups", "-l", "production").result()["offsite"] == {}
    following = copy(controller, drive)
    assert following.ok, following.output
    assert {tag for item in drive.snapshots(stack) for tag in item["tags"] if tag.startswith("backup=")} == {f"backup={backup}"}
    assert list(controller.run("backups", "-l", "production").result()["offsite"]) == [backup] and left_behind(stack) == []


def test_a_restore_that_is_killed_while_it_fetches_leaves_all_as_it_was(
    drive: Storage, controller: Controller, stack: Stack, production: Server, hand: Hand
) -> None:
    backup = back_up(controller, production)
    assert copy(controller, drive).ok
    lose_backups(stack, production)
    before = production.contents()
    given = {"dbops_restore_from": "offsite", "dbops_restore_backup": "latest", "dbops_confirm": CONSENT}
    started = controller.start("restore", "-l", "production", **drive.variables, **given)
    caught = stop_in(hand, production, "restore", "restore: fetch")
    assert caught
    caught.kill()
    assert not started.wait().ok
    assert production.contents() == before and stack.backups(production) == []
    assert restore(controller, drive).ok
    assert backup in stack.backups(production) and left_behind(stack) == []


def test_removing_backups_waits_for_one_that_sends_them(drive: Storage, controller: Controller, production: Server, hand: Hand) -> None:
    back_up(controller, production)
    started = controller.start("copy_backups", "-l", "production", **drive.variables)
    caught = stop_in(hand, production, "copy_backups", "copy: send")
    assert caught
    try:
        pruned = controller.run("prune_backups", "-l", "production", dbops_retention={"keep_last": 1})
        assert not pruned.ok and "is busy: copy_backups by" in pruned.message
        assert controller.run("backup", "-l", "production").ok, "nobody else waits"
    finally:
        caught.go_on()
    assert started.wait().ok


@contextlib.contextmanager
def image_with_restic(stack: Stack) -> Iterator[str]:
    """As people have it from a registry; here, from the program of this machine."""
    name = f"dbops-test/restic:{stack.name}"
    command("docker", "create", "--name", f"{stack.name}-restic", "--entrypoint", "restic", stack.postgres_image)
    try:
        program = subprocess.run(["which", "restic"], capture_output=True, text=True, check=True).stdout.strip()
        command("docker", "cp", program, f"{stack.name}-restic:/usr/bin/restic")
        command("docker", "commit", f"{stack.name}-restic", name)
        yield name
    finally:
        command("docker", "rm", "--force", "--volumes", f"{stack.name}-restic", check=False)
        command("docker", "image", "rm", name, check=False)


def test_from_an_image_and_with_a_password_file(
    v2: None, controller: Controller, stack: Stack, production: Server, bucket: Storage
) -> None:
    """Without restic on the host, to S3 and to a folder."""
    known = production.dump()
    backup = back_up(controller, production)
    word = f"{stack.folder}/opt/word"
    stack.as_deploy(f"umask 077; printf '%s\\n' '{PASSWORD}' > {word}")
    with image_with_restic(stack) as image, folder(stack, "nas") as drive:
        given = {"dbops_offsite_image": image, "dbops_offsite_program": "no-such-restic"}
        given |= {"dbops_offsite_password": "", "dbops_offsite_password_file": word}
        for storage in (drive, Storage(bucket.location + "-again", bucket.environment)):
            done = copy(controller, storage, **given, dbops_copy_init=True)
            assert done.ok and backup in done.result()["to_copy"], done.output
            lose_backups(stack, production)
            production.do("DELETE FROM reactions")
            came = restore(controller, storage, **given)
            assert came.ok and production.dump() == known, came.output
        stack.as_deploy(f"rm {word}")
    assert left_behind(stack) == []


@pytest.mark.core
def test_a_second_empty_host_gets_the_service_back(
    v2: None, bucket: Storage, controller: Controller, stack: Stack, production: Server
) -> None:
    """The recovery drill: neither the server, its volume nor the backup folder is there any more."""
    gone = "DO $$ BEGIN IF to_regrole('app_login') IS NOT NULL THEN DROP OWNED BY app_login; DROP ROLE app_login; END IF; END $$"
    production.do(
        *(gone, "SET password_encryption = 'scram-sha-256'", "CREATE ROLE app_login LOGIN PASSWORD 'a word of hers'"),
        *("GRANT SELECT ON users TO app_login", "ALTER DATABASE chat SET work_mem = '7MB'"),
    )
    try:
        storage = Storage(bucket.location + "-drill", bucket.environment)
        made = controller.run("backup", "-l", "production", dbops_backup_role_passwords=True)
        assert made.ok and copy(controller, storage, dbops_copy_init=True).ok
        known, users = production.dump(), production.tables()["users"]
        elsewhere = f"{stack.folder}/opt/backups/second"
        with Workbench(stack, controller).server() as server:
            second = {"dbops_container": server.name, "dbops_backends": [], "dbops_backup_dir": elsewhere}
            refused = restore(controller, storage, **second)
            assert not refused.ok and f"the server that answers is {server.identifier}" in refused.message
            second["dbops_server_id"] = server.identifier
            missing = restore(controller, storage, **second)
            assert not missing.ok and "CREATE ROLE" in missing.message and "dbops_restore_missing_roles=create" in missing.message
            came = restore(controller, storage, **second, dbops_restore_missing_roles="create")
            assert came.ok, came.output
            assert any("was made on another server" in warning for warning in came.result()["warnings"])
            assert server.dump("chat") == known and server.value("SHOW work_mem", database="chat") == "7MB"
            with contextlib.closing(
                server.connect("chat", user="app_login", password="a word of hers")
            ) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM users")
                assert cursor.fetchone() == (users,)
        stack.as_deploy(f"rm -rf {elsewhere}")
    finally:
        production.do(gone, "ALTER DATABASE chat RESET work_mem")
