# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL: sessions, the lock, databases, roles, the schema as data, counts, statements, the swap, vital signs.

Uses: text.
Who asks a server comes here; no other room knows psycopg2.
"""
