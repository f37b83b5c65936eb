# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`scripts/migrate.sh`: what is typed becomes one line of ansible-playbook, and a reset of production none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "migrate.sh"
VERBS = ["apply", "plan", "rehearse", "deploy", "seed", "backup", "backups", "restore", "reset", "status", "diagnose"]


class Typed:
    """Runs the script in a repository, with an `ansible-playbook` that only says how it was called, and where."""

    def __init__(self, folder: Path, playbooks: tuple[str, ...] = ()) -> None:
        self.repository = folder / "repository"
        (self.repository / "scripts").mkdir(parents=True)
        self.script = self.repository / "scripts" / "migrate.sh"
        shutil.copy(SCRIPT, self.script)
        for name in playbooks:
            (self.repository / name).parent.mkdir(exist_ok=True)
            (self.repository / name).write_text("---\n")
        (folder / "bin").mkdir()
        program = folder / "bin" / "ansible-playbook"
        program.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\nexit 4\n')
        program.chmod(0o755)
        self.env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self.script), *words], env=self.env, cwd="/", capture_output=True, text=True, check=False)


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    return Typed(tmp_path)


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["apply", "production"], ["dbops.postgres.migrate", "-l", "production"]),
        (["apply", "preview"], ["dbops.postgres.migrate", "-l", "preview"]),
        (["plan", "production"], ["dbops.postgres.plan", "-l", "production"]),
        (["rehearse", "production"], ["dbops.postgres.rehearse", "-l", "production"]),
        (["backup", "production"], ["dbops.postgres.backup", "-l", "production"]),
        (["backups", "production"], ["dbops.postgres.backups", "-l", "production"]),
        (
            ["restore", "production", "latest", "--check"],
            ["dbops.postgres.restore", "-l", "production", "-e", "dbops_restore_backup=latest", "--check"],
        ),
        (
            ["deploy", "production", "registry.example.org/app:v42"],
            ["dbops.postgres.deploy", "-l", "production", "-e", "dbops_image=registry.example.org/app:v42"],
        ),
        (["seed", "preview"], ["dbops.postgres.seed", "-l", "preview"]),
        (["status", "production"], ["dbops.postgres.status", "-l", "production"]),
        (["diagnose", "preview"], ["dbops.postgres.diagnose", "-l", "preview"]),
        (["reset", "preview"], ["dbops.postgres.preview_reset", "-l", "preview"]),
        (
            ["seed", "production", "-e", "dbops_confirm=seed:chat"],
            ["dbops.postgres.seed", "-l", "production", "-e", "dbops_confirm=seed:chat"],
        ),
        (["apply", "preview", "-e", '{"a": "b c"}'], ["dbops.postgres.migrate", "-l", "preview", "-e", '{"a": "b c"}']),
    ],
)
def test_what_is_typed_is_shown_and_run_as_one_line(typed: Typed, words: list[str], called: list[str]) -> None:
    done = typed(*words)
    assert done.stdout.splitlines()[1:] == called
    assert done.returncode == 4, "the playbook's own exit status"
    assert done.stderr.startswith(f"+ ansible-playbook {called[0]} -l {words[1]}")


def test_the_playbooks_beside_it_come_first(tmp_path: Path) -> None:
    typed = Typed(tmp_path, ("migrate.yml", "playbooks/migrate.yml", "playbooks/seed.yml"))
    assert typed("apply", "preview").stdout.splitlines()[:2] == [str(typed.repository), "migrate.yml"]
    assert typed("seed", "preview").stdout.splitlines()[:2] == [str(typed.repository / "playbooks"), "seed.yml"]


@pytest.mark.parametrize("words", [["reset", "production"], ["reset", "production", "-e", "dbops_confirm=reset:chat"]])
def test_production_is_never_reset(typed: Typed, words: list[str]) -> None:
    done = typed(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "reset destroys all data and is for preview only; production was not touched" in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["apply"], ["drop", "preview"], ["apply", "all"], ["apply", ""], ["apply", "production,preview"], ["production", "apply"]]
)
def test_what_is_not_understood_runs_nothing(typed: Typed, words: list[str]) -> None:
    done = typed(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip()


@pytest.mark.parametrize("words", [["restore", "production"], ["restore", "production", "--check"]])
def test_a_restore_wants_to_know_of_what(typed: Typed, words: list[str]) -> None:
    done = typed(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "say which backup: latest, undo, or an id that 'migrate.sh backups production' shows" in done.stderr


@pytest.mark.parametrize("words", [["deploy", "production"], ["deploy", "production", "--check"]])
def test_a_deploy_wants_to_know_which_image(typed: Typed, words: list[str]) -> None:
    done = typed(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "say which image, as the registry knows it" in done.stderr


def complete_in_bash(*words: str) -> list[str]:
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        'eval "$(complete -p migrate.sh | sed "s/.*-F \\([^ ]*\\) .*/\\1/")"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    completion = str(ROOT / "scripts" / "completions" / "migrate.bash")
    done = subprocess.run(["bash", "-c", script, "bash", completion, "migrate.sh", *words], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], VERBS),
        (["re"], ["rehearse", "restore", "reset"]),
        (["restore", "production", ""], ["latest", "undo"]),
        (["apply", ""], ["production", "preview"]),
        (["apply", "pro"], ["production"]),
        (["reset", ""], ["preview"]),
        (["reset", "pro"], []),
        (["apply", "preview", "--d"], ["--diff"]),
    ],
)
def test_bash_completes_it(words: list[str], offered: list[str]) -> None:
    assert complete_in_bash(*words) == offered


#: A zsh with a terminal of its own, whose completion list is read from it.
_ZSH = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'fpath=($1 $fpath); autoload -U compinit; compinit -u -D; bindkey "^I" list-choices; stty cols 400; echo LOADED'
zpty -w z "migrate.sh $2"$'\\t'
sleep 2
zpty -w z $'\\x15exit'
while zpty -r z line; do print -r -- $line; done
"""


@pytest.mark.parametrize(
    ("words", "offered", "never"), [("", VERBS, []), ("apply ", ["production", "preview"], []), ("reset ", ["preview"], ["production"])]
)
def test_zsh_completes_it(words: str, offered: list[str], never: list[str]) -> None:
    zsh = shutil.which("zsh")
    assert zsh, "demo/prepare installs it"
    script = _ZSH.replace("$1", str(ROOT / "scripts" / "completions"), 1).replace("$2", words)
    done = subprocess.run([zsh, "-f", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    listed = done.stdout.rpartition("LOADED")[2]
    assert [word for word in offered if word not in listed] == [], done.stdout + done.stderr
    assert [word for word in never if word in listed] == [], done.stdout
