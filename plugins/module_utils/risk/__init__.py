# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a planned migration means for this very database: rules, how long who waits, what the real rows say, what was accepted.

Uses: sandbox, server, text.
Operations that plan a migration, and who looks, come here.
"""
