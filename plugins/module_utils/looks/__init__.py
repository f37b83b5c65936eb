# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks that change nothing: the state of one database or of many, the branches' state, the traffic light.

Uses: archive, backend, engine, operation, operations, preview, progress, sandbox, server, text.
Modules and the status page's filter enter.
"""
