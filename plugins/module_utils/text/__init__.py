# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words for a person at night: errors that are sentences, sizes and durations, moments in time, logs in a few lines, secrets masked.

Uses: nothing of ours.
Everybody may enter.
"""
