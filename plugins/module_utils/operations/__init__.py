# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One file for each operation that changes or saves a database: backup, restore, migration, seed, reset, enroll.

Uses: archive, backend, deployment, engine, gates, offsite, operation, preview, progress, rehearsal, risk, sandbox, schedule, server, text.
Modules enter; of each other, operations use only the backup, in a migration the plan and, in a reset, the seed.
"""
