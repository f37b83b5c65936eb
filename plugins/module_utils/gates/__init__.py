# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checklist before a migration, as data: what each point wants, what is known of it, and who has overruled it.

Uses: archive, operation, rehearsal, sandbox, server, text.
Operations that migrate, or plan a migration, come here.
"""
