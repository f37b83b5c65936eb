# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At what each sequence stands: a restored one that stands too low gives out numbers that rows have already."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import ask, execute, rows

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Each sequence that this session may read. Those of extensions are theirs.
_SEQUENCES = """
SELECT c.oid::bigint
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
WHERE c.relpersistence <> 't' AND has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""

#: The last value of some of them: none, where one has given out nothing yet.
_LAST_VALUES = """
SELECT n.nspname || '.' || c.relname, pg_sequence_last_value(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::bigint[]::oid[])
"""

#: How many are asked for at once: each is locked until the statement ends, and all sessions of a server share the room for locks.
_AT_ONCE = 200

#: A sequence that somebody is changing is not waited for; who waits for it would let everybody wait who takes the next number.
_LOCK_TIMEOUT = "SET lock_timeout = '2s'"


def read_sequences(connection: Connection) -> dict[str, int | None] | None:
    """``{schema.sequence: last value}``, as they stand now: a sequence knows no snapshot
    (https://www.postgresql.org/docs/current/functions-sequence.html). None where the server does not give them.

    :param connection: a session outside any transaction, since each is locked until the end of it.
    """
    numbers = [number for (number,) in rows(connection, _SEQUENCES)]
    found: dict[str, int | None] = {}
    execute(connection, _LOCK_TIMEOUT)
    for first in range(0, len(numbers), _AT_ONCE):
        values, refused = ask(connection, _LAST_VALUES, (numbers[first : first + _AT_ONCE],))
        if refused:
            break
        found.update(values)
    execute(connection, "RESET lock_timeout")
    return found if len(found) == len(numbers) else None


def unmoved(before: t.Mapping[str, int | None] | None, after: t.Mapping[str, int | None] | None) -> dict[str, int | None]:
    """Those that nobody has used in between: of the others it is not known which value a dump has met."""
    return {name: number for name, number in (before or {}).items() if name in (after or {}) and (after or {})[name] == number}


def differences(expected: t.Mapping[str, int | None], found: t.Mapping[str, int | None] | None) -> list[str]:
    """One sentence for each sequence that does not stand where it was."""
    if found is None:
        return []
    return [
        "sequence %s stands at %s instead of %s" % (name, _place(found[name]), _place(number))
        if name in found
        else "sequence %s is missing" % name
        for name, number in sorted(expected.items())
        if name not in found or found[name] != number
    ]


def _place(number: int | None) -> str:
    return "its start" if number is None else str(number)
