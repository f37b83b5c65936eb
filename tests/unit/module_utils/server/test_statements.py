# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a server's log: what was executed and kept, split into statements, and what kind each of them is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import (
    LOG_LINE_PREFIX,
    LOG_OPTIONS,
    changes_data,
    changes_schema,
    read_failures,
    read_log,
    split_statements,
    without_literals,
    written_tables,
)
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import recorded


def kept(*lines: str, pid: int = 7) -> list[str]:
    """The texts that count, from log lines written as ``LEVEL:  message``; a line may name another session: ``8|LOG:  ...``."""
    text = "\n".join("dbops|%s" % line if re.match(r"\d+\|", line) else "dbops|%d|%s" % (pid, line) for line in lines)
    return [executed.sql for executed in read_log(text + "\n")]


def statements(*texts: str) -> list[str]:
    return ["LOG:  statement: " + text for text in texts]


# --- a recorded log -------------------------------------------------------------------------------------------------------

#: What the two recorded sessions (of a driver with the extended protocol, and of one with the simple one) really left behind.
SURVIVED = [
    "SELECT 'mark extended autocommit'",
    "CREATE TABLE a (id int, t text)",
    "INSERT INTO a VALUES ($1, $2)",
    "CREATE TABLE b (\n\tid int,\n\n  t text -- comment\n)",
    "BEGIN",
    "CREATE TABLE f ()",
    'SAVEPOINT "_pg3_2"',
    'ROLLBACK TO "_pg3_2"',
    'RELEASE "_pg3_2"',
    "CREATE TABLE h ()",
    "COMMIT",
    "DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'careful\nsecond line'; INSERT INTO a VALUES (9, 'do'); END $$",
    "UPDATE a SET t = $1 WHERE id = $2",
    "UPDATE a SET t = $1 WHERE id = $2",
    "BEGIN",
    "INSERT INTO a VALUES (3,'x')",
    "COMMIT",
    "COMMENT ON TABLE a IS 'x'",
]
CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@pytest.mark.parametrize("name", ["postgresql_14.log", "postgresql_17.log"])
def test_a_recorded_log_gives_what_was_executed_and_kept(name: str) -> None:
    found = [executed.sql for executed in read_log(recorded(name))]
    assert [text for text in found if not text.startswith(CONTROL)] == [text for text in SURVIVED if not text.startswith(CONTROL)]


def test_the_sessions_of_a_log_are_told_apart() -> None:
    assert {executed.session for executed in read_log(recorded("postgresql_17.log"))} == {48, 49}


def test_the_server_is_asked_for_a_log_that_this_file_can_read() -> None:
    assert "log_line_prefix=" + LOG_LINE_PREFIX in LOG_OPTIONS
    assert "log_statement=all" in LOG_OPTIONS
    assert "lc_messages=C" in LOG_OPTIONS  # the words LOG, ERROR and so on are English


# --- entries --------------------------------------------------------------------------------------------------------------


def test_lines_after_the_first_begin_with_a_tab_that_is_not_part_of_the_statement() -> None:
    assert kept("LOG:  statement: CREATE TABLE t (\n\t\tid int,\n\t\n\t  x text\n\t)") == ["CREATE TABLE t (\n\tid int,\n\n  x text\n)"]


def test_what_others_write_into_the_log_is_passed_over() -> None:
    text = "initdb: ok\ndbops|1|LOG:  database system is ready\n\ndbops|7|LOG:  statement: SELECT 1\nnot ours\n\tnor this\n"
    assert [executed.sql for executed in read_log(text)] == ["SELECT 1"]


def test_an_empty_log_gives_nothing() -> None:
    assert read_log("") == []


@pytest.mark.parametrize("how", ["execute <unnamed>", "execute s1", "execute stmt_1/portal_2", "execute fetch from p1"])
def test_the_extended_protocol_counts_too(how: str) -> None:
    assert kept("LOG:  " + how + ": TABLE t", "DETAIL:  Parameters: $1 = 'a: b'") == ["TABLE t"]


def test_warnings_notices_and_durations_change_nothing() -> None:
    lines = [*statements("CREATE TABLE t ()"), "WARNING:  careful", "CONTEXT:  somewhere", "HINT:  no", "LOG:  duration: 3 ms"]
    assert kept(*lines) == ["CREATE TABLE t ()"]


# --- failures and transactions --------------------------------------------------------------------------------------------


def test_a_statement_that_failed_does_not_count() -> None:
    assert kept(*statements("CREATE TABLE a ()"), "ERROR:  no", "STATEMENT:  CREATE TABLE a ()", *statements("CREATE TABLE b ()")) == [
        "CREATE TABLE b ()"
    ]


def test_a_text_of_several_statements_that_failed_does_not_count_at_all() -> None:
    text = "CREATE TABLE a (); SELECT 1/0; CREATE TABLE b ()"
    assert kept(*statements(text), "ERROR:  division by zero", "STATEMENT:  " + text) == []


@pytest.mark.parametrize("before", ["LOG:  statement: INSERT INTO a VALUES (1)", "LOG:  execute <unnamed>: INSERT INTO a VALUES (1)"])
def test_what_fails_while_it_is_parsed_is_not_charged_to_the_statement_before(before: str) -> None:
    assert kept(before, 'ERROR:  relation "missing" does not exist at character 15', "STATEMENT:  SELECT * FROM missing") == [
        "INSERT INTO a VALUES (1)"
    ]


def test_what_fails_while_it_is_parsed_still_fails_the_transaction() -> None:
    lines = [
        *statements("BEGIN", "INSERT INTO a VALUES (1)"),
        "ERROR:  syntax error",
        "STATEMENT:  INSRT",
        *statements("COMMIT", "SELECT 2"),
    ]
    assert "INSERT INTO a VALUES (1)" not in kept(*lines)


@pytest.mark.parametrize("end", ["COMMIT", "commit;", "END", "END TRANSACTION", "COMMIT WORK", "COMMIT TRANSACTION"])
@pytest.mark.parametrize(
    "start", ["BEGIN", "begin ;", "START TRANSACTION", "BEGIN ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION READ WRITE"]
)
def test_a_committed_transaction_counts(start: str, end: str) -> None:
    assert "CREATE TABLE a ()" in kept(*statements(start, "CREATE TABLE a ()", end))


@pytest.mark.parametrize("end", ["ROLLBACK", "rollback;", "ABORT", "ROLLBACK WORK"])
def test_a_transaction_that_was_rolled_back_does_not_count(end: str) -> None:
    found = kept(*statements("BEGIN", "CREATE TABLE a ()", end, "CREATE TABLE b ()"))
    assert "CREATE TABLE a ()" not in found
    assert "CREATE TABLE b ()" in found


def test_a_commit_after_an_error_is_a_rollback() -> None:
    lines = [
        *statements("BEGIN", "CREATE TABLE a ()", "SELECT 1/0"),
        "ERROR:  division by zero",
        "STATEMENT:  SELECT 1/0",
        *statements("COMMIT"),
    ]
    assert "CREATE TABLE a ()" not in kept(*lines)


def test_a_session_that_ends_without_a_commit_leaves_nothing() -> None:
    assert kept(*statements("BEGIN", "CREATE TABLE a ()")) == []


def test_a_savepoint_takes_out_only_what_came_after_it() -> None:
    found = kept(
        *statements(
            "BEGIN",
            "INSERT INTO a VALUES (1)",
            "SAVEPOINT s",
            "INSERT INTO a VALUES (2)",
            "ROLLBACK TO s",
            "INSERT INTO a VALUES (3)",
            "COMMIT",
        )
    )
    assert [text for text in found if text.startswith("INSERT")] == ["INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (3)"]


@pytest.mark.parametrize("back", ["ROLLBACK TO s", "ROLLBACK TO SAVEPOINT s", "rollback work to savepoint S;", "ROLLBACK TRANSACTION TO s"])
def test_an_error_behind_a_savepoint_is_undone_by_going_back_to_it(back: str) -> None:
    lines = [
        *statements("BEGIN", "CREATE TABLE a ()", "SAVEPOINT s", "SELECT 1/0"),
        "ERROR:  division by zero",
        *statements(back, "CREATE TABLE b ()", "COMMIT"),
    ]
    assert {"CREATE TABLE a ()", "CREATE TABLE b ()"} <= set(kept(*lines))


def test_nested_savepoints_of_one_name_are_told_apart() -> None:
    found = kept(*statements("BEGIN", "SAVEPOINT s", "SELECT 1", "SAVEPOINT s", "SELECT 2", "ROLLBACK TO s", "SELECT 3", "COMMIT"))
    assert {"SELECT 1", "SELECT 3"} <= set(found) and "SELECT 2" not in found


def test_a_released_savepoint_is_gone() -> None:
    found = kept(
        *statements("BEGIN", "SAVEPOINT s", "SELECT 1", "SAVEPOINT s", "SELECT 2", "RELEASE SAVEPOINT s", "ROLLBACK TO s", "COMMIT")
    )
    assert "SELECT 1" not in found and "SELECT 2" not in found


def test_a_whole_transaction_in_one_text_counts() -> None:
    assert kept(*statements("BEGIN; CREATE TABLE a (); COMMIT")) == ["BEGIN; CREATE TABLE a (); COMMIT"]


def test_the_body_of_an_sql_function_does_not_end_the_transaction() -> None:
    body = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END"
    assert not {body, "CREATE TABLE a ()"} & set(kept(*statements("BEGIN", body, "CREATE TABLE a ()", "ROLLBACK")))


def test_sessions_do_not_disturb_each_other() -> None:
    lines = [
        "7|LOG:  statement: BEGIN",
        "8|LOG:  statement: CREATE TABLE b ()",
        "7|LOG:  statement: CREATE TABLE a ()",
        "8|ERROR:  no",
        "8|STATEMENT:  CREATE TABLE b ()",
        "9|LOG:  statement: CREATE TABLE c ()",
        "7|LOG:  statement: COMMIT",
        "8|LOG:  statement: BEGIN",
        "8|LOG:  statement: CREATE TABLE d ()",
        "9|FATAL:  terminating connection",
    ]
    found = kept(*lines)
    assert "CREATE TABLE a ()" in found
    assert not {"CREATE TABLE b ()", "CREATE TABLE d ()"} & set(found)


def test_what_counts_is_in_the_order_in_which_it_was_executed() -> None:
    lines = [
        "7|LOG:  statement: BEGIN",
        "7|LOG:  statement: SELECT 1",
        "8|LOG:  statement: SELECT 2",
        "7|LOG:  statement: SELECT 3",
        "7|LOG:  statement: COMMIT",
    ]
    assert [text for text in kept(*lines) if text.startswith("SELECT")] == ["SELECT 1", "SELECT 2", "SELECT 3"]


# --- splitting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" ;; \n; ", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; fine'; SELECT 2", ["SELECT 'it''s; fine'", "SELECT 2"]),
        (r"SELECT 'back\'; SELECT 2", [r"SELECT 'back\'", "SELECT 2"]),
        (r"SELECT E'it\'s; fine'; SELECT 2", [r"SELECT E'it\'s; fine'", "SELECT 2"]),
        (r"SELECT e'\\'; SELECT 2", [r"SELECT e'\\'", "SELECT 2"]),
        ('SELECT "a;b"; SELECT 2', ['SELECT "a;b"', "SELECT 2"]),
        ('SELECT "a"";b"; SELECT 2', ['SELECT "a"";b"', "SELECT 2"]),
        ("DO $$ BEGIN; END $$; SELECT 2", ["DO $$ BEGIN; END $$", "SELECT 2"]),
        ("DO $a$ x; $b$ ; $$ ; $a$; SELECT 2", ["DO $a$ x; $b$ ; $$ ; $a$", "SELECT 2"]),
        ("DO $é$ ; $é$; SELECT 2", ["DO $é$ ; $é$", "SELECT 2"]),
        ("SELECT $1; SELECT $2", ["SELECT $1", "SELECT $2"]),
        ("SELECT a$b$c; SELECT d$b$e", ["SELECT a$b$c", "SELECT d$b$e"]),
        ("SELECT 1 -- a; b\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1 -- it's\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1 /* a; ' b */; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT /* a /* ; */ ; */ 1; SELECT 2", ["SELECT   1", "SELECT 2"]),
        ("SELECT '/* ; */'; SELECT 2", ["SELECT '/* ; */'", "SELECT 2"]),
        ("SELECT '--;'; SELECT 2", ["SELECT '--;'", "SELECT 2"]),
        ("/* only */ -- comments", []),
        ("SELECT 'open; end", ["SELECT 'open; end"]),
        ("SELECT $$open; end", ["SELECT $$open; end"]),
        ("SELECT /* open; end", ["SELECT"]),
    ],
)
def test_only_a_semicolon_outside_of_everything_splits(text: str, parts: list) -> None:
    assert split_statements(text) == parts


def test_the_body_of_an_sql_function_stays_together() -> None:
    text = "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END; SELECT 3"
    assert len(split_statements(text)) == 2


pieces = st.sampled_from(["'", "''", '"', "$$", "$a$", "--", "/*", "*/", ";", "\n", "E'", "\\", "x", " ", "1", "é"])


@given(st.lists(pieces, max_size=25).map("".join))
def test_splitting_never_fails_and_never_leaves_an_empty_statement(text: str) -> None:
    assert all(part and part == part.strip() for part in split_statements(text))


quoted = st.one_of(
    st.text(st.characters(blacklist_characters="'\\", blacklist_categories=("Cs",))).map(lambda text: "'%s'" % text),
    st.text(st.characters(blacklist_characters='"\\', blacklist_categories=("Cs",)), min_size=1).map(lambda text: '"%s"' % text),
    st.text(st.characters(blacklist_characters="$\\", blacklist_categories=("Cs",))).map(lambda text: "$q$%s$q$" % text),
)


@given(st.lists(quoted, min_size=1, max_size=5))
def test_whatever_is_quoted_a_join_is_split_into_its_parts(words: list) -> None:
    wanted = ["SELECT " + word for word in words]
    assert split_statements("; ".join(wanted)) == wanted


# --- kinds ----------------------------------------------------------------------------------------------------------------

DATA = [
    "INSERT INTO t VALUES (1)",
    "insert\ninto t select 1",
    "UPDATE t SET a = 1",
    "DELETE FROM t",
    "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
    "TRUNCATE t",
    "TRUNCATE TABLE ONLY t",
    "COPY t FROM STDIN",
    "COPY t (a, b)\nFROM '/x' WITH (FORMAT csv)",
    "SELECT setval('s', 5)",
    "SELECT pg_catalog.setval('s', 5, true)",
    "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM t RETURNING *) SELECT count(*) FROM x",
    "WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE t AS y SET a = 1 RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE t y SET a = 1 RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE ONLY t SET a = 1 RETURNING *) SELECT * FROM x",
    'WITH x AS (UPDATE "my table" SET a = 1 RETURNING *) SELECT * FROM x',
    "WITH x AS (UPDATE s.t SET a = 1 RETURNING *) SELECT * FROM x",
    "DO $$ BEGIN UPDATE t SET a = 1; END $$",
    "DO $$ BEGIN INSERT INTO t VALUES (1); END $$",
]
NOT_DATA = [
    "SELECT 1",
    "SELECT * FROM t FOR UPDATE",
    "SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT 'INSERT INTO t'",
    "SELECT 'it''s' || 'DELETE FROM t'",
    "SELECT updated, set_at FROM t",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "CREATE TABLE t ()",
    "SET search_path = x",
    "BEGIN",
    "COPY t TO STDOUT",
    "COPY (SELECT * FROM t) TO STDOUT",
]
SCHEMA = [
    "CREATE TABLE t ()",
    "create unique index concurrently i on t (a)",
    "ALTER TABLE t ADD a int",
    "DROP TABLE t",
    "COMMENT ON TABLE t IS 'x'",
    "GRANT SELECT ON t TO r",
    "REVOKE ALL ON t FROM r",
    "REINDEX TABLE t",
    "VACUUM FULL t",
    "CLUSTER t",
    "REFRESH MATERIALIZED VIEW m",
    "LOCK TABLE t",
    "CREATE UNLOGGED TABLE t ()",
    "DO $$ BEGIN END $$",
]
NOT_SCHEMA = [
    "SELECT 1",
    "INSERT INTO t VALUES (1)",
    "CREATE TEMP TABLE t ()",
    "CREATE  LOCAL\nTEMPORARY TABLE t ()",
    "CREATETABLE",
    "SET x = 1",
    "DROPPED",
]


@pytest.mark.parametrize("statement", DATA)
def test_what_writes_rows_is_seen(statement: str) -> None:
    assert changes_data(statement)


@pytest.mark.parametrize("statement", NOT_DATA)
def test_what_only_reads_or_defines_does_not_count_as_data(statement: str) -> None:
    assert not changes_data(statement)


@pytest.mark.parametrize("statement", SCHEMA)
def test_what_defines_or_rebuilds_objects_is_seen(statement: str) -> None:
    assert changes_schema(statement)


@pytest.mark.parametrize("statement", NOT_SCHEMA)
def test_what_defines_nothing_lasting_does_not_count_as_schema(statement: str) -> None:
    assert not changes_schema(statement)


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("INSERT INTO schema_migrations VALUES (1)", {"schema_migrations"}),
        ("INSERT INTO Schema_Migrations VALUES (1)", {"schema_migrations"}),
        ('INSERT INTO "Flyway History" VALUES (1)', {"Flyway History"}),
        ('INSERT INTO "odd""name" VALUES (1)', {'odd"name'}),
        ('INSERT INTO "public"."goose_db_version" VALUES (1)', {"goose_db_version"}),
        ("insert into public.goose_db_version(id) values (1)", {"goose_db_version"}),
        ("UPDATE ONLY alembic_version SET version_num='1'", {"alembic_version"}),
        ("UPDATE alembic_version SET version_num='1'", {"alembic_version"}),
        ("DELETE FROM ONLY a.b WHERE x", {"b"}),
        ("DELETE FROM only_one", {"only_one"}),
        ("TRUNCATE TABLE ONLY t", {"t"}),
        ("TRUNCATE t", {"t"}),
        ("TRUNCATE schema_migrations, public.users", {"schema_migrations", "users"}),
        ('TRUNCATE TABLE a, ONLY "B c" CASCADE', {"a", "B c"}),
        ("COPY public.t (a) FROM stdin", {"t"}),
        ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", {"t"}),
        ("WITH x AS (SELECT 'INSERT INTO wrong') INSERT INTO right_one SELECT * FROM x", {"right_one"}),
        ("WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x", {"a", "b"}),
        ("SELECT setval('s', 1)", set()),
        ("SELECT 1", set()),
    ],
)
def test_the_written_tables_are_told_without_schema_and_quotes(statement: str, tables: set) -> None:
    assert written_tables(statement) == tables


# --- what the server refused ----------------------------------------------------------------------------------------------


def log_of(*entries: str, pid: int = 7) -> str:
    """What was executed, and for how long, are LOG entries; the rest says its level itself."""
    return "".join(
        "dbops|%d|%s\n" % (pid, "LOG:  " + entry if entry.startswith(("statement: ", "duration: ", "execute ")) else entry)
        for entry in entries
    )


def refused(sql: str, error: str = 'relation "no_such_table" does not exist') -> tuple[str, str, str]:
    return "statement: " + sql, "ERROR:  " + error, "STATEMENT:  " + sql


ADD = "ALTER TABLE customers ADD COLUMN a int"
NO_TABLE = "ALTER TABLE no_such_table ADD COLUMN x int"


@pytest.mark.parametrize(
    ("entries", "lost"),
    [
        (("statement: BEGIN", "statement: " + ADD, *refused(NO_TABLE), "statement: ROLLBACK"), [NO_TABLE]),
        (("statement: BEGIN", "statement: " + ADD, *refused("SELECT 1 FROM gone"), "statement: COMMIT"), ["SELECT 1 FROM gone"]),
        (("statement: BEGIN", "statement: " + ADD, *refused(NO_TABLE)), [NO_TABLE]),
        (refused(NO_TABLE), [NO_TABLE]),
        (refused("UPDATE users SET x = 1"), ["UPDATE users SET x = 1"]),
        (refused("SELECT version FROM schema_version"), []),
        (("statement: BEGIN", *refused("SELECT version FROM schema_version"), "statement: ROLLBACK"), []),
        (refused("CREATE TABLE schema_version (v int)", 'relation "schema_version" already exists'), []),
        (("statement: BEGIN", "statement: SAVEPOINT s", *refused(NO_TABLE), "statement: ROLLBACK TO SAVEPOINT s", "statement: COMMIT"), []),
        (
            ("statement: BEGIN", "statement: " + ADD, *refused("CREATE TABLE t ()", 'relation "t" already exists'), "statement: ROLLBACK"),
            ["CREATE TABLE t ()"],
        ),
        (('FATAL:  role "app" does not exist',), [""]),
        (("FATAL:  terminating connection due to administrator command",), []),
    ],
    ids=[
        "in one transaction",
        "a question that ends a transaction with work in it",
        "a connection closed in the middle",
        "by itself",
        "rows",
        "a question",
        "a question in a transaction of its own",
        "there already",
        "back to a savepoint",
        "there already, but the transaction is lost",
        "nobody let in",
        "ended by us",
    ],
)
def test_what_was_lost_by_an_error_is_told_from_what_was_only_tried(entries: tuple[str, ...], lost: list[str]) -> None:
    failures = read_failures(log_of(*entries))
    assert [failed.sql for failed in failures if not failed.caught] == lost
    if len(entries) > 1:
        assert len(failures) == 1


def test_another_sessions_error_is_its_own() -> None:
    text = log_of("statement: BEGIN", "statement: " + ADD) + log_of(*refused("SELECT 1 FROM gone"), pid=8) + log_of("statement: COMMIT")
    [failed] = read_failures(text)
    assert failed.caught
    assert [executed.sql for executed in read_log(text)] == ["BEGIN", ADD, "COMMIT"]


def test_the_server_says_how_long_it_worked_on_each() -> None:
    """Each step of the extended protocol has a line of its own; the next one's parsing counts with it, which is little."""
    found = read_log(
        log_of(
            *("duration: 0.100 ms", "statement: BEGIN", "duration: 0.050 ms", "execute <unnamed>: " + ADD, "duration: 1500.250 ms"),
            *("duration: 0.750 ms", "statement: COMMIT", "duration: 2.000 ms"),
        )
    )
    assert [executed.seconds for executed in found] == [pytest.approx(0.00005), pytest.approx(1.501), pytest.approx(0.002)]
    assert [executed.seconds for executed in read_log(log_of("statement: " + ADD))] == [None]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT * FROM users WHERE name = 'ann' AND id = 42 AND x = $1", "SELECT * FROM users WHERE name = ? AND id = ? AND x = $1"),
        ("UPDATE t1 SET a='x''y', \"b 1\"=E'q\\'z', c=1.5e3", 'UPDATE t1 SET a=?, "b 1"=?, c=?'),
        ("SELECT $tag$it's mine$tag$, $$half", "SELECT ?, ?"),
        ("SELECT x'ff', u2.id FROM u2 WHERE t = 'cut of", "SELECT ?, u2.id FROM u2 WHERE t = ?"),
    ],
)
def test_what_is_shown_of_somebody_elses_statement_holds_no_data(text: str, shown: str) -> None:
    assert without_literals(text) == shown
