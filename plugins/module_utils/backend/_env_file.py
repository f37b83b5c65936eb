# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files with ``NAME=value`` lines, as Docker Compose reads them (https://docs.docker.com/reference/compose-file/services/#env_file)."""

from __future__ import annotations

import glob
import os
import re
import stat
import typing as t
from dataclasses import dataclass

#: More is no file of a few variables: the rest is not read.
_MOST_BYTES = 1024 * 1024

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(.*)$", re.DOTALL)
_COMPOSE_FILE = re.compile(r"^(?:docker-)?compose.*\.ya?ml$")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class EnvFile:
    """One file. ``trouble``: why it cannot be read, in words that follow its path; ``pairs`` are in the file's order.

    ``oddities``: what reads well here and not everywhere. ``modified``: seconds since the epoch.
    """

    path: str
    trouble: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    oddities: tuple[str, ...] = ()
    modified: float = 0.0

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    def values(self, name: str) -> list[str]:
        """Every value that the file gives a variable; the last one counts."""
        return [value for known, value in self.pairs if known == name]


def find_env_files(patterns: t.Iterable[str]) -> list[EnvFile]:
    """Read every file that fits one of the patterns, and name those that ought to be there: a Compose project's folder without one."""
    paths: dict[str, None] = {}
    for pattern in patterns:
        folder, name = os.path.split(pattern)
        paths.update(dict.fromkeys(sorted(glob.glob(pattern))))
        if not glob.has_magic(name):
            expected = [folder] if not glob.has_magic(folder) else [path for path in sorted(glob.glob(folder)) if _is_project(path)]
            paths.update(dict.fromkeys(os.path.join(path, name) for path in expected))
    return [read_env_file(path) for path in paths]


def _is_project(folder: str) -> bool:
    try:
        return any(_COMPOSE_FILE.match(name) for name in os.listdir(folder))
    except OSError:  # a file, or not ours to look into: then the file in it says so
        return os.path.isdir(folder)


def read_env_file(path: str) -> EnvFile:
    """What a file says, or why it says nothing."""
    try:
        facts = os.stat(path)
        if stat.S_ISDIR(facts.st_mode):
            return EnvFile(path, "is a folder (Docker makes one where a file to mount is missing)")
        if not stat.S_ISREG(facts.st_mode):
            return EnvFile(path, "is no ordinary file")
        with open(path, "rb") as stream:
            data = stream.read(_MOST_BYTES)
    except FileNotFoundError:
        return EnvFile(path, "is missing")
    except OSError as error:
        return EnvFile(path, "cannot be read by this user (%s)" % (error.strerror or "unknown"))
    pairs, oddities = parse_env_text(data)
    return EnvFile(path, "", pairs, oddities, facts.st_mtime)


def parse_env_text(data: bytes) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The variables in order, and what is odd about the text."""
    oddities = []
    if b"\0" in data:
        oddities.append("holds bytes that are no text")
    if b"\r\n" in data:
        oddities.append("has Windows line ends (a shell takes them as part of the value)")
    text = data.decode("utf-8-sig", "replace")
    pairs = []
    for line in re.split("\r\n|\n|\r", text):
        match = _LINE.match(line)
        if match and not line.lstrip().startswith("#"):
            pairs.append((match.group(1), _unquoted(match.group(2))))
    return tuple(pairs), tuple(oddities)


def _unquoted(value: str) -> str:
    """Without the quotes or the comment that are not part of the value."""
    if value[:1] == "'" and "'" in value[1:]:
        return value[1:].partition("'")[0]
    if value[:1] == '"':
        inner = re.match(r'"((?:[^"\\]|\\.)*)"', value)
        if inner:
            return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group(1)), inner.group(1))
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()
