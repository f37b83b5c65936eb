# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of the checkout at a path that ends in `ansible_collections/dbops/postgres`, which some tools insist on (a link will not do)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from machine import CACHE, ROOT, files

COPY = CACHE / "tree" / "ansible_collections" / "dbops" / "postgres"


def refresh() -> Path:
    """Bring the copy up to date with the checkout's own files, unchanged ones left alone so that caches stay warm."""
    if not (COPY / ".git").is_dir():
        # A repository of its own: inside the checkout's, all of it is ignored, and ansible-test would find no file to check.
        shutil.rmtree(COPY, ignore_errors=True)
        COPY.mkdir(parents=True)
        subprocess.run(["git", "init", "--quiet", str(COPY)], check=True)
    wanted = files()
    for name in wanted:
        _copy(ROOT / name, COPY / name)
    keep = set(wanted)
    for path in sorted(COPY.rglob("*"), reverse=True):
        place = path.relative_to(COPY)
        if place.parts[0] == ".git":
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif str(place) not in keep:
            path.unlink()
    return COPY


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and not target.is_symlink():
        old, new = target.stat(), source.stat()
        if (old.st_size, old.st_mtime_ns, old.st_mode) == (new.st_size, new.st_mtime_ns, new.st_mode):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
