# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Migration runners for tests that are about one statement."""

from __future__ import annotations

from stack import Server, Stack


def psql(stack: Stack, server: Server, statement: str) -> dict[str, object]:
    """A migration runner in one line: psql, in the database's own image."""
    password = "".join(f"%{byte:02X}" for byte in server.env["POSTGRES_PASSWORD"].encode())
    url = f"postgresql://postgres:{password}@{server.name}:5432/{server.database}?connect_timeout=3"
    runner = ["psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname", url, "--command", statement]
    return {"dbops_migrate_image": stack.postgres_image, "dbops_migrate_runner": runner}
