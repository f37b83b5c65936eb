# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files and folders of a backup on the disk: private, flushed, and their checksums."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil

_CHUNK = 1024 * 1024


def sha256(path: str) -> str:
    """Hexadecimal digest of a file, in constant memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def write_file(path: str, text: str) -> None:
    """Write a new file, mode 0600, and see it on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def put_beside(folder: str, name: str, text: str, work: str) -> None:
    """Give a folder a file, in the place of one of that name, whole or not at all.

    :param work: a folder of this run's own on the same file system.
    """
    path = os.path.join(work, "%s.%s" % (os.path.basename(folder), name))
    write_file(path, text)
    os.rename(path, os.path.join(folder, name))
    sync(folder)


def folder_size(path: str) -> int:
    """Bytes of all files below a folder, also while somebody writes there; 0 where there is none."""
    size = 0
    for parent, _folders, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += os.lstat(os.path.join(parent, name)).st_size
    return size


def remove_folder(path: str) -> None:
    shutil.rmtree(path)


def relative_files(folder: str) -> list[str]:
    found = []
    for parent, _folders, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(parent, name), folder) for name in names]
    return sorted(found)


def symbolic_links(folder: str) -> list[str]:
    """Links below a folder, to files and to folders."""
    found = []
    for parent, folders, names in os.walk(folder):
        paths = [os.path.join(parent, name) for name in folders + names]
        found += [os.path.relpath(path, folder) for path in paths if os.path.islink(path)]
    return sorted(found)


def sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
