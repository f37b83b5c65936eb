# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Databases as people have them: awkward names, and contents that simple tools lose. What comes back is compared byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import Controller, Run
from faults import journal, left_behind
from stack import Server, Stack

NAMES = [
    'it\'s "mine" now',
    "Café-データ 100%",
    "chat; DROP DATABASE chat; --",
    "-n --clean $(id) `id` \\1",
    "host=elsewhere dbname=chat",
    "postgresql://elsewhere/chat",
    ".hidden/../up",
    "UPPER_lower",
    "x" * 63,
]

LARGE_OBJECTS = [
    "SELECT lo_from_bytea(0, decode(repeat(md5(n::text), 300), 'hex')) FROM generate_series(1, 5) n",
    "CREATE TABLE documents (id int PRIMARY KEY, body oid)",
    "INSERT INTO documents SELECT row_number() OVER (), oid FROM pg_largeobject_metadata",
    "COMMENT ON TABLE documents IS 'with ''quotes'' and\na second line'",
]

EXTENSIONS = [
    *(f'CREATE EXTENSION "{name}"' for name in ("pg_trgm", "hstore", "citext", "uuid-ossp", "btree_gist", "file_fdw")),
    "CREATE TABLE tagged (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), tags hstore, name citext UNIQUE)",
    "INSERT INTO tagged (tags, name) SELECT hstore('n', n::text), 'name ' || n FROM generate_series(1, 100) n",
    "CREATE INDEX ON tagged USING gist (name gist_trgm_ops)",
    "CREATE SERVER elsewhere FOREIGN DATA WRAPPER file_fdw",
    "CREATE FOREIGN TABLE far (id int) SERVER elsewhere OPTIONS (filename '/etc/hostname')",
]

PARTITIONS = [
    "CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, kind text, UNIQUE (id, at, kind)) PARTITION BY RANGE (at)",
    "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (kind)",
    "CREATE TABLE events_2025_a PARTITION OF events_2025 FOR VALUES IN ('a')",
    "CREATE TABLE events_2025_rest PARTITION OF events_2025 DEFAULT",
    "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "INSERT INTO events (at, kind) SELECT date '2025-01-01' + n % 700, chr(97 + n % 3) FROM generate_series(1, 5000) n",
    "CREATE TABLE parents (id int PRIMARY KEY)",
    "CREATE TABLE heirs (more text) INHERITS (parents)",
    "INSERT INTO heirs SELECT n, 'x' FROM generate_series(1, 10) n",
]

SCHEMAS = [
    *(f'CREATE SCHEMA "{name}"' for name in ("Sales Dept", "o'brien", "データ", "pg", 'say ""hi""')),
    *(
        f'CREATE TABLE "{name}"."Order" ("select" int PRIMARY KEY, "the ""text""" text)'
        for name in ("Sales Dept", "o'brien", "データ", "pg")
    ),
    'INSERT INTO "Sales Dept"."Order" SELECT n, E\'a\\tb\\\\.\\n\\\\.\\n\' || n FROM generate_series(1, 10) n',
    'CREATE VIEW "データ"."a view" AS SELECT * FROM "Sales Dept"."Order"',
    'CREATE MATERIALIZED VIEW "pg".sums AS SELECT count(*) FROM "Sales Dept"."Order"',
    'CREATE FUNCTION "o\'brien".f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$',
    'CREATE TRIGGER "a trigger" BEFORE INSERT ON "pg"."Order" FOR EACH ROW EXECUTE FUNCTION "o\'brien".f()',
    "CREATE TYPE mood AS ENUM ('sad', 'it''s \"fine\"')",
    "CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100)",
    "CREATE SEQUENCE counted START 7 INCREMENT 3",
    "SELECT nextval('counted')",
    'ALTER TABLE "pg"."Order" ENABLE ROW LEVEL SECURITY',
    'CREATE POLICY own ON "pg"."Order" USING ("select" > 0)',
    "CREATE PUBLICATION all_of_it FOR ALL TABLES",
    "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS one",
    "CREATE TABLE nothing ()",
    "INSERT INTO nothing DEFAULT VALUES",
]

MANY_TABLES = [
    "DO $$ BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', n);"
    " EXECUTE format('INSERT INTO t%s SELECT i, md5(i::text) FROM generate_series(1, %s) i', n, n); END LOOP; END $$"
]


#: An audit of schema changes by event triggers, beside what PostgreSQL itself computes anew in a restore.
EVENT_TRIGGERS = [
    "CREATE TABLE ddl_notes (id bigint GENERATED ALWAYS AS IDENTITY, tag text, at timestamptz DEFAULT now())",
    "CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO public.ddl_notes (tag) VALUES (tg_tag); END $$",
    "CREATE EVENT TRIGGER users_own_notes ON ddl_command_end EXECUTE FUNCTION note_ddl()",
    "CREATE EVENT TRIGGER notes_always ON ddl_command_end WHEN TAG IN ('REFRESH MATERIALIZED VIEW') EXECUTE FUNCTION note_ddl()",
    "ALTER EVENT TRIGGER notes_always ENABLE ALWAYS",
    "CREATE EVENT TRIGGER asleep ON sql_drop EXECUTE FUNCTION note_ddl()",
    "ALTER EVENT TRIGGER asleep DISABLE",
    "COMMENT ON EVENT TRIGGER users_own_notes IS 'kept'",
    "CREATE TABLE orders (id int PRIMARY KEY, state text)",
    "INSERT INTO orders SELECT g, 'new' FROM generate_series(1, 10) g",
    "CREATE MATERIALIZED VIEW by_state AS SELECT state, count(*) AS n FROM orders GROUP BY state",
]

#: What 17 and later refuse themselves, since they build it with a search_path of their own.
BEFORE_17 = [
    "CREATE MATERIALIZED VIEW report AS SELECT total() AS n",
    "CREATE INDEX messages_short ON messages (shorter(body))",
    "CREATE INDEX messages_slow ON messages (slow(body))",
]

#: Functions that find what they need by the session's search_path, which pg_restore empties, and all that may call one.
FUNCTIONS_WITHOUT_SCHEMA = [
    "CREATE TABLE messages (id int PRIMARY KEY, body text)",
    "INSERT INTO messages SELECT g, 'm' || g FROM generate_series(1, 50) g",
    "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM messages'",
    "CREATE FUNCTION short(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT left($1, 3)'",
    "CREATE FUNCTION shorter(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT short($1)'",
    "CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN shorter($1); END $$",
    "ALTER TABLE messages ADD CONSTRAINT body_short CHECK (shorter(body) <> '')",
    "ALTER TABLE messages ADD COLUMN head text GENERATED ALWAYS AS (slow(body)) STORED",
    "ALTER TABLE messages ALTER body SET DEFAULT shorter('default')",
    "CREATE DOMAIN abridged AS text CHECK (slow(VALUE) = VALUE)",
    "CREATE TABLE abridgements (id int PRIMARY KEY, body abridged)",
    "INSERT INTO abridgements VALUES (1, 'abc')",
]


@pytest.fixture
def of_its_own(stack: Stack, production: Server) -> Iterator[Server]:
    """The production server with whatever a test creates on it; nothing of that is left."""
    stack.fill("v2-empty")
    before = {name for (name,) in production.rows("SELECT datname FROM pg_database", database="postgres")}
    yield production
    for (name,) in production.rows("SELECT datname FROM pg_database", database="postgres"):
        if name not in before:
            quoted = name.replace('"', '""')
            production.do(f'DROP DATABASE "{quoted}" WITH (FORCE)', database="postgres")


def round_trip(controller: Controller, stack: Stack, server: Server, database: str) -> None:
    """Backup, verification, accident, check, restore, undo."""
    variables = {"dbops_database": database, "dbops_backends": [], "dbops_confirm": f"restore:{database}"}
    whole = digest(server, database)
    made = controller.run("backup", "-l", "production", **{**variables, "dbops_confirm": ""})
    assert made.ok, made.output
    backup = made.result()["backup"]["id"]

    server.do("CREATE TABLE made_since AS SELECT 1", database=database)
    damaged = digest(server, database)
    checked = controller.run("restore", "-l", "production", "--check", **variables, dbops_restore_backup=backup)
    assert checked.ok, checked.output
    assert digest(server, database) == damaged

    restored = controller.run("restore", "-l", "production", **variables, dbops_restore_backup="latest")
    assert restored.ok, restored.output
    assert digest(server, database) == whole
    assert not [text for text in restored.result().get("warnings", []) if "not exactly" in text]

    undone = controller.run("restore", "-l", "production", **variables, dbops_restore_backup="undo")
    assert undone.ok, undone.output
    assert digest(server, database) == damaged
    assert [line for line in left_behind(stack) if not line.startswith("database ")] == []


def digest(server: Server, database: str) -> str:
    """Of the whole plain dump, large objects too. The name goes in as libpq takes it, whatever is in it."""
    name = "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return hashlib.sha256(server.dump(name)).hexdigest()


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] if number else []) for number, name in enumerate(NAMES)])
def test_a_name(name: str, of_its_own: Server, controller: Controller, stack: Stack) -> None:
    quoted = name.replace('"', '""')
    of_its_own.do(f'CREATE DATABASE "{quoted}" TEMPLATE e2e_v2', database="postgres")
    round_trip(controller, stack, of_its_own, name)


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(LARGE_OBJECTS + EXTENSIONS + PARTITIONS + SCHEMAS, id="everything at once"),
        pytest.param(MANY_TABLES, id="300 tables", marks=pytest.mark.long),
    ],
)
def test_contents(statements: list[str], of_its_own: Server, controller: Controller, stack: Stack) -> None:
    of_its_own.do("CREATE DATABASE awkward", database="postgres")
    of_its_own.do(*statements, database="awkward")
    round_trip(controller, stack, of_its_own, "awkward")


@pytest.mark.core
def test_the_users_own_event_triggers_sleep_while_a_restore_builds(of_its_own: Server, controller: Controller, stack: Stack) -> None:
    of_its_own.do("CREATE DATABASE awkward", database="postgres")
    of_its_own.do(*EVENT_TRIGGERS, database="awkward")
    round_trip(controller, stack, of_its_own, "awkward")
    assert of_its_own.rows("SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1", database="awkward") == [
        ("asleep", "D"),
        ("notes_always", "A"),
        ("users_own_notes", "O"),
    ]


@pytest.mark.core
def test_functions_that_name_no_schema_come_back_with_all_that_calls_them(of_its_own: Server, controller: Controller, stack: Stack) -> None:
    of_its_own.do("CREATE DATABASE awkward", database="postgres")
    of_its_own.do(*FUNCTIONS_WITHOUT_SCHEMA, database="awkward")
    if stack.major < 17:
        of_its_own.do(*BEFORE_17, database="awkward")
    round_trip(controller, stack, of_its_own, "awkward")
    assert "CREATE TABLE planned" in plan_of_a_table(controller, stack, of_its_own, "awkward").result()["diff"]["prepared"]


@pytest.mark.core
def test_a_restore_that_differs_is_put_in_place_with_the_line_that_it_shows(
    of_its_own: Server, controller: Controller, stack: Stack
) -> None:
    """An index that only the application's own sessions can build."""
    of_its_own.do("CREATE DATABASE awkward", database="postgres")
    of_its_own.do(
        "CREATE TABLE parts (id int PRIMARY KEY, divisor int)",
        "INSERT INTO parts SELECT g, g FROM generate_series(1, 10) g",
        "CREATE FUNCTION share(int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN current_setting('app.tenant') || $1; END $$",
        "SET app.tenant = 'one'",
        "CREATE INDEX parts_share ON parts (share(divisor))",
        database="awkward",
    )
    variables = {"dbops_database": "awkward", "dbops_backends": [], "dbops_confirm": "restore:awkward", "dbops_restore_backup": "latest"}
    made = controller.run("backup", "-l", "production", dbops_database="awkward", dbops_backends=[])
    assert made.ok, made.output
    live = of_its_own.value("SELECT oid FROM pg_database WHERE datname = 'awkward'", database="postgres")

    refused = controller.run("restore", "-l", "production", **variables)
    assert not refused.ok
    assert "'CREATE INDEX parts_share ON public.parts" in refused.message
    assert 'could not be restored: unrecognized configuration parameter "app.tenant"' in refused.message
    assert of_its_own.value("SELECT oid FROM pg_database WHERE datname = 'awkward'", database="postgres") == live
    accepted = refused.message.split("dbops_restore_accept_differences=")[1].split()[0]

    wrong = controller.run("restore", "-l", "production", **variables, dbops_restore_accept_differences="0123456789ab")
    assert not wrong.ok and "These are others than those consented to" in wrong.message
    done = controller.run("restore", "-l", "production", **variables, dbops_restore_accept_differences=accepted)
    assert done.ok, done.output
    assert of_its_own.value("SELECT count(*) FROM parts", database="awkward") == 10
    assert [entry["accepted_differences"] for entry in journal(stack, of_its_own) if entry.get("accepted_differences")] == [
        done.result()["accepted_differences"]
    ]
    saved = done.result()["backup_before"]["id"]
    assert controller.run("restore", "-l", "production", "--check", **{**variables, "dbops_restore_backup": saved}).ok


def making_a_table(stack: Stack, server: Server, name: str) -> dict[str, object]:
    """A migration that is one statement."""
    runner = ["sh", "-c", 'psql --no-psqlrc --set=ON_ERROR_STOP=1 "$0" --command "CREATE TABLE planned (id int)"']
    conninfo = f"host={server.name} user=postgres password='{server.env['POSTGRES_PASSWORD']}' dbname='" + name.replace("'", "\\'") + "'"
    return {"dbops_database": name, "dbops_migrate_image": stack.postgres_image, "dbops_migrate_runner": [*runner, conninfo]}


def plan_of_a_table(controller: Controller, stack: Stack, server: Server, name: str) -> Run:
    checked = controller.run("migrate", "-l", "production", "--check", "--diff", **making_a_table(stack, server, name))
    assert checked.ok, checked.output
    return checked


@pytest.mark.long
@pytest.mark.parametrize("statements", [EXTENSIONS + PARTITIONS + SCHEMAS, MANY_TABLES], ids=["kinds", "300 tables"])
def test_a_plan_is_made_on_the_same_schema(statements: list[str], of_its_own: Server, controller: Controller, stack: Stack) -> None:
    """The sandbox is given everything that the database has, else the plan is refused."""
    name = NAMES[0]
    quoted = name.replace('"', '""')
    of_its_own.do(f'CREATE DATABASE "{quoted}"', database="postgres")
    of_its_own.do(*statements, database=name)
    checked = plan_of_a_table(controller, stack, of_its_own, name)
    assert "CREATE TABLE planned (id int)" in checked.result()["diff"]["prepared"]
    done = controller.run("migrate", "-l", "production", **making_a_table(stack, of_its_own, name))
    assert done.ok and done.changed, done.output
    assert of_its_own.value("SELECT count(*) FROM planned", database=name) == 0


#: Each table, what is changed in it, and whether what it holds is another thing then.
DIGESTED: dict[str, tuple[list[str], list[str], bool]] = {
    "swapped": (
        ["CREATE TABLE swapped (id int, v text)", "INSERT INTO swapped VALUES (1, 'a'), (2, 'b')"],
        ["UPDATE swapped SET v = CASE v WHEN 'a' THEN 'b' ELSE 'a' END"],
        True,
    ),
    "doubled": (
        ["CREATE TABLE doubled (id int)", "INSERT INTO doubled VALUES (1), (1), (2)"],
        ["TRUNCATE doubled", "INSERT INTO doubled VALUES (1), (2), (2)"],
        True,
    ),
    "nulls": (
        ["CREATE TABLE nulls (a text, b text)", "INSERT INTO nulls VALUES (NULL, 'x')"],
        ["UPDATE nulls SET a = 'x', b = NULL"],
        True,
    ),
    "scale": (["CREATE TABLE scale AS SELECT 1.0::numeric AS n"], ["UPDATE scale SET n = 1.00"], True),
    "sign": (["CREATE TABLE sign AS SELECT 0::float8 AS n, 1::float4 AS m"], ["UPDATE sign SET n = '-0'"], True),
    "lasting": (["CREATE TABLE lasting AS SELECT interval '30 days' AS n"], ["UPDATE lasting SET n = '1 mon'"], True),
    "cased": (["CREATE TABLE cased AS SELECT 'a'::citext AS n"], ["UPDATE cased SET n = 'A'"], True),
    "documents": (
        ["""CREATE TABLE documents AS SELECT '{"a":1}'::json AS n, '{"a":1.0}'::jsonb AS m, point '(1,2)' AS p, xml '<a/>' AS x"""],
        ["""UPDATE documents SET m = '{"a":1.00}'"""],
        True,
    ),
    "moods": (["CREATE TABLE moods AS SELECT 'sad'::mood AS n"], ["UPDATE moods SET n = 'glad'"], True),
    "large": (
        ["CREATE TABLE large AS SELECT decode(repeat('00', 5000000), 'hex') AS n"],
        ["UPDATE large SET n = set_byte(n, 4999999, 1)"],
        True,
    ),
    "t": (['CREATE TABLE t (t int, "T" int, "ro""w" text)', "INSERT INTO t VALUES (1, 2, 'x')"], ["UPDATE t SET t = 2"], True),
    "nested": (["CREATE TABLE nested AS SELECT '{1,2}'::int[] AS n"], ["UPDATE nested SET n = '{{1,2}}'"], True),
    "reordered": (
        ["CREATE TABLE reordered (id int, v text)", "INSERT INTO reordered VALUES (1, 'a'), (2, 'b')"],
        ["TRUNCATE reordered", "INSERT INTO reordered VALUES (2, 'b'), (1, 'a')"],
        False,
    ),
    "replaced": (
        [
            "CREATE TABLE replaced (gone int, id int, v text)",
            "INSERT INTO replaced VALUES (NULL, 1, 'a')",
            "ALTER TABLE replaced DROP gone",
        ],
        ["DROP TABLE replaced", "CREATE TABLE replaced (v text, id int)", "INSERT INTO replaced VALUES ('a', 1)"],
        False,
    ),
    "computed": (
        ["CREATE TABLE computed (id int, twice int GENERATED ALWAYS AS (id * 2) STORED)", "INSERT INTO computed VALUES (1)"],
        ["ALTER TABLE computed DROP twice", "ALTER TABLE computed ADD twice int GENERATED ALWAYS AS (id * 3) STORED"],
        False,
    ),
    "written": (
        [
            "CREATE TABLE written AS SELECT timestamptz '2026-11-27 01:02:03+09' AS at, date '2026-11-27' AS day, 1/3::float8 AS third,"
            " bytea '\\\\x00ff' AS bytes, interval '1 day 2 hours' AS lasting, money '1.5' AS money, 'users'::regclass AS class, '{1.5}'::float8[] AS many"
        ],
        [
            f"ALTER DATABASE awkward SET {setting}"
            for setting in ("DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "extra_float_digits = -5", "bytea_output = escape")
        ]
        + ["ALTER DATABASE awkward SET IntervalStyle = iso_8601", "ALTER DATABASE awkward SET quote_all_identifiers = on"],
        False,
    ),
}


@pytest.mark.core
def test_what_a_table_holds_is_told_from_what_it_held(of_its_own: Server, controller: Controller) -> None:
    of_its_own.do("CREATE DATABASE awkward", database="postgres")
    beginning = ["CREATE EXTENSION citext", "CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE TABLE users (id int)"]
    of_its_own.do(*beginning, *(statement for made, _changed, _other in DIGESTED.values() for statement in made), database="awkward")
    before = contents_of(controller, of_its_own)
    of_its_own.do(*(statement for _made, changed, _other in DIGESTED.values() for statement in changed), database="awkward")
    after = contents_of(controller, of_its_own)
    assert set(before) == set(after) == {f"public.{table}" for table in [*DIGESTED, "users"]}
    assert {name for name in before if before[name] != after[name]} == {
        f"public.{name}" for name, (*_rest, other) in DIGESTED.items() if other
    }


def contents_of(controller: Controller, server: Server) -> dict[str, str]:
    made = controller.run("backup", "-l", "production", dbops_database="awkward", dbops_backends=[])
    assert made.ok, made.output
    return json.loads(Path(made.result()["backup"]["path"], "manifest.json").read_text(encoding="utf-8"))["contents"]


def test_a_backup_whose_rows_were_exchanged_and_its_sums_made_anew_is_seen(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    """As many rows as before, files that are what the manifest says, a seal that fits: only what the tables hold tells."""
    [first, second] = [Path(controller.run("backup", "-l", "production").result()["backup"]["path"]) for _time in range(2)]
    production.do("UPDATE users SET name = 'somebody else' WHERE id = (SELECT min(id) FROM users)")
    third = Path(controller.run("backup", "-l", "production").result()["backup"]["path"])
    stack.as_deploy(f"rm -r {first}/dump && cp -r {third}/dump {first}/dump")
    manifests = [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in (first, third)]
    forged = {**manifests[0], "files": manifests[1]["files"]}
    forged.pop("seal")
    forged["seal"] = hashlib.sha256(json.dumps(forged, sort_keys=True).encode()).hexdigest()
    (first / "manifest.json").write_text(json.dumps(forged), encoding="utf-8")
    whole = production.dump()
    wanted = {"dbops_confirm": "restore:chat", "dbops_restore_keep": 0}
    refused = controller.run("restore", "-l", "production", **wanted, dbops_restore_backup=first.name)
    assert not refused.ok and "table public.users holds other values than were backed up" in refused.message, refused.output
    assert production.dump() == whole
    done = controller.run("restore", "-l", "production", **wanted, dbops_restore_backup=second.name)
    assert done.ok and "count and contents of every table compared with the manifest" in done.summary, done.output


# --- definitions in other words ------------------------------------------------------------------------------------------

#: PostgreSQL writes each of these in other words once it has read its own text of it, as a sandbox and a restore do.
TWO_WORDINGS = (
    """
    CREATE TYPE mood AS ENUM ('ok', 'sad')
    """,
    """
    CREATE DOMAIN code AS varchar(8) CHECK (VALUE IN ('x', 'y') AND (VALUE <> 'z' AND length(VALUE) > 0))
    """,
    """
    CREATE TABLE kinds (
    kind varchar(10) DEFAULT 'a' CHECK (kind IN ('a','b', 'it''s')), n int DEFAULT -1, m mood DEFAULT 'ok', c code,
    at timestamptz DEFAULT (now() AT TIME ZONE 'utc'), price numeric(10,2) DEFAULT 1.50, tags text[] DEFAULT ARRAY['a','b']::varchar[],
    twice int GENERATED ALWAYS AS (n * 2 + (3 - 1)) STORED, chars char(3) CHECK (chars NOT IN ('abc', 'def')),
    CHECK (n BETWEEN 1 AND 5 AND n <> 3 AND (n > 0 OR (n < 9 OR n = 7))), CHECK (m IN ('ok') OR (kind LIKE 'a%' AND kind NOT SIMILAR TO 'b%')),
    CHECK ((n > 1 AND (n > 2 AND n > 3)) IS NOT FALSE), CHECK (at > '2020-01-01' AND extract(year FROM at) < 3000), CHECK (price::int IN (1, 2)
    OR price IN (1.5, 2))
    )
    """,
    """
    CREATE INDEX kinds_some ON kinds (lower(kind), (n + 1)) WHERE kind IN ('a','b') AND n > 0 AND m = 'ok'
    """,
    """
    CREATE INDEX kinds_expr ON kinds ((kind IN ('a', 'b')), (CASE WHEN n > 1 AND n < 5 AND n <> 3 THEN kind ELSE 'z' END))
    """,
    """
    CREATE VIEW seen AS SELECT k.*, count(*) OVER (PARTITION BY kind ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM kinds k WHERE
    kind IN ('a','b') AND n BETWEEN 1 AND 5 AND EXISTS (SELECT 1 FROM kinds x WHERE x.kind = ANY (ARRAY['a', k.kind]) AND (x.n, x.kind) IN
    (SELECT n, kind FROM kinds))
    """,
    """
    CREATE MATERIALIZED VIEW seen_too AS SELECT kind, substring(kind from 1 for 2) || '-' AS s, position('a' in kind) FROM kinds WHERE kind IN
    ('a','b') OR n IN (1,2) OR kind IS DISTINCT FROM 'q'
    """,
    """
    ALTER TABLE kinds ENABLE ROW LEVEL SECURITY
    """,
    """
    CREATE POLICY p ON kinds USING (kind IN ('a','b') AND current_user IN ('x','y') AND n > 0) WITH CHECK (n > 1 AND n < 4 AND n <> 3)
    """,
    """
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
    """,
    """
    CREATE TRIGGER touching BEFORE UPDATE ON kinds FOR EACH ROW WHEN (OLD.kind IN ('a','b') AND NEW.n > 1 AND NEW.n < 9) EXECUTE FUNCTION
    touch()
    """,
    """
    CREATE RULE r AS ON INSERT TO seen WHERE (NEW.kind IN ('a','b') AND NEW.n > 1 AND NEW.n < 5) DO INSTEAD NOTHING
    """,
    """
    CREATE STATISTICS st ON (kind IN ('a','b')), (n + 1) FROM kinds
    """,
    """
    ALTER TABLE kinds ADD EXCLUDE USING btree (kind WITH =, n WITH =) WHERE (kind IN ('a','b') AND n > 1 AND n < 5)
    """,
)


@pytest.mark.core
def test_a_definition_in_other_words_is_the_same(v1: None, controller: Controller, production: Server) -> None:
    """`kind IN ('a', 'b')` of a varchar stopped every plan: "the sandbox could not be given the same schema"."""
    production.do(*TWO_WORDINGS)
    for playbook, variables in (
        ("migrate", {}),
        ("backup", {}),
        ("verify_backups", {}),
        ("restore", {"dbops_restore_backup": "latest", "dbops_confirm": "restore:chat"}),
        ("verify_backups", {"dbops_verify_select": "all"}),
    ):
        checked = controller.run(playbook, "-l", "production", "--check", **variables)
        assert checked.ok, checked.output
        done = controller.run(playbook, "-l", "production", **variables)
        assert done.ok, done.output
        assert [warning for warning in done.result().get("warnings", []) if "schema" in warning] == []
        assert [text for proof in done.result().get("verified", []) for text in proof["not_compared"] if "definition" in text] == []
