# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at an operation that works already, until it ends; it is not ended by what ends this."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.plugin_utils.following import Cancelled, FollowingAction, Remote, Screen


class ActionModule(FollowingAction):
    _ends_what_it_follows = False

    def _follow(self, task_vars: dict[str, t.Any], screen: Screen, cancelled: Cancelled) -> dict[str, t.Any]:
        seen: dict[str, t.Any] = self._execute_module(task_vars=task_vars)
        follow = seen.get("invocation", {}).get("module_args", {}).get("follow", True)
        working = [run for run in seen.get("runs") or () if run["alive"]]
        if seen.get("failed") or not follow or not working:
            return seen
        for run in working:
            self._watch(Remote(run), screen, cancelled)
        ended: dict[str, t.Any] = self._execute_module(task_vars=task_vars)
        return ended
