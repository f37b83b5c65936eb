# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes ``ansible_collections.dbops.postgres`` importable from a checkout of any name, without Ansible and without a link.

``ansible_collections`` cannot come from ``sys.path`` here: the folder of a checkout is not called ``dbops/postgres``, and
the PyPI package ``ansible`` brings a folder of the same name.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def offer_collection() -> None:
    """Register the three packages above ``plugins`` by hand; everything below is found by the ordinary import system."""
    if "ansible_collections.dbops.postgres" in sys.modules:
        return
    for name, folders in (
        ("ansible_collections", []),
        ("ansible_collections.dbops", []),
        ("ansible_collections.dbops.postgres", [str(ROOT)]),
    ):
        package = types.ModuleType(name)
        package.__path__ = folders
        sys.modules[name] = package
        if "." in name:
            parent, child = name.rsplit(".", 1)
            setattr(sys.modules[parent], child, package)


offer_collection()
