# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the whole project: its files fit any machine, and say things once."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: Spelt in pieces, so that this file does not break its own rule.
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.~$}}-]){re.escape('/' + name)}/" for name in ("work", "root", "home/user")))
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("deb", "debian", "org"),
            ("security", "debian", "org"),
            ("npmjs", "org"),
            ("npmjs", "com"),
            ("proxy", "golang", "org"),
            ("registry-1", "docker", "io"),
        )
    )
)


def own_files() -> list[str]:
    """What is committed or could be; the tests run from any copy of the checkout that is a repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file() and name != "LICENSE")


def names_no_machine(text: str) -> list[str]:
    return [f"{hit}: a path of one machine" for hit in MACHINE_PATHS.findall(text)]


def names_no_registry(text: str) -> list[str]:
    return [f"{hit}: a registry's host" for hit in REGISTRIES.findall(text)]


RULES = [names_no_machine, names_no_registry]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_files_keep_the_rule(rule) -> None:
    names = own_files()
    assert len(names) > 20
    found = {name: rule((ROOT / name).read_text(encoding="utf-8", errors="replace")) for name in names}
    assert {name: complaints for name, complaints in found.items() if complaints} == {}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (names_no_machine, "cd " + "/wo" + "rk/main"),
        (names_no_machine, "HOME=" + "/ro" + "ot/x"),
        (names_no_registry, "pip install -i https://" + "pypi" + ".org/simple"),
    ],
)
def test_a_text_that_breaks_a_rule_is_caught(rule, text: str) -> None:
    assert rule(text)


@pytest.mark.parametrize("text", ["./work/x", "/workspace/x", "$TMP/work/x", "docker.io", "chroot/x", "/opt/chat/.env"])
def test_a_harmless_text_is_let_through(text: str) -> None:
    assert [rule(text) for rule in RULES] == [[], []]


def test_both_ansible_configurations_say_the_same() -> None:
    """A link would not do: paths are relative to the file. So there are two files, and this test."""
    top, inside = configparser.ConfigParser(), configparser.ConfigParser()
    assert top.read(ROOT / "ansible.cfg") and inside.read(ROOT / "playbooks" / "ansible.cfg")
    paths = ("inventory", "collections_path")
    assert {name: f"../{top['defaults'][name]}" for name in paths} == {name: inside["defaults"][name] for name in paths}
    without = [
        {section: {k: v for k, v in parser[section].items() if k not in paths} for section in parser.sections()} for parser in (top, inside)
    ]
    assert without[0] == without[1]
    assert "host_key_checking" not in top["defaults"], "host key checking stays on"
