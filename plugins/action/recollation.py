# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts the module of the same name, and tells how far it is."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.plugin_utils.following import FollowingAction as ActionModule

__all__ = ["ActionModule"]
