# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files in a folder of one's own, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class Files:
    """The files of one folder, which nobody else may read."""

    folder: str

    def read(self) -> dict[str, str]:
        """``{name: text}``; nothing where there is no folder."""
        found = {}
        for name in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []:
            path = os.path.join(self.folder, name)
            if os.path.isfile(path) and not name.startswith("."):
                with open(path, encoding="utf-8") as stream:
                    found[name] = stream.read()
        return found

    def write(self, wanted: t.Mapping[str, str]) -> None:
        """Make them these, and no others; without any, the folder goes."""
        if not wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        os.makedirs(self.folder, 0o700, exist_ok=True)
        for name, text in sorted(wanted.items()):
            replace_file(os.path.join(self.folder, name), text, 0o600)
        for name in set(self.read()) - set(wanted):
            os.unlink(os.path.join(self.folder, name))


@contextlib.contextmanager
def alone_in(folder: str) -> t.Iterator[None]:
    """Several databases of one host are set up at once, and share what is in the folder: one after the other. A run that dies frees it."""
    os.makedirs(folder, 0o700, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace_file(path: str, text: str, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".dbops-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, path)
