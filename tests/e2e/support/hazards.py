# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A catalogue of hazards, each as a small migration of a small database, and of migrations that harm nobody.

A case is played on a real server: one database has the schema and rows (the live one), another the schema alone (the sandbox), in which
the migration runs under observation. Asked is what the rules say where the tables are as small as they are, and where the very same
tables were large and busy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.risk._assessment import Assessment, assess, judge
from ansible_collections.dbops.postgres.plugins.module_utils.risk._facts import Facts, Finding
from ansible_collections.dbops.postgres.plugins.module_utils.risk._rules import Level
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._observation import observe, seen
from ansible_collections.dbops.postgres.plugins.module_utils.sandbox._plan import Plan, planned_statements
from ansible_collections.dbops.postgres.plugins.module_utils.server import _activity
from ansible_collections.dbops.postgres.plugins.module_utils.server._objects import read_objects
from ansible_collections.dbops.postgres.plugins.module_utils.server._schema import read_snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import Executed

GB = 1024**3

SCHEMA = """
CREATE TABLE users (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(50), email text, age integer, born timestamp,
    balance numeric(10,2), big bigint, CONSTRAINT age_check CHECK (age > 0), CONSTRAINT email_key UNIQUE (email));
CREATE INDEX users_name ON users (name);
CREATE INDEX users_name_age ON users (name, age);
CREATE TABLE messages (id bigserial PRIMARY KEY, user_id integer, text text NOT NULL DEFAULT '');
CREATE TABLE nobody (id integer PRIMARY KEY, note text);
CREATE VIEW names AS SELECT id, name FROM users;
CREATE MATERIALIZED VIEW ages AS SELECT age, count(*) FROM users GROUP BY age;
CREATE SEQUENCE tickets;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE point3 AS (x int, y int, z int);
CREATE SCHEMA audit;
CREATE TABLE audit.log (id int, what text);
CREATE TABLE events (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_new (id int, day date);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION touch();
"""

ROWS = """
INSERT INTO users (name, email, age, born, balance, big)
    SELECT 'user ' || i, 'u' || i || '@example.org', i, now(), i, i FROM generate_series(1, 5) i;
UPDATE users SET email = NULL WHERE id = 5;
INSERT INTO messages (user_id, text) SELECT i, 'hello ' || i FROM generate_series(1, 9) i;
INSERT INTO audit.log VALUES (1, 'x');
INSERT INTO events VALUES (1, '2020-05-05');
INSERT INTO events_new VALUES (1, '2025-05-05');
ANALYZE;
"""

#: Adds to the schema or to the rows of a single case.
Transaction = tuple[str, ...]

NONE, LOW, MEDIUM, HIGH, DESTRUCTIVE = Level


@dataclass(frozen=True)
class Case:
    """A migration, as transactions; one string is one statement that stands alone.

    ``small``: the level of ``rule`` on the tables as they are; ``busy``: on the same ones with ten gigabytes and hundreds of statements a
    second. ``rows``: further rows of the live database. ``says``: words in what the live rows say, or in why they could not be asked.
    """

    name: str
    migration: tuple[str | Transaction, ...]
    rule: str
    small: Level
    busy: Level
    rows: str = ""
    schema: str = ""
    says: str = ""
    newest: bool = False

    def __str__(self) -> str:
        return self.name


def case(name: str, migration: str | tuple[str | Transaction, ...], rule: str, small: Level, busy: Level, **more: Any) -> Case:
    return Case(name, (migration,) if isinstance(migration, str) else migration, rule, small, busy, **more)


CASES = (
    # --- what goes away
    case("a table", "DROP TABLE messages", "ban-drop-table", DESTRUCTIVE, DESTRUCTIVE),
    case("a table without rows", "DROP TABLE nobody", "ban-drop-table", MEDIUM, MEDIUM),
    case("a column", "ALTER TABLE messages DROP COLUMN text", "ban-drop-column", DESTRUCTIVE, DESTRUCTIVE),
    case("a column of no rows", "ALTER TABLE nobody DROP COLUMN note", "ban-drop-column", MEDIUM, MEDIUM),
    case("a check", "ALTER TABLE users DROP CONSTRAINT age_check", "ban-drop-constraint", LOW, LOW),
    case("a unique constraint", "ALTER TABLE users DROP CONSTRAINT email_key", "ban-drop-constraint", MEDIUM, MEDIUM),
    case("an index", "DROP INDEX users_name_age", "ban-drop-index", MEDIUM, MEDIUM),
    case("an index that another one covers", "DROP INDEX users_name", "ban-drop-index", LOW, LOW),
    case("a view", "DROP VIEW names", "ban-drop-view", MEDIUM, MEDIUM),
    case("a sequence", "DROP SEQUENCE tickets", "ban-drop-sequence", MEDIUM, MEDIUM),
    case("a type", "DROP TYPE point3", "ban-drop-type", MEDIUM, MEDIUM),
    case("a schema", "DROP SCHEMA audit CASCADE", "ban-drop-schema", MEDIUM, MEDIUM),
    case("a schema with a table", "DROP SCHEMA audit CASCADE", "drop-cascade", DESTRUCTIVE, DESTRUCTIVE),
    case("a view, by CASCADE", "ALTER TABLE users DROP COLUMN name CASCADE", "drop-cascade", MEDIUM, MEDIUM),
    case("all rows", "TRUNCATE messages", "ban-truncate", DESTRUCTIVE, DESTRUCTIVE),
    # --- what is called otherwise
    case("a table's name", "ALTER TABLE messages RENAME TO posts", "renaming-table", HIGH, HIGH),
    case("a column's name", "ALTER TABLE users RENAME COLUMN email TO mail", "renaming-column", HIGH, HIGH),
    case("a schema's name", "ALTER SCHEMA audit RENAME TO trail", "renaming-schema", HIGH, HIGH),
    case("a value's name", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "renaming-enum-value", HIGH, HIGH),
    case("a type's name", "ALTER TYPE mood RENAME TO feeling", "renaming-object", MEDIUM, MEDIUM),
    case("a table's schema", "ALTER TABLE nobody SET SCHEMA audit", "ban-set-schema", HIGH, HIGH),
    # --- columns
    case(
        "a wider number",
        "ALTER TABLE users ALTER COLUMN age TYPE bigint",
        "changing-column-type",
        LOW,
        HIGH,
        schema="DROP MATERIALIZED VIEW ages;",
    ),
    case(
        "a text as number",
        "ALTER TABLE messages ALTER COLUMN text DROP DEFAULT, ALTER COLUMN text TYPE integer USING text::integer",
        "changing-column-type",
        MEDIUM,
        HIGH,
        says="USING",
    ),
    case(
        "a longer varchar",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(80)",
        "widening-column-type",
        LOW,
        LOW,
        schema="DROP VIEW names;",
    ),
    case(
        "a shorter varchar",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(3)",
        "narrowing-column-type",
        HIGH,
        HIGH,
        schema="DROP VIEW names;",
        says="5 rows of 'public.users' stop it, for example id 1",
    ),
    case("a smaller number", "ALTER TABLE users ALTER COLUMN big TYPE smallint", "narrowing-column-type", HIGH, HIGH, says="No row"),
    case(
        "a number that does not fit",
        "ALTER TABLE users ALTER COLUMN big TYPE smallint",
        "narrowing-column-type",
        HIGH,
        HIGH,
        rows="UPDATE users SET big = 70000 WHERE id = 2;",
        says="1 row of 'public.users' stops it, for example id 2",
    ),
    case(
        "fewer digits",
        "ALTER TABLE users ALTER COLUMN balance TYPE numeric(6,1)",
        "narrowing-column-type",
        HIGH,
        HIGH,
        rows="UPDATE users SET balance = 1.25 WHERE id = 4;",
        says="1 row",
    ),
    case("a time zone", "ALTER TABLE users ALTER COLUMN born TYPE timestamptz", "changing-time-zone-type", HIGH, HIGH),
    case("NOT NULL", "ALTER TABLE users ALTER COLUMN age SET NOT NULL", "adding-not-nullable-field", LOW, HIGH, says="No row"),
    case(
        "NOT NULL where there are NULLs",
        "ALTER TABLE users ALTER COLUMN email SET NOT NULL",
        "adding-not-nullable-field",
        HIGH,
        HIGH,
        says="1 row of 'public.users' stops it, for example id 5",
    ),
    case("a required column", "ALTER TABLE users ADD COLUMN country text NOT NULL", "adding-required-field", HIGH, HIGH),
    case("a required column of no rows", "ALTER TABLE nobody ADD COLUMN country text NOT NULL", "adding-required-field", MEDIUM, MEDIUM),
    case("no NOT NULL any more", "ALTER TABLE messages ALTER COLUMN text DROP NOT NULL", "dropping-not-null", LOW, LOW),
    case(
        "a volatile default",
        "ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "adding-field-with-volatile-default",
        LOW,
        HIGH,
    ),
    case(
        "a generated column",
        "ALTER TABLE users ADD COLUMN twice integer GENERATED ALWAYS AS (age * 2) STORED",
        "adding-stored-generated-column",
        LOW,
        HIGH,
    ),
    case("a serial", "ALTER TABLE users ADD COLUMN number serial", "adding-serial-field", LOW, HIGH),
    case("an identity", "ALTER TABLE messages ADD COLUMN number integer GENERATED ALWAYS AS IDENTITY", "adding-serial-field", LOW, HIGH),
    case("another default", "ALTER TABLE messages ALTER COLUMN text SET DEFAULT 'x'", "changing-default", LOW, LOW),
    case(
        "a number near its end",
        "ALTER TABLE users ADD COLUMN x text",
        "prefer-bigint-over-int",
        HIGH,
        HIGH,
        rows="SELECT setval('users_id_seq', 2000000000);",
    ),
    case("json", "ALTER TABLE users ADD COLUMN settings json", "json-column", LOW, LOW),
    case("a name that is too long", f"ALTER TABLE users ADD COLUMN {'x' * 70} text", "identifier-too-long", MEDIUM, MEDIUM),
    case(
        "values that a cast makes others",
        "ALTER TABLE messages ALTER COLUMN text TYPE text USING lower(text)",
        "rewriting-table",
        MEDIUM,
        HIGH,
        says="cannot be seen",
    ),
    case("a day instead of a moment", "ALTER TABLE users ALTER COLUMN born TYPE date", "narrowing-column-type", HIGH, HIGH),
    case(
        "a required column whose default goes again",
        (("ALTER TABLE users ADD COLUMN n integer DEFAULT 0 NOT NULL", "ALTER TABLE users ALTER COLUMN n DROP DEFAULT"),),
        "adding-required-field",
        MEDIUM,
        MEDIUM,
    ),
    # --- constraints
    case(
        "a check by a function of the database's own",
        "ALTER TABLE users ADD CONSTRAINT grown CHECK (grown(age))",
        "constraint-missing-not-valid",
        MEDIUM,
        HIGH,
        schema="CREATE FUNCTION grown(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0';",
        says="is not run for a look",
    ),
    case(
        "an older check that becomes valid",
        "ALTER TABLE messages VALIDATE CONSTRAINT old",
        "constraint-missing-not-valid",
        HIGH,
        LOW,
        schema="ALTER TABLE messages ADD CONSTRAINT old CHECK (user_id < 100) NOT VALID;",
        rows="ALTER TABLE messages DROP CONSTRAINT old; INSERT INTO messages (user_id) VALUES (200);",
        says="1 row of 'public.messages' stops it, for example id 10",
    ),
    case(
        "a unique constraint beside a new type",
        ("ALTER TABLE messages ALTER COLUMN user_id TYPE bigint", "ALTER TABLE messages ADD CONSTRAINT one UNIQUE (user_id)"),
        "disallowed-unique-constraint",
        LOW,
        HIGH,
        says="No row",
    ),
    case(
        "an index behind a comment",
        ("COMMENT ON COLUMN users.name IS 'x'", "CREATE INDEX by_age ON users (age)"),
        "require-concurrent-index-creation",
        LOW,
        HIGH,
    ),
    case(
        "a unique index of what is not there yet",
        ("ALTER TABLE users ADD COLUMN slug text", "CREATE UNIQUE INDEX slugs ON users (lower(slug))"),
        "require-concurrent-index-creation",
        MEDIUM,
        HIGH,
        says="the rows could not be asked",
    ),
    case(
        "a check that is read at once",
        "ALTER TABLE users ADD CONSTRAINT adult CHECK (age < 200)",
        "constraint-missing-not-valid",
        LOW,
        HIGH,
        says="No row",
    ),
    case(
        "a check that rows break",
        "ALTER TABLE users ADD CONSTRAINT adult CHECK (age > 3)",
        "constraint-missing-not-valid",
        HIGH,
        HIGH,
        says="3 rows of 'public.users' stop it, for example id 1, 2, 3",
    ),
    case(
        "a check of a new column",
        ("ALTER TABLE users ADD COLUMN size int", "ALTER TABLE users ADD CONSTRAINT sized CHECK (size > 0)"),
        "constraint-missing-not-valid",
        MEDIUM,
        HIGH,
        says="the migration itself makes",
    ),
    case(
        "a foreign key",
        "ALTER TABLE messages ADD CONSTRAINT author FOREIGN KEY (user_id) REFERENCES users (id)",
        "adding-foreign-key-constraint",
        HIGH,
        HIGH,
        says="4 rows of 'public.messages' stop it, for example id 6, 7, 8, 9",
    ),
    case(
        "a foreign key without orphans",
        "ALTER TABLE messages ADD CONSTRAINT author FOREIGN KEY (user_id) REFERENCES users (id)",
        "adding-foreign-key-constraint",
        LOW,
        HIGH,
        rows="DELETE FROM messages WHERE user_id > 5;",
        says="No row",
    ),
    case(
        "a foreign key that no index helps",
        "ALTER TABLE messages ADD CONSTRAINT author FOREIGN KEY (user_id) REFERENCES users (id)",
        "foreign-key-without-index",
        LOW,
        LOW,
    ),
    case(
        "a unique constraint that is new",
        "ALTER TABLE messages ADD CONSTRAINT once UNIQUE (text)",
        "disallowed-unique-constraint",
        LOW,
        HIGH,
        says="No row",
    ),
    case(
        "a unique constraint with duplicates",
        "ALTER TABLE messages ADD CONSTRAINT once UNIQUE (text)",
        "disallowed-unique-constraint",
        HIGH,
        HIGH,
        rows="UPDATE messages SET text = 'same' WHERE id < 3;",
        says="1 row",
    ),
    case("a primary key", "ALTER TABLE audit.log ADD PRIMARY KEY (id)", "adding-primary-key", LOW, HIGH, says="No row"),
    case(
        "an exclusion",
        "ALTER TABLE audit.log ADD CONSTRAINT apart EXCLUDE (what WITH =)",
        "adding-exclusion-constraint",
        MEDIUM,
        HIGH,
        says="only when the index is built",
    ),
    # --- indexes and whole tables
    case("an index that is new", "CREATE INDEX messages_text ON messages (text)", "require-concurrent-index-creation", LOW, HIGH),
    case(
        "a unique index with duplicates",
        "CREATE UNIQUE INDEX messages_text ON messages (lower(text))",
        "require-concurrent-index-creation",
        HIGH,
        HIGH,
        rows="UPDATE messages SET text = 'Same' WHERE id = 1; UPDATE messages SET text = 'same' WHERE id = 2;",
        says="1 row",
    ),
    case("an index built anew", "REINDEX TABLE users", "rebuilding-index", LOW, HIGH),
    case("CLUSTER", "CLUSTER users USING users_name", "prefer-repack", LOW, HIGH),
    case("VACUUM FULL", "VACUUM FULL users", "prefer-repack", LOW, HIGH),
    case(
        "a view filled anew",
        "REFRESH MATERIALIZED VIEW ages",
        "refreshing-materialized-view",
        LOW,
        HIGH,
        rows="REFRESH MATERIALIZED VIEW ages;",
    ),
    case("a table that a crash empties", "ALTER TABLE messages SET UNLOGGED", "changing-persistence", MEDIUM, HIGH),
    case(
        "a partition that comes",
        "ALTER TABLE events ATTACH PARTITION events_new FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
        "attaching-partition",
        LOW,
        HIGH,
    ),
    case("a partition that goes", "ALTER TABLE events DETACH PARTITION events_old", "detaching-partition", MEDIUM, MEDIUM),
    # --- what acts on rows
    case("a trigger", "CREATE TRIGGER seen BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION touch()", "trigger-added", LOW, LOW),
    case("a trigger that is off", "ALTER TABLE messages DISABLE TRIGGER touched", "trigger-disabled", MEDIUM, MEDIUM),
    case("row-level security", "ALTER TABLE messages ENABLE ROW LEVEL SECURITY", "enabling-row-level-security", HIGH, HIGH),
    case(
        "row-level security with a policy",
        ("ALTER TABLE messages ENABLE ROW LEVEL SECURITY", "CREATE POLICY everybody ON messages USING (true)"),
        "enabling-row-level-security",
        MEDIUM,
        MEDIUM,
    ),
    case("a value that is new", "ALTER TYPE mood ADD VALUE 'glad'", "enum-value-added", LOW, LOW),
    case("an UPDATE of all", "UPDATE messages SET text = upper(text)", "update-without-limit", LOW, HIGH),
    case("a DELETE of all", "DELETE FROM messages", "delete-without-limit", DESTRUCTIVE, DESTRUCTIVE),
    case(
        "a DELETE in a block",
        "DO $$ BEGIN DELETE FROM messages WHERE id > 3; END $$",
        "unseen-writes",
        HIGH,
        HIGH,
        says="depends on the rows",
    ),
    case("a DELETE of what is true", "DELETE FROM messages WHERE true", "delete-without-limit", DESTRUCTIVE, DESTRUCTIVE),
    case(
        "an UPDATE whose subquery has the WHERE",
        "UPDATE messages SET text = (SELECT name FROM users WHERE users.id = user_id) || 'x'",
        "update-without-limit",
        LOW,
        HIGH,
        schema="ALTER TABLE messages ALTER COLUMN text DROP NOT NULL;",
    ),
    case("a trigger that goes", "DROP TRIGGER touched ON messages", "trigger-disabled", MEDIUM, MEDIUM),
    case(
        "all rows of a table with a dot in its name",
        'TRUNCATE "Order.Items"',
        "ban-truncate",
        DESTRUCTIVE,
        DESTRUCTIVE,
        schema='CREATE TABLE "Order.Items" (id int);',
        rows='INSERT INTO "Order.Items" VALUES (1);',
    ),
    # --- the server, and how it runs
    case("LOCK", (("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE", "CREATE TABLE more (id int)"),), "lock-table", MEDIUM, MEDIUM),
    case("a server's setting", "ALTER DATABASE {sandbox} SET work_mem = '64MB'", "altering-server", MEDIUM, MEDIUM),
    case("several transactions", ("CREATE TABLE a (id int)", "CREATE TABLE b (id int)"), "statements-outside-transaction", LOW, LOW),
)

#: Nobody is harmed by these, however large and busy the tables are that were there before: nothing above "low" may be said of them.
HARMLESS = (
    "CREATE TABLE a (id bigint PRIMARY KEY, name text NOT NULL, UNIQUE (name))",
    ("CREATE TABLE a (id bigint PRIMARY KEY, name text)", "CREATE INDEX a_name ON a (name)", "ALTER TABLE a ADD CHECK (id > 0)"),
    (("CREATE TABLE a (id bigint)", "ALTER TABLE a ADD COLUMN b int NOT NULL", "ALTER TABLE a ALTER COLUMN b TYPE bigint"),),
    "ALTER TABLE users ADD COLUMN nickname text",
    "ALTER TABLE users ADD COLUMN nickname varchar(20) NULL",
    "ALTER TABLE users ADD COLUMN active boolean NOT NULL DEFAULT true",
    "ALTER TABLE users ADD COLUMN made timestamptz DEFAULT now()",
    "ALTER TABLE users ADD COLUMN extra jsonb DEFAULT '{}'",
    "ALTER TABLE users ADD COLUMN a int, ADD COLUMN b int",
    "ALTER TABLE messages ALTER COLUMN text SET DEFAULT 'x'",
    "ALTER TABLE messages ALTER COLUMN text DROP DEFAULT",
    "ALTER TABLE messages ALTER COLUMN text DROP NOT NULL",
    "CREATE INDEX CONCURRENTLY messages_text ON messages (text)",
    "CREATE UNIQUE INDEX CONCURRENTLY messages_text ON messages (id)",
    ("CREATE UNIQUE INDEX CONCURRENTLY log_id ON audit.log (what)", "DROP INDEX CONCURRENTLY audit.log_id"),
    ("CREATE UNIQUE INDEX CONCURRENTLY k ON messages (id, user_id)", "ALTER TABLE messages ADD CONSTRAINT k UNIQUE USING INDEX k"),
    ("ALTER TABLE users ADD COLUMN x int", "CREATE INDEX CONCURRENTLY by_age ON users (age)"),
    "ALTER TABLE users ADD CONSTRAINT adult CHECK (age < 200) NOT VALID",
    ("ALTER TABLE users ADD CONSTRAINT adult CHECK (age < 200) NOT VALID", "ALTER TABLE users VALIDATE CONSTRAINT adult"),
    "ALTER TABLE messages ADD CONSTRAINT author FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
    "CREATE VIEW texts AS SELECT text FROM messages",
    "CREATE OR REPLACE VIEW names AS SELECT id, name, age FROM users",
    "CREATE MATERIALIZED VIEW total AS SELECT count(*) FROM messages",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY keyed",
    "CREATE SEQUENCE numbers",
    "CREATE TYPE size AS ENUM ('s', 'm', 'l')",
    "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'ok'",
    "CREATE SCHEMA more",
    ("CREATE SCHEMA more", "CREATE TABLE more.a (id int PRIMARY KEY)"),
    "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE DOMAIN email AS text CHECK (VALUE ~ '@')",
    "COMMENT ON TABLE users IS 'everybody'",
    "COMMENT ON COLUMN users.name IS 'of the user'",
    "GRANT SELECT ON users TO PUBLIC",
    "REVOKE SELECT ON users FROM PUBLIC",
    "ALTER TABLE users ALTER COLUMN name SET STATISTICS 500",
    "ALTER TABLE users SET (fillfactor = 90)",
    "ALTER INDEX users_name RENAME TO users_by_name",
    "CREATE STATISTICS together ON name, age FROM users",
    "ANALYZE users",
    "VACUUM users",
    "INSERT INTO nobody VALUES (1, 'x')",
    "UPDATE messages SET text = 'x' WHERE id = 1",
    "SELECT setval('tickets', 7)",
    "DO $$ BEGIN CREATE TABLE IF NOT EXISTS a (id int); END $$",
    "DELETE FROM messages WHERE id = 1",
    "CREATE TABLE events_2030 PARTITION OF events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')",
    ("ALTER TABLE nobody ADD CONSTRAINT noted CHECK (note <> '')", "CREATE INDEX nobody_note ON nobody (note)"),
    "ALTER TABLE nobody ALTER COLUMN note TYPE varchar(10)",
    "ALTER TABLE users ALTER COLUMN email TYPE varchar",
)

#: What a harmless case needs that the others' schema has not.
FOR_HARMLESS = "CREATE MATERIALIZED VIEW keyed AS SELECT id FROM users; CREATE UNIQUE INDEX keyed_id ON keyed (id);"


@dataclass
class Played:
    """What the rules say: of the tables as they are, and of the same ones large and busy."""

    small: Assessment
    busy: list[Finding]
    plan: Plan


class Theatre:
    """Plays cases on one server; ``connect`` opens a session in a database of it, whose transactions end by themselves."""

    def __init__(self, connect: Any, name: str) -> None:
        self._connect = connect
        self._live, self._sandbox = name + "_live", name + "_sandbox"

    def play(self, migration: Sequence[str | Transaction], schema: str = "", further_rows: str = "") -> Played:
        with self._database(self._live, SCHEMA + schema + ROWS + further_rows) as live, self._database(
            self._sandbox, SCHEMA + schema
        ) as sandbox:
            first = replace(_activity.look(live), at=0.0)
            plan = self._run(sandbox, migration)
            small = assess(live, plan, first)
            return Played(small, judge(Facts(plan, self._grown(live, plan))), plan)

    @contextlib.contextmanager
    def _database(self, name: str, contents: str) -> Iterator[Any]:
        with contextlib.closing(self._connect("postgres")) as maintenance, maintenance.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {name}")
            try:
                with contextlib.closing(self._connect(name)) as connection:
                    connection.cursor().execute(contents)
                    yield connection
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, sandbox: Any, migration: Sequence[str | Transaction]) -> Plan:
        before, objects = read_snapshot(sandbox), read_objects(sandbox)
        observe(sandbox)
        executed = []
        with contextlib.closing(self._connect(self._sandbox)) as runner, runner.cursor() as cursor:
            for number, transaction in enumerate(migration, 1):
                alone = isinstance(transaction, str)
                statements = [transaction] if isinstance(transaction, str) else list(transaction)
                cursor.execute("SELECT 1" if alone else "BEGIN")
                for statement in statements:
                    text = statement.replace("{sandbox}", self._sandbox)
                    cursor.execute(text)
                    executed.append(Executed(1, text, number))
                cursor.execute("SELECT 1" if alone else "COMMIT")
        statements_seen = planned_statements(executed, seen(sandbox), ())
        return Plan(statements_seen, before, read_snapshot(sandbox), (), Outcome(0, "", ""), (), (objects, read_objects(sandbox)))

    def _grown(self, live: Any, plan: Plan) -> dict[str, _activity.Activity]:
        look = _activity.look(live)
        tables = {}
        for name in look.tables:
            table = _activity.measured(live, look.tables[name])
            large = replace(table, rows=10**8, size=10 * GB, toast=GB, indexes=5 * GB, reads=500.0, writes=100.0)
            tables[name] = table if table.empty else large
        return tables


def worst(findings: Sequence[Finding], rule: str) -> Finding | None:
    """The finding of a rule, the worst where there are several."""
    return max((finding for finding in findings if finding.rule == rule), key=lambda finding: finding.level, default=None)
