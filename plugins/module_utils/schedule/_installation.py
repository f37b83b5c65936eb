# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This collection on the target: a folder for each version, with an Ansible in a virtual environment of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome, run_process
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: The last file of a version that is made: without it, it is half of one.
_COMPLETE = "complete"

#: The least Python of ansible-core 2.18 (https://docs.ansible.com/ansible/latest/reference_appendices/release_and_maintenance.html).
_LEAST = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"

_LONGEST = 600


@dataclass(frozen=True)
class Installation:
    """:param archive: the collection as a tar file; ``core``: what pip installs, such as ``ansible-core==2.19.4``; ``pip``: its further arguments;
    ``python``: the one of the virtual environment."""

    folder: str
    archive: str
    core: str
    pip: tuple[str, ...] = ()
    python: str = "python3"
    execute: t.Callable[..., Outcome] = run_process

    @property
    def version(self) -> str:
        """Of everything that it is made of."""
        digest = hashlib.sha256()
        with open(self.archive, "rb") as stream:
            for chunk in iter(lambda: stream.read(1024 * 1024), b""):
                digest.update(chunk)
        digest.update(("\n".join([self.core, self.python])).encode())
        return digest.hexdigest()[:16]

    @property
    def versions(self) -> str:
        return os.path.join(self.folder, "versions")

    @property
    def path(self) -> str:
        return os.path.join(self.versions, self.version)

    @property
    def program(self) -> str:
        return os.path.join(self.path, "venv", "bin", "ansible-playbook")

    @property
    def collections(self) -> str:
        return os.path.join(self.path, "collections")

    @property
    def is_there(self) -> bool:
        return os.path.exists(os.path.join(self.path, _COMPLETE))

    def make(self) -> None:
        """:raises DbopsError: with nothing left of it that could be taken for a version."""
        if self.is_there:
            return
        os.makedirs(self.versions, 0o700, exist_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        os.mkdir(self.path, 0o700)
        try:
            self._require([self.python, "-c", _LEAST], self._wrong_python())
            venv = os.path.join(self.path, "venv")
            self._require([self.python, "-m", "venv", venv], self._wrong_python())
            pip = [
                os.path.join(venv, "bin", "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *self.pip,
                self.core,
            ]
            self._require(
                pip,
                "'%s' could not be installed on this host: see that it reaches a package index, or say with dbops_schedule_pip where the"
                " packages are (such as [--no-index, --find-links, /srv/wheels])." % self.core,
            )
            self._unpack()
            with open(os.path.join(self.path, _COMPLETE), "w", encoding="utf-8") as stream:
                stream.write(self.core + "\n")
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def remove_others(self, used: t.Iterable[str]) -> list[str]:
        """The versions that nothing uses any more; ``used``: folders."""
        kept = {os.path.basename(path) for path in used}
        gone = [name for name in sorted(os.listdir(self.versions)) if name not in kept] if os.path.isdir(self.versions) else []
        for name in gone:
            shutil.rmtree(os.path.join(self.versions, name))
        return gone

    def _wrong_python(self) -> str:
        return (
            "What runs by itself on this host needs Python 3.11 or newer with venv (Debian: the package python3-venv), and '%s' is none: name"
            " one with dbops_schedule_python, or let AWX or GitHub Actions schedule instead." % self.python
        )

    def _require(self, argv: t.Sequence[str], sentence: str) -> None:
        try:
            outcome = self.execute(argv)
        except (FileNotFoundError, PermissionError):
            raise DbopsError(sentence) from None
        if outcome.rc != 0:
            said = " ".join(outcome.stderr.split())[-_LONGEST:]
            raise DbopsError(sentence + (" It says: %s" % said if said else ""))

    def _unpack(self) -> None:
        """Only plain files and folders below the collection's own: the archive was made by the controller, a moment ago."""
        target = os.path.join(self.collections, "ansible_collections", "dbops", "postgres")
        os.makedirs(target)
        with tarfile.open(self.archive) as archive:
            for member in archive.getmembers():
                path = os.path.normpath(os.path.join(target, member.name))
                if not path.startswith(target + os.sep) or not (member.isfile() or member.isdir()):
                    raise DbopsError("The archive of the collection holds '%s', which is no file of it." % member.name)
                archive.extract(member, target)
