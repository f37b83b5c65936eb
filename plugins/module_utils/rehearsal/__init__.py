# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A migration tried on restored rows: what is seen meanwhile, which versions of the application work afterwards, and what is written down.

Uses: archive, backend, engine, operation, sandbox, server, text.
The gates, and operations that rehearse or plan, come here.
"""
