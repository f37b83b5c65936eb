# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application brought to another image: its Compose project, where that says which image it is, its containers started anew, and taken back.

Uses: backend, engine, operation, sandbox, server, text.
Operations that deploy come here.
"""
