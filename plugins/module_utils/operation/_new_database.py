# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database that is built beside the live one."""

from __future__ import annotations

from ansible_collections.dbops.postgres.plugins.module_utils.archive._load import NewDatabase
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import search_path_of


def create_beside(operation: Operation, name: str, properties: _database.Properties) -> NewDatabase:
    """Make an empty database with the encoding, locale, owner and tablespace of ``properties``."""

    def renew() -> None:
        _database.drop(operation.maintenance, name)
        _database.create(operation.maintenance, name, properties)

    _database.create(operation.maintenance, name, properties)
    return NewDatabase(name, search_path_of(properties), renew, lambda: operation.session(name))
