# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database that many branches share: baseline, kept tables, whether it is in use, whom a change would break.

Uses: archive, backend, operation, sandbox, server, text.
Operations and looks that know of branches come here.
"""
