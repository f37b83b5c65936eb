# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a throwaway server records of the statements that somebody runs in it: event triggers, and what they have seen
(https://www.postgresql.org/docs/current/event-triggers.html)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows, sql
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import OBSERVATION_SCHEMA

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: What a record of a rewritten table calls its kind.
REWRITE = "rewrite"

#: Locks that make readers or writers wait, the weakest first (https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES).
STRONG_LOCKS = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")

#: A session keeps its locks to the end of its transaction, so each record holds all that it has by then.
_OBSERVE = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.seen (id bigserial PRIMARY KEY, query text, kind text, object text, locks text[], held jsonb);
CREATE VIEW {schema}.strong_locks AS
    SELECT l.pid, l.mode, l.relation
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.granted AND c.relkind IN ('r', 'p', 'm')
      AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, '{schema}'::regnamespace)
      AND l.mode IN ({modes});
CREATE FUNCTION {schema}.record(kind text, object text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $body$
    INSERT INTO {schema}.seen (query, kind, object, locks, held)
    SELECT current_query(), $1, $2,
        coalesce(array_agg(DISTINCT format('%s on %s', mode, relation::regclass)), '{{}}'),
        coalesce(jsonb_agg(DISTINCT jsonb_build_array(relation::bigint, mode)), '[]')
    FROM {schema}.strong_locks WHERE pid = pg_backend_pid()
$body$;
CREATE FUNCTION {schema}.on_command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    PERFORM {schema}.record(lower(c.command_tag), c.object_identity) FROM pg_event_trigger_ddl_commands() c;
END $body$;
CREATE FUNCTION {schema}.on_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    PERFORM {schema}.record('drop ' || d.object_type, d.object_identity)
    FROM pg_event_trigger_dropped_objects() d WHERE d.original AND NOT d.is_temporary;
END $body$;
CREATE FUNCTION {schema}.on_rewrite() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $body$
BEGIN
    PERFORM {schema}.record('{rewrite}', pg_event_trigger_table_rewrite_oid()::regclass::text);
END $body$;
CREATE EVENT TRIGGER dbops_command ON ddl_command_end EXECUTE FUNCTION {schema}.on_command();
CREATE EVENT TRIGGER dbops_drop ON sql_drop EXECUTE FUNCTION {schema}.on_drop();
CREATE EVENT TRIGGER dbops_rewrite ON table_rewrite EXECUTE FUNCTION {schema}.on_rewrite();
ALTER EVENT TRIGGER dbops_command ENABLE ALWAYS;
ALTER EVENT TRIGGER dbops_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER dbops_rewrite ENABLE ALWAYS;
GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
"""


@dataclass(frozen=True)
class Record:
    """``kind`` and ``object`` as PostgreSQL calls them; ``locks`` for a person; ``held``: the strongest lock on each table, by its oid."""

    kind: str
    object: str
    locks: tuple[str, ...] = ()
    held: dict[int, str] = field(default_factory=dict)


def observe(connection: Connection) -> None:
    """From now on every session of this database is recorded."""
    modes = ", ".join("'%s'" % mode for mode in STRONG_LOCKS)
    execute(connection, _OBSERVE.format(schema=OBSERVATION_SCHEMA, modes=modes, rewrite=REWRITE))


def forget(connection: Connection) -> None:
    """What was recorded until now."""
    execute(connection, sql.SQL("TRUNCATE {}.seen").format(sql.Identifier(OBSERVATION_SCHEMA)))


def seen(connection: Connection) -> dict[str, list[Record]]:
    """What was recorded, in order: ``{text that was sent: [...]}``."""
    found: dict[str, list[Record]] = {}
    query = sql.SQL("SELECT query, kind, coalesce(object, ''), locks, held FROM {}.seen ORDER BY id").format(
        sql.Identifier(OBSERVATION_SCHEMA)
    )
    for text, kind, name, locks, held in rows(connection, query):
        found.setdefault(text.strip(), []).append(Record(kind, name, tuple(locks), strongest(held)))
    return found


def strongest(held: t.Iterable[t.Sequence[t.Any]]) -> dict[int, str]:
    """Of pairs ``(oid, lock)``, the strongest lock on each."""
    found: dict[int, str] = {}
    for oid, mode in held:
        if oid not in found or STRONG_LOCKS.index(mode) > STRONG_LOCKS.index(found[oid]):
            found[oid] = mode
    return found
