# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes the collection along to the target, as it is on the controller, before the module of the same name works there."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core_version

#: What a run needs of the collection.
_PARTS = ("meta", "playbooks", "plugins", "roles")
_SINGLE = ("MANIFEST.json", "FILES.json", "galaxy.yml", "LICENSE")


class ActionModule(ActionBase):
    """The only action plugin of this collection: a module cannot reach what is on the controller."""

    TRANSFERS_FILES = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments.setdefault("core", "ansible-core==" + core_version)
        local = ""
        try:
            descriptor, local = tempfile.mkstemp(prefix="dbops-collection-", suffix=".tar.gz")
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(packed(Path(__file__).resolve().parents[2]))
            remote = self._connection._shell.join_path(self._make_tmp_path(), "collection.tar.gz")
            arguments["collection"] = self._transfer_file(local, remote)
            self._fixup_perms2((self._connection._shell.tmpdir, remote))
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            if local:
                os.unlink(local)
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result


def packed(root: Path) -> bytes:
    """The same bytes for the same collection, wherever and whenever: by them the target knows whether it has it."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as compressed, tarfile.open(fileobj=compressed, mode="w") as archive:
        for path in sorted(_files(root)):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as stream:
                archive.addfile(entry, stream)
    return buffer.getvalue()


def _files(root: Path) -> t.Iterator[Path]:
    for name in _SINGLE:
        if (root / name).is_file():
            yield root / name
    for part in _PARTS:
        for path in (root / part).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path
