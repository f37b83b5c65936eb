# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._tool_output import ToolOutput
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress

PARALLEL = """\
pg_restore: connecting to database for restore
pg_restore: creating TABLE "public.messages"
pg_restore: entering main parallel loop
pg_restore: launching item 3345 TABLE DATA messages
pg_restore: launching item 3346 TABLE DATA users
pg_restore: processing data for table "public.messages"
pg_restore: processing data for table "public.users"
pg_restore: finished item 3346 TABLE DATA users
pg_restore: launching item 3190 CONSTRAINT users users_pkey
pg_restore: creating CONSTRAINT "public.users users_pkey"
"""

ALONE = """\
pg_dump: saving encoding = UTF8
pg_dump: dumping contents of table "public.messages"
pg_dump: dumping contents of table "public.rooms"
pg_dump: dumping contents of table "public.users"
"""

DUMPED = """\
pg_dump: dumping contents of table "public.large"
pg_dump: dumping contents of table "public.rooms"
pg_dump: finished item 3344 TABLE DATA rooms
pg_dump: dumping contents of table "public.messages"
pg_dump: finished item 3346 TABLE DATA messages
pg_dump: dumping contents of table "public.users"
"""

#: What stays, as it is without --verbose.
WRONG = """\
pg_restore: error: could not execute query: ERROR:  relation "messages" does not exist
LINE 1: SELECT count(*) FROM messages
                             ^
QUERY:  SELECT count(*) FROM messages
Command was: CREATE INDEX messages_total ON public.rooms USING btree (public.total());
pg_restore: warning: errors ignored on restore: 1
pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout
pg_dump: detail: Query was: LOCK TABLE public.messages IN ACCESS SHARE MODE
pg_dump: hint: try again
ERROR:  a line of nobody's
"""


@pytest.fixture
def progress() -> Progress:
    made = Progress()
    made.expect(10)
    return made


def kept(progress: Progress, text: str) -> list[str]:
    output = ToolOutput(progress)
    return [line for line in text.splitlines() if output.keep(line)]


def standing(progress: Progress) -> tuple[int, str]:
    now = progress.standing()
    return now.tables_done, now.item


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PARALLEL, (1, "table messages")),
        (PARALLEL.partition("pg_restore: finished")[0], (1, "table messages")),
        (ALONE, (2, "table public.users")),
        (DUMPED, (2, "table public.large")),
        ("pg_dump: finished item 3346 TABLE DATA users\npg_dump: finished item 3350 INDEX users_name\n", (1, "")),
        ("pg_restore: launching item 3200 MATERIALIZED VIEW DATA report\n", (0, "materialized view data report")),
        ("pg_restore: processing item 3200 FK CONSTRAINT MESSAGES Fk\n", (0, "fk constraint messages Fk")),
    ],
    ids=["parallel", "parallel begun", "one job", "many jobs", "finished", "view", "upper case"],
)
def test_what_the_tools_say_becomes_progress_and_is_not_kept(progress: Progress, text: str, expected: tuple[t.Any, ...]) -> None:
    assert kept(progress, text) == []
    assert standing(progress) == expected


def test_what_goes_wrong_is_kept_as_it_is_without_verbose(progress: Progress) -> None:
    assert kept(progress, PARALLEL + WRONG) == WRONG.splitlines()
