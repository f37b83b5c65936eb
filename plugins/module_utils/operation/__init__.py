# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every operation has in common: request, guard, target, lock, phases, clean-up, watchdog, what was lost.

Uses: archive, backend, engine, progress, server, text.
Whatever works on a database under the guard begins here.
"""
