# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application: its migration runner, its health, environment files, connection addresses, branches.

Uses: engine, text.
Who meets a backend's container comes here.
"""
