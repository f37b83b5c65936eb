# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stage `e2e`: molecule's scenarios against the real stack, over SSH."""

from __future__ import annotations

from stages import Stage


def check(stage: Stage) -> None:
    raise NotImplementedError(stage.name)
