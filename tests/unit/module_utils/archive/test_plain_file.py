# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dump files made by hand, with files that pg_dump really wrote: whole ones pass, cut and dangerous ones do not."""

from __future__ import annotations

import gzip
import os
import re
import stat
import time
import tracemalloc
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _dump_text
from ansible_collections.dbops.postgres.plugins.module_utils.archive._plain_file import (
    Changes,
    PlainFile,
    inspect_file,
    needs_rewriting,
    rewrite,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import recorded

WHOLE = recorded("pg_dump_17.sql")
INSERTS = recorded("pg_dump_17_inserts.sql")
#: As versions before the summer of 2025 write it.
OLDER = re.sub(r"\\(un)?restrict \w+\n\n?", "", WHOLE)
CLOSING = "-- PostgreSQL database dump complete\n"


def look(folder: Path, contents: str | bytes, name: str = "dump.sql") -> PlainFile:
    path = folder / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return inspect_file(str(path))


def passes(folder: Path, contents: str | bytes) -> bool:
    try:
        look(folder, contents)
    except DbopsError:
        return False
    return True


def test_the_recorded_files_hold_what_these_tests_are_about() -> None:
    assert "\\\\connect other\\nDROP DATABASE chat;" in WHOLE  # rows that look like commands
    assert "\n\\connect other\nDROP DATABASE chat;'" in INSERTS  # the same inside a string of several lines
    assert "\\restrict" in WHOLE and "\\restrict" not in OLDER and CLOSING in OLDER
    assert "\\connect" in recorded("pg_dump_17_create.sql")


# --- whole files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contents", [WHOLE, OLDER, INSERTS], ids=["copy", "older", "inserts"])
def test_a_whole_dump_passes_whatever_its_rows_say(tmp_path: Path, contents: str) -> None:
    found = look(tmp_path, contents)
    assert (found.kind, found.server_major, found.size) == ("sql", 17, len(contents.encode()))
    assert abs(found.modified - time.time()) < 60


def test_a_compressed_dump_passes_and_unpacks_to_a_private_file(tmp_path: Path) -> None:
    found = look(tmp_path, gzip.compress(WHOLE.encode()), "dump.sql.gz")
    assert (found.kind, found.server_major) == ("sql.gz", 17)
    rewrite(found, str(tmp_path / "plain"), Changes())
    assert (tmp_path / "plain").read_text(encoding="utf-8") == WHOLE
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        rewrite(found, str(tmp_path / "plain"), Changes())


def test_a_custom_dump_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    assert look(tmp_path, b"PGDMP\x01\x10\x00 and so on").kind == "custom"


def test_line_ends_of_windows_pass(tmp_path: Path) -> None:
    assert passes(tmp_path, WHOLE.replace("\n", "\r\n"))


def test_a_row_of_many_megabytes_passes_in_constant_memory(tmp_path: Path) -> None:
    row = "9\t9\t" + "x" * (8 * 1024 * 1024) + "\n"
    path = tmp_path / "dump.sql"
    path.write_text(WHOLE.replace("1\t1\tfirst", row + "1\t1\tfirst"), encoding="utf-8")
    tracemalloc.start()
    inspect_file(str(path))
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_pieces_of_a_long_row_are_not_taken_for_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dump_text, "LINE_BYTES", 128)
    row = ("9\t9\t" + "x" * 200)[:128] + "\\.\n"
    assert passes(tmp_path, WHOLE.replace("1\t1\tfirst", row + "\\! id\n1\t1\tfirst"))


# --- its own rows ---------------------------------------------------------------------------------------------------------


def test_a_dump_says_how_many_rows_it_has(tmp_path: Path) -> None:
    assert look(tmp_path, WHOLE).rows == {"public.messages": 5, "public.users": 3}
    assert look(tmp_path, gzip.compress(WHOLE.encode())).rows == {"public.messages": 5, "public.users": 3}
    assert look(tmp_path, INSERTS).rows == {}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("public.users", "public.users"),
        ("users", "users"),
        ('public."Users"', "public.Users"),
        ('"my app"."a ""b"" (c).d"', 'my app.a "b" (c).d'),
        ('"größe".x', "größe.x"),
    ],
)
def test_the_table_of_a_copy_is_told_without_quotes(tmp_path: Path, written: str, name: str) -> None:
    assert look(tmp_path, WHOLE.replace("COPY public.users ", "COPY %s " % written)).rows == {"public.messages": 5, name: 3}


def test_an_empty_table_has_no_rows_and_two_pieces_add_up(tmp_path: Path) -> None:
    end = "3\t\\\\.\n\\.\n"
    assert end in WHOLE
    more = end + "COPY public.empty (id) FROM stdin;\n\\.\nCOPY public.users (id, name) FROM stdin;\n4\tx\n\\.\n"
    assert look(tmp_path, WHOLE.replace(end, more)).rows == {"public.messages": 5, "public.users": 4, "public.empty": 0}


# --- cut files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contents", [WHOLE, OLDER, INSERTS], ids=["copy", "older", "inserts"])
def test_a_dump_cut_before_any_line_of_substance_is_refused(tmp_path: Path, contents: str) -> None:
    lines = contents.splitlines(keepends=True)
    closing = len(lines) - 1 - lines[::-1].index(CLOSING)
    refused = [number for number in range(len(lines)) if not passes(tmp_path, "".join(lines[:number]))]
    assert refused == list(range(closing + 1))


def test_a_dump_cut_inside_any_line_is_refused(tmp_path: Path) -> None:
    end = WHOLE.index(CLOSING)
    assert not any(passes(tmp_path, WHOLE[:position]) for position in range(0, end, 7))


def test_a_compressed_dump_cut_anywhere_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(WHOLE.encode())
    assert not any(passes(tmp_path, packed[:end]) for end in range(0, len(packed), 5))


def test_a_flipped_byte_in_a_compressed_dump_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(WHOLE.encode()))
    packed[len(packed) // 2] ^= 16
    assert not passes(tmp_path, bytes(packed))


def test_a_compressed_nothing_is_refused(tmp_path: Path) -> None:
    """What `pg_dump | gzip > file` leaves when pg_dump fails."""
    assert not passes(tmp_path, gzip.compress(b""))


def test_a_cut_dump_after_a_whole_one_is_refused(tmp_path: Path) -> None:
    """What `pg_dump >> file` leaves when the second one fails."""
    second = WHOLE[: WHOLE.index("COPY public.users")]
    assert passes(tmp_path, WHOLE + WHOLE)
    assert not passes(tmp_path, WHOLE + second)


def test_a_closing_line_among_the_rows_does_not_count(tmp_path: Path) -> None:
    cut = INSERTS.replace("first\n", "first\n" + CLOSING)
    assert passes(tmp_path, cut)
    assert not passes(tmp_path, cut[: cut.index(CLOSING) + len(CLOSING)])


def test_a_cut_file_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="is cut off: the closing line"):
        look(tmp_path, WHOLE[: WHOLE.index(CLOSING)])


# --- what is no dump of one database --------------------------------------------------------------------------------------


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="is empty: a dump into it failed"):
        look(tmp_path, b"")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.sql", tmp_path):
        with pytest.raises(DbopsError, match=r"cannot be read|is neither a file nor"):
            inspect_file(str(path))


@pytest.mark.parametrize("contents", ["SELECT 1;\n", "hello", "\n", "-- MySQL dump 10.13\n", "toc.dat\x00\x00", CLOSING])
def test_what_pg_dump_did_not_write_is_refused(tmp_path: Path, contents: str) -> None:
    with pytest.raises(DbopsError, match="not a dump"):
        look(tmp_path, contents)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_what_windows_makes_of_a_dump_is_read_as_utf_8(tmp_path: Path, encoding: str, packed: bool) -> None:
    text = WHOLE.replace("first", "früh\u2028 日本").replace("\n", "\r\n")
    contents = text.encode(encoding)
    found = look(tmp_path, gzip.compress(contents) if packed else contents)
    assert (found.encoding, found.beyond_ascii, found.rows) == (encoding, True, look(tmp_path, WHOLE).rows)
    found = look(tmp_path, gzip.compress(contents) if packed else contents)
    assert needs_rewriting(found, Changes())
    assert rewrite(found, str(tmp_path / "plain"), Changes()) == []
    expected = text.replace("SET client_encoding = 'UTF8';\r\n", "SET client_encoding = 'UTF8';\n")
    assert (tmp_path / "plain").read_bytes().decode() == expected


def test_a_mark_of_both_byte_orders_is_known(tmp_path: Path) -> None:
    assert look(tmp_path, "\ufeff".encode("utf-16-be") + WHOLE.encode("utf-16-be")).encoding == "utf-16"


def test_a_wide_dump_of_another_encoding_is_loaded_as_utf_8(tmp_path: Path) -> None:
    found = look(tmp_path, WHOLE.replace("client_encoding = 'UTF8'", "client_encoding = 'LATIN1'").encode("utf-16"))
    rewrite(found, str(tmp_path / "plain"), Changes())
    assert "client_encoding = 'UTF8'" in (tmp_path / "plain").read_text()


def test_a_wide_dump_that_was_cut_in_a_letter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="cut off"):
        look(tmp_path, WHOLE.encode("utf-16")[:-1])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_mark_before_utf_8_does_no_harm(tmp_path: Path, newline: str) -> None:
    found = look(tmp_path, "\ufeff" + WHOLE.replace("\n", newline))
    assert (found.encoding, found.rows) == ("", look(tmp_path, WHOLE).rows)
    assert "transaction_timeout" in found.settings


def test_bytes_that_are_not_utf_8_are_refused_where_the_file_says_that_it_is(tmp_path: Path) -> None:
    latin = WHOLE.replace("first", "früh").encode("latin-1")
    line = WHOLE[: WHOLE.index("first")].count("\n") + 1
    with pytest.raises(DbopsError, match=rf"says that its text is UTF-8, but it is not: near line {line} is the byte 0xfc.*iconv"):
        look(tmp_path, latin)
    assert passes(tmp_path, latin.replace(b"'UTF8'", b"'LATIN1'"))
    assert look(tmp_path, WHOLE.replace("first", "früh")).beyond_ascii


# --- what is not for this server ------------------------------------------------------------------------------------------


def rewritten(folder: Path, contents: str, **changes: t.Any) -> str:
    (folder / "plain").unlink(missing_ok=True)
    rewrite(look(folder, contents), str(folder / "plain"), Changes(**changes))
    return (folder / "plain").read_text(encoding="utf-8")


def test_only_settings_of_the_preamble_are_passed_over(tmp_path: Path) -> None:
    line = "SET transaction_timeout = 0;\n"
    body = "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS $$\n%s$$;\n%s" % (line, line)
    contents = WHOLE.replace("\n" + CLOSING, "\n" + body + CLOSING).replace("1\t1\tfirst", line + "1\t1\tfirst")
    found = look(tmp_path, contents)
    assert found.settings == (
        *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout", "client_encoding"),
        *("standard_conforming_strings", "check_function_bodies", "xmloption", "client_min_messages", "row_security"),
    )
    assert rewritten(tmp_path, contents, settings=frozenset({"transaction_timeout"})) == contents.replace(line, "", 1)


def test_the_pair_around_a_dump_goes_where_psql_does_not_know_it(tmp_path: Path) -> None:
    assert look(tmp_path, WHOLE).restricted and not look(tmp_path, OLDER).restricted
    left = rewritten(tmp_path, WHOLE, restrict=True)
    assert left == re.sub(r"\\(un)?restrict \w+\n", "", WHOLE)


def test_roles_are_those_of_statements_and_not_of_rows_and_strings(tmp_path: Path) -> None:
    row = "GRANT SELECT ON TABLE public.t TO in_a_row;\n"
    body = "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS $$\n%s$$;\n" % row.replace("in_a_row", "in_a_body")
    grants = 'GRANT SELECT ON TABLE public.t TO "READWRITE_test";\nALTER TABLE public."a\nb" OWNER TO reader;\n'
    contents = WHOLE.replace("\n" + CLOSING, "\n" + body + grants + CLOSING).replace("1\t1\tfirst", row + "1\t1\tfirst")
    before = look(tmp_path, WHOLE).roles
    assert look(tmp_path, contents).roles == {**before, "READWRITE_test": 1, "reader": before.get("reader", 0) + 1}
    assert rewritten(tmp_path, contents, roles=frozenset({"READWRITE_test"})) == contents.replace(grants.partition("\n")[0] + "\n", "")
    assert rewrite(look(tmp_path, contents), str(tmp_path / "other"), Changes(roles=frozenset({"READWRITE_test"}))) == [
        'GRANT SELECT ON TABLE public.t TO "READWRITE_test";'
    ]


def test_a_dump_without_changes_is_written_byte_by_byte(tmp_path: Path) -> None:
    for contents in (WHOLE, INSERTS, OLDER, WHOLE.replace("\n", "\r\n")):
        rewritten(tmp_path, contents)
        assert (tmp_path / "plain").read_bytes() == contents.encode()


def test_a_dump_of_a_whole_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="pg_dumpall"):
        look(tmp_path, recorded("pg_dumpall_17.sql"))


# --- what reaches beyond the new database ---------------------------------------------------------------------------------


def test_a_dump_with_create_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match=r"CREATE DATABASE.*make the dump without --create"):
        look(tmp_path, recorded("pg_dump_17_create.sql"))


@pytest.mark.parametrize(
    "line",
    [
        "\\connect chat",
        "\\c chat",
        "\\! id",
        "  \\connect chat",
        "\t\\! id",
        "SELECT 1; \\! id",
        "SELECT 1 \\g |id",
        "SELECT 'a' \\! id",
        "SELECT 'it''s' \\! id",
        "SELECT E'it\\'s' \\! id",
        'SELECT "a" \\! id',
        "SELECT $$a$$ \\! id",
        "SELECT $a$ $$ ' $a$ \\! id",
        "/* a */ \\! id",
        "/* a ' */ \\! id",
        "/* /* */ ' */ \\! id",
        "SELECT 1 -- it's\n\\! id",
        "\\copy users to '/tmp/x'",
        "\\i other.sql",
        "\\o |cat",
        "\\restrict abc def",
        "\\unrestrict abc; \\! id",
        "\\.",
    ],
)
def test_a_psql_command_is_found_wherever_psql_would_see_it(tmp_path: Path, line: str) -> None:
    with pytest.raises(DbopsError, match="psql command"):
        look(tmp_path, WHOLE.replace("SET lock_timeout = 0;\n", "SET lock_timeout = 0;\n%s\n" % line))


@pytest.mark.parametrize(
    "line",
    [
        "SELECT '\\! id';",
        "SELECT E'\\\\! id';",
        'SELECT 1 AS "\\! id";',
        "SELECT $$\n\\! id\n$$;",
        "-- \\! id",
        "/* \\! id\n\\connect x */",
        "SELECT 'a\n\\connect x\n';",
    ],
)
def test_a_backslash_inside_of_something_is_no_command(tmp_path: Path, line: str) -> None:
    assert passes(tmp_path, WHOLE.replace("SET lock_timeout = 0;\n", "SET lock_timeout = 0;\n%s\n" % line))


@pytest.mark.parametrize(
    "line",
    [
        "DROP DATABASE chat;",
        "  drop  database chat;",
        "CREATE DATABASE chat;",
        "ALTER DATABASE chat RENAME TO x;",
        "ALTER DATABASE chat SET dbops.environment TO 'preview';",
        "ALTER DATABASE chat OWNER TO x; SET a = 1;",
        "DROP DATABASE chat; -- SET",
    ],
)
def test_statements_about_whole_databases_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DbopsError, match="reaches beyond the new database"):
        look(tmp_path, WHOLE.replace("SET lock_timeout = 0;\n", "SET lock_timeout = 0;\n%s\n" % line))


def test_a_command_after_the_rows_is_found(tmp_path: Path) -> None:
    assert not passes(tmp_path, WHOLE.replace("5\t1\t\\N\n\\.\n", "5\t1\t\\N\n\\.\n\\connect chat\n"))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DbopsError, match="is neither a file nor the folder of a backup"):
        inspect_file(str(tmp_path / "pipe"))
