# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers: the engine's client (the only one that knows the docker command), what inspect says, processes.

Uses: text.
Who meets a container comes here; no other room starts a program.
"""
