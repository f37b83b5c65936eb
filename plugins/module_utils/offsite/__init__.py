# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of backups elsewhere: the restic repository, and which copy is which.

Uses: archive, engine, text.
Who sends a backup away or has one come back comes here.
"""
