# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is broken and what to do: facts gathered once, checks that are pure, findings in order, the bundle.

Uses: archive, backend, engine, operation, sandbox, server, text.
Only the module database_diagnosis enters.
"""
