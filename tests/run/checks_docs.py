# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `docs`: the reference that is generated from modules and roles, and the changelog."""

from __future__ import annotations

import tree
from machine import files
from stages import Stage, bad, exits_zero


def check(stage: Stage) -> None:
    modules = files("plugins/modules/*.py")
    roles = files("roles/*/meta/argument_specs.yml")
    if not modules or not roles:
        stage.record("antsibull-docs", bad(f"{len(modules)} modules and {len(roles)} role specifications: nothing to check"))
    else:
        stage.check(
            "antsibull-docs",
            [
                "antsibull-docs",
                "lint-collection-docs",
                "--plugin-docs",
                "--validate-collection-refs",
                "all",
                "--disallow-unknown-collection-refs",
                ".",
            ],
            exits_zero(f"{len(modules)} modules, {len(roles)} roles"),
            cwd=tree.refresh(),  # it copies the collection it stands in, links and all
        )
    fragments = files("changelogs/fragments/*", "changelogs/changelog.yaml")
    if not fragments:
        stage.record("antsibull-changelog", bad("neither a fragment nor a changelog: nothing to check"))
    else:
        stage.check("antsibull-changelog", ["antsibull-changelog", "lint"], exits_zero(f"{len(fragments)} files"))
