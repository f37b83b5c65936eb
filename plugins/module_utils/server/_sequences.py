# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At what each sequence stands: a restored one that stands too low gives out numbers that rows have already."""

from __future__ import annotations

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import ask, execute

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

#: Last value of each sequence that this session may read: none, where it has given out nothing yet. Those of extensions are theirs.
_LAST_VALUES = """
SELECT n.nspname || '.' || c.relname, pg_sequence_last_value(c.oid)
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't' AND has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""


#: A sequence that somebody is changing is not waited for; who waits for it would let everybody wait who takes the next number.
_LOCK_TIMEOUT = "SET lock_timeout = '2s'"


def read_sequences(connection: Connection) -> dict[str, int | None] | None:
    """``{schema.sequence: last value}``, as they stand now: a sequence knows no snapshot
    (https://www.postgresql.org/docs/current/functions-sequence.html). None where the server does not give them.

    :param connection: a session outside any transaction, since each is locked until the end of it.
    """
    execute(connection, _LOCK_TIMEOUT)
    found, refused = ask(connection, _LAST_VALUES)
    execute(connection, "RESET lock_timeout")
    return None if refused else dict(found)


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
