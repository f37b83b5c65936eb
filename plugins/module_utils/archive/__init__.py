# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups on disk: manifest, catalogue, dump and restore by PostgreSQL's own tools, plain files, the journal.

Uses: engine, progress, server, text.
Who reads or writes the backup folder comes here.
"""
