# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throwaway servers: what a migration does there is its plan, what an image makes of an empty database its schema, what comes back its proof.

Uses: archive, backend, engine, operation, server, text.
Who has to know beforehand comes here.
"""
