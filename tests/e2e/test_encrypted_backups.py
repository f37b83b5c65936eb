# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups that the host itself cannot read: made with a public key, compared without one, restored and proved with the private one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller import CheckThenRun, Controller
from faults import journal, left_behind
from stack import Server, Stack

CONSENT = "restore:chat"


@dataclass(frozen=True)
class Key:
    """A key pair of age's; ``path`` is where the private one lies on the target."""

    public: str
    private: str
    path: str


@pytest.fixture
def keys(stack: Stack, tmp_path: Path) -> Iterator[list[Key]]:
    made = []
    for name in ("hers", "another"):
        subprocess.run(["age-keygen", "-o", tmp_path / name], check=True, capture_output=True)
        text = (tmp_path / name).read_text()
        path = stack.as_deploy("mktemp").stdout.strip()
        stack.as_deploy(f"cat > {path} <<'KEY'\n{text}KEY")
        made.append(Key(text.split("public key: ")[1].split()[0], text.strip().splitlines()[-1], path))
    yield made
    stack.as_deploy("rm " + " ".join(key.path for key in made))


def test_what_is_encrypted_comes_back_with_its_key_only(
    v2: None, controller: Controller, check_then_run: CheckThenRun, stack: Stack, production: Server, keys: list[Key]
) -> None:
    hers, another = keys
    whole = production.dump()
    _checked, made = check_then_run("backup", "-l", "production", dbops_encryption_recipients=[hers.public])
    backup = made.result()["backup"]
    assert backup["encrypted"] is True and "nobody can restore it without the private key" in made.output
    folder = f"{production.backups}/{backup['id']}"
    assert sorted(stack.as_deploy(f"ls {folder}").stdout.split()) == ["dump.tar.age", "manifest.json", "schema.json"]
    assert stack.as_deploy(f"head -c 21 {folder}/dump.tar.age").stdout == "age-encryption.org/v1"

    compared = controller.run("backups", "-l", "production", dbops_backups_verify=True)
    assert compared.ok and compared.result()["damaged"] == {}

    untried = controller.run("verify_backups", "-l", "production")
    assert not untried.ok and "is encrypted: give the private key" in untried.message and hers.public in untried.message
    assert controller.run("backups", "-l", "production").result()["proofs"][backup["id"]]["state"] == "none"
    proved = controller.run("verify_backups", "-l", "production", dbops_encryption_identity=hers.private)
    assert proved.ok, proved.output
    assert hers.private not in proved.output

    production.do("DELETE FROM reactions")
    damaged = production.contents()
    restore = {"dbops_restore_backup": "latest", "dbops_confirm": CONSENT}
    for key, words in (
        ({}, "is encrypted: give the private key"),
        ({"dbops_encryption_identity_file": another.path}, "does not open backup"),
    ):
        refused = controller.run("restore", "-l", "production", **restore, **key)
        assert not refused.ok and words in refused.message
        assert production.contents() == damaged and left_behind(stack) == []
    _checked, done = check_then_run("restore", "-l", "production", **restore, dbops_encryption_identity_file=hers.path)
    assert production.dump() == whole
    assert "count and contents of every table compared" in done.output
    assert left_behind(stack) == []
    said = "".join(str(entry) for entry in journal(stack, production))
    assert hers.private not in said


def test_what_other_operations_save_is_encrypted_too(
    v1: None, controller: Controller, stack: Stack, production: Server, keys: list[Key]
) -> None:
    migrated = controller.run("migrate", "-l", "production", dbops_encryption_recipients=[key.public for key in keys])
    assert migrated.ok, migrated.output
    [backup] = stack.backups(production)
    assert "dump.tar.age" in stack.as_deploy(f"ls {production.backups}/{backup}").stdout
    undone = controller.run(
        "restore", "-l", "production", dbops_restore_backup=backup, dbops_confirm=CONSENT, dbops_encryption_identity_file=keys[1].path
    )
    assert undone.ok, undone.output  # each of its recipients can open it
    assert "nickname" not in production.columns("users")


def test_a_key_that_is_none_leaves_no_backup(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    refused = controller.run("backup", "-l", "production", dbops_encryption_recipients=["age1nonsense"])
    assert not refused.ok and "dbops_encryption_recipients is a public key" in refused.message
    assert stack.backups(production) == [] and left_behind(stack) == []
    missing = controller.run("backup", "-l", "production", dbops_encryption_recipients=["age1x"], dbops_encryption_program="/no/such/age")
    assert "There is no program '/no/such/age' on this host" in missing.message
    assert stack.backups(production) == [] and left_behind(stack) == []
