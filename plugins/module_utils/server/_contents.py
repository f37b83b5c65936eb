# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each table holds, as one digest: equal for equal contents, whatever the order of the rows and of the columns.

PostgreSQL hashes each row, in the order of its columns' names, and the hashes are added up: so two rows that are the same count
twice, and nothing has to be sorted. Of a type whose own hash is the same for what is written differently (``1.0`` and ``1.00``, ``30
days`` and ``1 mon``), or that has none (``json``, ``point``), the text is hashed. What a table computes itself (generated columns) is
left out: a restore computes it anew.
"""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, row, rows, sql, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._row_counts import TABLES, TableRows

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: How values are written as text, whatever the database, the role or the server has set
#: (https://www.postgresql.org/docs/current/runtime-config-client.html#RUNTIME-CONFIG-CLIENT-FORMAT).
_WRITTEN = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "row_security": "off",
}

#: What of a column is hashed, by the kind that ``_COLUMNS`` gives it.
_HASHED = {
    "itself": "t.{}",
    "bytes": 't.{} COLLATE "C"',
    "float4": "float4send(t.{})",
    "float8": "float8send(t.{})",
    "text": "t.{}::text",
}

#: Columns by name, not by place: a dump may bring an inheriting table's columns in another order.
_COLUMNS = """
SELECT a.attrelid::bigint, array_agg(a.attname::text ORDER BY a.attname), array_agg(CASE
    WHEN a.atttypid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype, 'bytea'::regtype, 'uuid'::regtype,
        'date'::regtype, 'time'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN 'itself'
    WHEN a.atttypid IN ('text'::regtype, 'varchar'::regtype) THEN 'bytes'
    WHEN a.atttypid = 'float4'::regtype THEN 'float4'
    WHEN a.atttypid = 'float8'::regtype THEN 'float8'
    ELSE 'text' END ORDER BY a.attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY 1
"""

#: Largest first, or the last one would be waited for alone.
_BY_SIZE = """
SELECT t.nspname, t.relname, c.oid::bigint
FROM (%s) t JOIN pg_namespace n ON n.nspname = t.nspname JOIN pg_class c ON (c.relnamespace, c.relname) = (n.oid, t.relname)
ORDER BY c.relpages DESC, 1, 2
"""

#: A page has 2 kB.
_LARGE_OBJECTS = """
SELECT coalesce(sum(h), 0)::text, coalesce(sum(hashint8extended(h, 0)), 0)::text
FROM (
    SELECT hash_record_extended(ROW(o.loid, piece, lo_get(o.loid, piece * 1048576, 1048576)), 0) AS h
    FROM (SELECT loid, max(pageno)::bigint AS last FROM pg_largeobject GROUP BY loid) o, generate_series(0::bigint, o.last / 512) piece
    OFFSET 0
) s
"""


@dataclass(frozen=True)
class Contents:
    """``tables`` by name; ``digests``: ``{schema.table: 32 hexadecimal digits}``."""

    tables: tuple[TableRows, ...]
    digests: dict[str, str]


def read_contents(
    open_session: t.Callable[[], AbstractContextManager[Connection]],
    jobs: int,
    search_path: str = "",
    done: t.Callable[[str], None] | None = None,
) -> Contents:
    """Count and digest every table, ``jobs`` at a time.

    :param open_session: gives a session; those of a live database have to see the same snapshot.
    :param search_path: what the database's functions expect, where the database does not say so itself yet.
    :param done: told of each table that has been read, by whichever thread has read it.
    """
    with open_session() as connection:
        waiting = rows(connection, _BY_SIZE % TABLES)
        columns = {oid: list(zip(names, kinds)) for oid, names, kinds in rows(connection, _COLUMNS)}
    waiting.reverse()

    def work() -> list[tuple[TableRows, str]]:
        found: list[tuple[TableRows, str]] = []
        with open_session() as connection:
            for name, text in _WRITTEN.items():
                execute(connection, "SELECT set_config(%s, %s, false)", (name, text))
            with in_force(connection, search_path):
                while True:
                    try:
                        schema, table, oid = waiting.pop()
                    except IndexError:
                        return found
                    found.append(_digest(connection, schema, table, columns.get(oid, [])))
                    if done:
                        done(table)

    number = max(1, jobs)  # that none makes no sense is for pg_dump to say
    with ThreadPoolExecutor(number) as workers:
        try:
            parts = [future.result() for future in [workers.submit(work) for _number in range(number)]]
        except BaseException:
            waiting.clear()  # whoever fails or ends the run waits for the tables under way only
            raise
    found = sorted((item for part in parts for item in part), key=lambda item: (item[0].schema, item[0].table))
    return Contents(tuple(table for table, _text in found), {table.name: text for table, text in found})


def _digest(connection: Connection, schema: str, table: str, columns: t.Sequence[tuple[str, str]]) -> tuple[TableRows, str]:
    """Two sums of 64 bits. A row's hash mixes its columns by multiplying and adding only, so the sum of these alone would not see two
    rows that have exchanged a value; each is hashed once more for the second sum. Qualified by the table's alias, a column may be
    called whatever it likes.
    """
    values = sql.SQL(", ").join(sql.SQL(_HASHED[kind]).format(sql.Identifier(name)) for name, kind in columns)
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(h), 0)::text, coalesce(sum(hashint8extended(h, 0)), 0)::text"
        " FROM (SELECT hash_record_extended(ROW({}), 0) AS h FROM ONLY {} t OFFSET 0) s"  # OFFSET: hash each row once
    ).format(values, sql.Identifier(schema, table))
    number, *sums = row(connection, query)
    return TableRows(schema, table, int(number)), _digest_of(sums)


def digest_large_objects(connection: Connection) -> str:
    """All large objects as one digest, by pieces of 1 MB; empty where this session may not read them all.

    Their pages do not tell the same: a restore fills holes (https://www.postgresql.org/docs/current/catalog-pg-largeobject.html).
    """
    if value(connection, "SELECT current_setting('is_superuser')") != "on":
        return ""
    sums = row(connection, _LARGE_OBJECTS)
    return _digest_of(sums)


def _digest_of(sums: t.Iterable[str]) -> str:
    return "".join("%016x" % (int(text) % 2**64) for text in sums)


def differences(expected: t.Mapping[str, str], found: t.Mapping[str, str]) -> list[str]:
    """One sentence for each table that is in both and does not hold the same."""
    return [
        "table %s holds other values than were backed up" % name
        for name in sorted(set(expected) & set(found))
        if expected[name] != found[name]
    ]
