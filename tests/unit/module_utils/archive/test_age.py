# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""age's command line, with the real program where it is installed: what is encrypted is opened by its key only."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._age import Age, Encryption
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import RUN, FakeDocker

PUBLIC = "age1" + "q" * 58


class Recorder:
    """Stands for ``run_process``; ``answers``: by program."""

    def __init__(self, **answers: t.Any) -> None:
        self.answers = answers
        self.calls: list[list[str]] = []

    def __call__(self, argv: t.Sequence[str], folder: str = "") -> Outcome:
        self.calls.append(list(argv))
        answer = self.answers.get(argv[0], Outcome(0, "", ""))
        if isinstance(answer, BaseException):
            raise answer
        if argv[0] == "tar" and "--create" in argv:
            Path(argv[argv.index("--file") + 1]).write_text("packed")
        return t.cast(Outcome, answer)


def a_dump(folder: Path) -> Path:
    (folder / "dump").mkdir(parents=True)
    (folder / "dump" / "toc.dat").write_bytes(b"toc")
    (folder / "dump" / "1.dat").write_bytes(os.urandom(5000))
    (folder / "manifest.json").write_text("{}")
    return folder


def age(recorder: t.Any = None, docker: t.Any = None, **encryption: t.Any) -> Age:
    known = {"recipients": (PUBLIC,), **encryption}
    made = (Encryption(**known), docker or FakeDocker(), RUN, {"dbops.run": RUN})
    return Age(*made, recorder) if recorder else Age(*made)


def test_each_recipient_is_named_and_nothing_secret_is(tmp_path: Path) -> None:
    recorder = Recorder()
    age(recorder, recipients=(PUBLIC, "ssh-ed25519 AAAA alice")).encrypt(str(a_dump(tmp_path)))
    assert recorder.calls[1] == [
        *("age", "--encrypt", "--recipient", PUBLIC, "--recipient", "ssh-ed25519 AAAA alice", "--output", "dump.tar.age", "--", "dump.tar")
    ]
    assert not (tmp_path / "dump").exists() and not (tmp_path / "dump.tar").exists()


def test_the_key_is_a_file_that_is_gone_afterwards_and_no_argument(tmp_path: Path) -> None:
    made, to = tmp_path / "chat_1", tmp_path / "to"
    made.mkdir()
    to.mkdir()
    (made / "dump.tar.age").write_text("closed")
    seen = []

    def execute(argv: t.Sequence[str], folder: str = "") -> Outcome:
        if argv[0] == "age":
            seen.append((Path(folder) / "identity").read_text())
            assert (Path(folder) / "identity").stat().st_mode & 0o777 == 0o600
            (Path(folder) / "dump.tar").write_text("packed")
        assert "SECRET" not in " ".join(argv)
        return Outcome(0, "", "")

    age(execute, identity="AGE-SECRET-KEY-1X").decrypt(str(made), str(to))
    assert seen == ["AGE-SECRET-KEY-1X\n"]
    assert list(to.iterdir()) == [] and (made / "dump.tar.age").exists()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"age": FileNotFoundError()}, "dbops_encryption_image"),
        ({"tar": FileNotFoundError()}, "no program 'tar'"),
        ({"tar": Outcome(2, "", "tar: No space left on device\n")}, "could not be packed: tar: No space left on device."),
        ({"age": Outcome(1, "", 'age: error: malformed recipient "x"\n')}, "dbops_encryption_recipients"),
    ],
)
def test_what_cannot_be_encrypted_is_a_sentence(answers: dict[str, t.Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DbopsError) as failed:
        age(Recorder(**answers)).encrypt(str(a_dump(tmp_path)))
    assert words in failed.value.message


def test_in_a_container_it_sees_one_folder_and_no_network(tmp_path: Path) -> None:
    docker = FakeDocker()
    age(Recorder(), docker, image="registry.example.com/age:1.2").encrypt(str(a_dump(tmp_path)))
    [job] = docker.jobs
    assert (job.argv[:2], job.image, job.network) == (("age", "--encrypt"), "registry.example.com/age:1.2", "none")
    assert job.mounts == ((str(tmp_path), "/dbops", True),)


@pytest.mark.skipif(not shutil.which("age-keygen"), reason="age is not installed")
class TestRealAge:
    @pytest.fixture
    def keys(self, tmp_path: Path) -> list[tuple[str, str]]:
        """Two pairs: public, private."""
        found = []
        for name in ("one", "two"):
            subprocess.run(["age-keygen", "-o", str(tmp_path / name)], check=True, capture_output=True)
            text = (tmp_path / name).read_text()
            found.append((text.split("public key: ")[1].split()[0], text))
        return found

    @pytest.fixture
    def encrypted(self, keys: list[tuple[str, str]], tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
        folder = a_dump(tmp_path / "chat_1")
        held = {path.name: path.read_bytes() for path in (folder / "dump").iterdir()}
        age(recipients=(keys[0][0],)).encrypt(str(folder))
        return folder, held

    def test_its_key_opens_it_exactly(self, keys: list[tuple[str, str]], encrypted: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
        folder, held = encrypted
        assert sorted(path.name for path in folder.iterdir()) == ["dump.tar.age", "manifest.json"]
        assert not any(contents in (folder / "dump.tar.age").read_bytes() for contents in held.values())
        (tmp_path / "to").mkdir()
        age(identity=keys[0][1]).decrypt(str(folder), str(tmp_path / "to"))
        assert {path.name: path.read_bytes() for path in (tmp_path / "to" / "dump").iterdir()} == held
        assert [path.name for path in (tmp_path / "to").iterdir()] == ["dump"]

    def test_another_key_does_not_and_the_message_says_what_to_give(
        self, keys: list[tuple[str, str]], encrypted: tuple[Path, dict[str, bytes]], tmp_path: Path
    ) -> None:
        (tmp_path / "to").mkdir()
        (tmp_path / "key").write_text(keys[1][1])
        with pytest.raises(DbopsError, match=r"This key does not open backup 'chat_1'.*dbops_encryption_identity_file"):
            age(identity_file=str(tmp_path / "key")).decrypt(str(encrypted[0]), str(tmp_path / "to"))

    def test_one_flipped_bit_is_not_opened(
        self, keys: list[tuple[str, str]], encrypted: tuple[Path, dict[str, bytes]], tmp_path: Path
    ) -> None:
        path = encrypted[0] / "dump.tar.age"
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
        (tmp_path / "to").mkdir()
        with pytest.raises(DbopsError, match="could not open"):
            age(identity=keys[0][1]).decrypt(str(encrypted[0]), str(tmp_path / "to"))

    @pytest.mark.parametrize(("text", "words"), [("no key at all", "could not open"), (None, "cannot be read on this host")])
    def test_what_is_no_key_is_a_sentence(
        self, text: str | None, words: str, encrypted: tuple[Path, dict[str, bytes]], tmp_path: Path
    ) -> None:
        (tmp_path / "to").mkdir()
        if text:
            (tmp_path / "key").write_text(text)
        with pytest.raises(DbopsError, match=words):
            age(identity_file=str(tmp_path / "key")).decrypt(str(encrypted[0]), str(tmp_path / "to"))
        assert not (tmp_path / "to" / "identity").exists()
