# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The baseline of a database: a fresh one (migrated and seeded), kept as a template beside it, of which every reset is a copy.

It is closed to connections, so that nobody changes it, and carries a description of what it holds and of what made it.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, execute, sql, transaction
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TableRows
from ansible_collections.dbops.postgres.plugins.module_utils.server._sessions import end_sessions
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: The own setting that holds the description.
_DESCRIPTION = "baseline"

#: Bytes from which on copying files beats writing each block to the WAL; below, its two checkpoints cost more
#: (https://www.postgresql.org/docs/current/sql-createdatabase.html#CREATE-DATABASE-STRATEGY).
_FILE_COPY_FROM = 64 * 1024 * 1024


#: Seconds within which sessions that somebody opened in the template have to end.
_SESSION_SECONDS = 10.0


@dataclass(frozen=True)
class Baseline:
    """``of``: the database whose baseline it is (a long name is cut to make this one's); ``fingerprint``: of what made it;
    ``schema``: the fingerprint of its schema; ``seeds``: the seeds whose rows it holds."""

    of: str
    fingerprint: str
    schema: str
    seeds: str
    image: str
    made: str
    tables: tuple[TableRows, ...]

    @classmethod
    def from_json(cls, text: str) -> Baseline | None:
        """``None`` for what is no description that this version writes."""
        try:
            data = json.loads(text)
            return cls(**dict(data, tables=tuple(TableRows(**table) for table in data["tables"])))
        except (ValueError, TypeError, KeyError):
            return None


def baseline_name(database: str) -> str:
    return _database.derived_name(database, "_baseline")


def fingerprint_of(migrate: Runner, seed: Runner | None, properties: _database.Properties, server: t.Sequence[str]) -> str:
    """16 hexadecimal digits for all that decides what a fresh database holds: image, commands, encoding and locale.

    :param server: the server's image, and the version by which it sorts text: indexes are made by both.
    """
    made_of = [migrate.image_id, list(migrate.argv), list(seed.argv) if seed else []]
    made_of += server
    made_of += [properties.encoding, properties.collate, properties.ctype, properties.provider, properties.locale]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def read_baseline(connection: Connection, database: str) -> Baseline | None:
    """The baseline of a database, where there is one.

    :raises DbopsError: where somebody else's database has its name.
    """
    name = baseline_name(database)
    description = _database.read_own(connection, _DESCRIPTION).get(name)
    baseline = Baseline.from_json(description) if description else None
    if baseline and baseline.of == database:
        return baseline
    if _database.exists(connection, name):
        raise DbopsError("Database '%s' is in the way: a reset keeps its baseline under that name. Rename it, or drop it." % name)
    return None


def keep_baseline(connection: Connection, database: str, building: str, baseline: Baseline) -> None:
    """``building`` becomes the baseline, in one transaction; an older one is dropped before."""
    name = baseline_name(database)
    drop_baseline(connection, database)
    identifier = sql.Identifier(name)
    with transaction(connection):
        execute(connection, sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(building), identifier))
        execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false IS_TEMPLATE true").format(identifier))
        _database.set_own(connection, name, _DESCRIPTION, json.dumps(asdict(baseline)))


def drop_baseline(connection: Connection, database: str) -> None:
    name = baseline_name(database)
    if _database.exists(connection, name):
        execute(connection, sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name)))
        _database.drop(connection, name)


def copy_baseline(connection: Connection, database: str, copy: str, properties: _database.Properties) -> None:
    """A new database with the baseline's contents, and the owner and tablespace of ``properties``.

    A template is copied only while nobody is in it, so whoever opened it is put out.
    """
    name = baseline_name(database)
    execute(connection, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
    end_sessions(connection, name, _SESSION_SECONDS)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} TABLESPACE {}").format(
        sql.Identifier(copy), sql.Identifier(name), sql.Identifier(properties.owner), sql.Identifier(properties.tablespace)
    )
    if connection.server_version < 150000 or _database.size(connection, name) < _FILE_COPY_FROM:
        execute(connection, statement)
        return
    statement += sql.SQL(" STRATEGY file_copy")
    if connection.server_version >= 180000:
        execute(connection, "SET file_copy_method = clone")  # shares the blocks until one is written, where the file system can
        if not attempt(connection, statement):
            return
        execute(connection, "SET file_copy_method = copy")
    execute(connection, statement)
