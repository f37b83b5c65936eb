#!/usr/bin/python
# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recollation
short_description: Rebuild what sorts text after a change of the image's C library or ICU
version_added: 0.1.0
description:
  - An index that was built when text sorted otherwise does not find what is in it, and lets a second row of the same key in. PostgreSQL only warns of it.
  - Looks into every database of the server, C(template1) and C(postgres) too. What sorts by a collation whose version has changed is found. That is keys,
    expressions and conditions of indexes, ranges of partitioned tables, and checks that compare.
  - Rows that the new order does not allow are looked for before anything is rebuilt, without the indexes that are doubted. They are duplicates of unique
    keys, rows in the wrong part of a table, and rows that do not pass a check any more.
  - Then the indexes are rebuilt, concurrently but for those of exclusion constraints, tables are analyzed, and the new versions are noted.
extends_documentation_fragment:
  - dbops.postgres.target
  - dbops.postgres.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  everything:
    description:
      - Rebuild all that sorts text, whatever is known of versions. PostgreSQL 14 notes none of a database's own collation, and a replica or a restored
        data folder may have brought a wrong one along.
    type: bool
    default: false
  wrong:
    description:
      - What happens where rows are found that the new order does not allow. V(stop) touches nothing and names them, V(skip) rebuilds the rest, and leaves the
        version the old one where they are.
    type: str
    choices: [stop, skip]
    default: stop
"""

EXAMPLES = r"""
- name: Show what a change of the image has left to be rebuilt
  dbops.postgres.recollation:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
  check_mode: true
  diff: true

- name: Rebuild it
  dbops.postgres.recollation:
    container: chat-postgres-prod
    database: chat
    backup_dir: /opt/backups/chat-production
"""

RETURN = r"""
databases:
  description:
    - Each database of the server. C(recorded) and C(actual) are versions of its own collation, C(collations) further ones that have changed, C(indexes) what is
      rebuilt, with bytes as C(size), C(wrong) rows that are in the way, C(unknown) why it was not looked into.
  returned: success
  type: list
  elements: dict
  sample:
    - database: chat
      recorded: "2.31"
      actual: "2.36"
      collations: [pg_catalog."en_US"]
      indexes:
        - {name: public.users_name_key, table: public.users, unique: true, size: 16384, concurrently: true}
      wrong:
        - kind: duplicates
          table: public.users
          name: public.users_name_key
          number: 1
          statement: SELECT ctid, * FROM public.users WHERE ctid IN ('(0,1)', '(0,9)')
      unknown: ""
summary:
  description: What was done, in a few lines for a person.
  returned: success
  type: list
  elements: str
operation:
  description: Facts of this run; where it may change something, they are also in the journal.
  returned: always
  type: dict
  sample:
    run_id: 20261123T030000_3f9a2c
    operation: recollate
    host: chat-production
    database: chat
    environment: production
    container: chat-postgres-prod
    server_id: "7300000000000000001"
    server_version: "17.5"
    started: "2026-11-23T03:00:00Z"
    duration_seconds: 4.2
    phases: {}
"""

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils._module import DbopsModule
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operations._recollation import SKIP, STOP, RecollationOptions, recollate

ARGUMENT_SPEC = {
    "everything": {"type": "bool", "default": False},
    "wrong": {"type": "str", "choices": [STOP, SKIP], "default": STOP},
}


def recollation(operation: Operation, params: dict[str, t.Any]) -> Result:
    return recollate(operation, RecollationOptions(**{name: params[name] for name in ARGUMENT_SPEC}))


def main() -> None:
    module = DbopsModule(operation="recollate", risk=Risk.FORWARD, argument_spec=ARGUMENT_SPEC)
    module.run(recollation)


if __name__ == "__main__":
    main()
