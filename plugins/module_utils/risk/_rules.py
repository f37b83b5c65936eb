# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules as data: a stable id, what is wrong with it, and the safer way.

Where squawk (https://squawkhq.com/docs/rules) or strong_migrations (https://github.com/ankane/strong_migrations) has a rule for the
same thing, the id is theirs. ``docs/risks.md`` is made from this file.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.IntEnum):
    """How bad it is for this database, the worst last."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    DESTRUCTIVE = 4

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Rule:
    """``why`` and ``safer`` are sentences; names in braces are filled in for the object that is meant."""

    id: str
    why: str
    safer: str


_ALL = (
    # --- what goes away
    Rule(
        "ban-drop-table",
        "Its rows are gone, and an application that still reads it fails.",
        "Deploy first what no longer uses it, rename it for a while ({rename}), and drop it in a later migration.",
    ),
    Rule(
        "ban-drop-column",
        "What it holds is gone, and an application that still names it fails.",
        "Deploy first what no longer names it, keep the column for a while (without NOT NULL: {nullable}), and drop it in a later migration.",
    ),
    Rule(
        "ban-drop-constraint",
        "From then on nothing keeps rows out that it forbade; to have it back, every row must keep to it.",
        "Make sure that the application checks it, or replace it by the new one first: add that NOT VALID, validate it, then drop this one.",
    ),
    Rule(
        "ban-drop-index",
        "Queries that used it read the whole table.",
        "See that nobody uses it (idx_scan in pg_stat_user_indexes), then beforehand, outside of a transaction: {instead}",
    ),
    Rule("ban-drop-view", "An application that still reads it fails.", "Deploy first what no longer reads it."),
    Rule(
        "ban-drop-sequence",
        "What still takes numbers from it fails, and where it stood is lost.",
        "Deploy first what no longer uses it; note where it stands (SELECT last_value FROM {name}).",
    ),
    Rule("ban-drop-type", "An application that still names it fails.", "Deploy first what no longer names it."),
    Rule("ban-drop-schema", "An application that still looks there fails.", "Deploy first what no longer looks there."),
    Rule(
        "drop-cascade",
        "CASCADE took along what nobody has named.",
        "Drop what depends on it by name, so that everybody sees what goes, and leave out CASCADE.",
    ),
    Rule(
        "ban-truncate",
        "All rows are gone, and everybody waits meanwhile.",
        "Back up first; delete in batches where others work on the table.",
    ),
    # --- what is called otherwise
    Rule(
        "renaming-table",
        "The application that runs now knows it by its old name, and fails from the first statement on.",
        "Keep the old name until nobody uses it: CREATE VIEW {old} AS SELECT * FROM {name};",
    ),
    Rule(
        "renaming-column",
        "The application that runs now knows it by its old name, and fails from the first statement on.",
        "Add a new column, write both for a while, fill it in batches, deploy what reads the new one, drop the old one later.",
    ),
    Rule(
        "renaming-schema",
        "The application that runs now looks in it by its old name.",
        "Make the new schema beside it, and move one object after the other with views under the old names.",
    ),
    Rule(
        "renaming-enum-value",
        "The application that runs now writes the old value, which is an error from then on.",
        "Add the new value (ALTER TYPE {name} ADD VALUE ...), write it, then change the rows in batches; leave the old one.",
    ),
    Rule("renaming-object", "Whatever names it by its old name fails.", "Make a new one beside it and remove the old one later."),
    Rule(
        "ban-set-schema",
        "The application that runs now finds it no longer, unless the new schema is on its search_path.",
        "Leave a view under the old name: CREATE VIEW {old} AS SELECT * FROM {name};",
    ),
    # --- columns
    Rule(
        "changing-column-type",
        "The whole table and its indexes are written anew while nobody can read or write it.",
        "Add a column of the new type, keep both equal by a trigger, fill it in batches, then swap the two names in a short transaction.",
    ),
    Rule(
        "widening-column-type",
        "No row is touched; only an application that checks the length itself notices.",
        "Nothing: this is the safe way to change a type.",
    ),
    Rule(
        "narrowing-column-type",
        "A value that does not fit stops the migration, and what a cast cuts off is lost.",
        "Look first which rows do not fit, change them in batches, and add a CHECK (NOT VALID, then VALIDATE) instead of a narrower type.",
    ),
    Rule(
        "changing-time-zone-type",
        "Between timestamp with and without time zone every value is read in the TimeZone of the session that happens to migrate.",
        "Say which zone is meant (USING {column} AT TIME ZONE 'UTC'), in a new column that is filled in batches.",
    ),
    Rule(
        "adding-not-nullable-field",
        "Every row is read while nobody can read or write the table, and one NULL stops the migration.",
        "Beforehand: {instead}",
    ),
    Rule(
        "adding-required-field",
        "Without a default no row that is there can have it, and an older application cannot insert any.",
        "Add it with a DEFAULT, or without NOT NULL and fill it in batches: {instead}",
    ),
    Rule(
        "dropping-not-null",
        "An application that does not expect NULL may read one.",
        "Deploy first what can read NULL.",
    ),
    Rule(
        "adding-field-with-volatile-default",
        "The default is another one for each row, so the whole table is written anew while nobody can read or write it.",
        "Beforehand: {instead}",
    ),
    Rule(
        "adding-stored-generated-column",
        "It is computed for each row, so the whole table is written anew while nobody can read or write it.",
        "Add an ordinary column that a trigger fills, and fill the rows that are there in batches.",
    ),
    Rule(
        "adding-serial-field",
        "Each row gets a number, so the whole table is written anew while nobody can read or write it.",
        "Beforehand: {instead}",
    ),
    Rule(
        "changing-default",
        "Rows that an older application inserts get the new value.",
        "Nothing, where both values are right for both versions.",
    ),
    Rule(
        "prefer-bigint-over-int",
        "Its numbers end soon, and then nothing can be inserted.",
        "Plan the move to bigint now: a new column, filled in batches, swapped by name.",
    ),
    Rule("json-column", "The type json cannot be compared: SELECT DISTINCT, GROUP BY and UNION on it fail.", "Use jsonb."),
    Rule(
        "identifier-too-long",
        "PostgreSQL cuts a name off at 63 bytes, so the runner looks for another one than there is.",
        "Give it a shorter name.",
    ),
    # --- constraints
    Rule(
        "constraint-missing-not-valid",
        "Every row is read while nobody can read or write the table, and one that breaks it stops the migration.",
        "Beforehand, in two transactions: {instead}",
    ),
    Rule(
        "adding-foreign-key-constraint",
        "Every row is looked up in the other table while nobody can write either of them; one without a match stops the migration.",
        "Beforehand, in two transactions: {instead}",
    ),
    Rule(
        "foreign-key-without-index",
        "Each DELETE of a row of {references} reads the whole of {table}.",
        "Beforehand, outside of a transaction: {instead}",
    ),
    Rule(
        "disallowed-unique-constraint",
        "Its index is built while nobody can read or write the table, and one duplicate stops the migration.",
        "Beforehand, outside of a transaction: {instead}",
    ),
    Rule(
        "adding-primary-key",
        "Its index is built while nobody can read or write the table; one duplicate or NULL stops the migration.",
        "Beforehand, outside of a transaction: {instead}",
    ),
    Rule(
        "adding-exclusion-constraint",
        "Its index is built while nobody can read or write the table, and two rows that exclude each other stop the migration.",
        "There is no way around: choose a quiet hour, and rehearse it.",
    ),
    # --- indexes and whole tables
    Rule(
        "require-concurrent-index-creation",
        "It is built while nobody can write the table.",
        "Beforehand, outside of a transaction: {instead}",
    ),
    Rule(
        "rebuilding-index",
        "It is built anew while nobody can write the table, nor read what needs it.",
        "Beforehand, outside of a transaction: {instead}",
    ),
    Rule(
        "prefer-repack",
        "The whole table is written anew while nobody can read or write it.",
        "Leave it to autovacuum, or use pg_repack, which works beside the application.",
    ),
    Rule(
        "rewriting-table",
        "The whole table is written anew while nobody can read or write it.",
        "Add what is new beside it, fill it in batches, and swap the two names in a short transaction.",
    ),
    Rule(
        "refreshing-materialized-view",
        "Nobody can read it until it is filled.",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY {name}, which needs a unique index on it.",
    ),
    Rule(
        "changing-persistence",
        "The whole table is written anew while nobody can read or write it; an unlogged one is empty after a crash and on replicas.",
        "Make a new table of that kind, copy in batches, and swap the two names.",
    ),
    Rule(
        "moving-tablespace",
        "All its bytes are copied while nobody can read or write it.",
        "Indexes can be moved beside the application (REINDEX (TABLESPACE ...) CONCURRENTLY); for a table choose a quiet hour, or pg_repack.",
    ),
    Rule(
        "attaching-partition",
        "Every row of the new partition is read under lock, unless a CHECK that says the same is there already.",
        "Beforehand: a CHECK constraint on {name} with the partition's bounds, NOT VALID, then VALIDATE.",
    ),
    Rule(
        "detaching-partition",
        "Nobody can read or write the partitioned table until it is done, and the rows are missing in it afterwards.",
        "Beforehand, outside of a transaction: {instead}",
    ),
    # --- what acts on rows
    Rule(
        "trigger-added",
        "From then on it runs for each statement, also for those of an older application.",
        "See that an older application can live with what it does.",
    ),
    Rule(
        "trigger-disabled",
        "What it kept right is not kept right from then on.",
        "Leave it enabled; let it pass over the rows that are meant.",
    ),
    Rule(
        "enabling-row-level-security",
        "Without a policy nobody but the owner sees a row any more.",
        "Make the policies in the same transaction, and try it as the application's role.",
    ),
    Rule(
        "enum-value-added",
        "An older application does not know the value, and in the transaction that adds it, it cannot be used.",
        "Deploy first what can read it; use it in a later migration.",
    ),
    Rule(
        "update-without-limit",
        "All its rows are locked until the transaction ends, written anew, and left for VACUUM.",
        "Change them in batches of some thousands, each in a transaction of its own, by a key: WHERE id BETWEEN ... AND ...",
    ),
    Rule(
        "delete-without-limit",
        "All rows are gone.",
        "Delete in batches by a key, after a backup; or keep them, marked as deleted.",
    ),
    Rule(
        "unseen-writes",
        "A block, a procedure or a query writes rows, and neither how many nor which can be seen where there are none.",
        "Write it as plain statements with a WHERE, in batches; or rehearse it on a copy.",
    ),
    # --- the server, and how it runs
    Rule("lock-table", "Everybody else waits until the transaction ends.", "Leave it out: each statement takes the lock that it needs."),
    Rule(
        "altering-server",
        "It reaches beyond this database, and no sandbox shows what it does; a backup of the database does not bring it back.",
        "Do it by hand or with community.postgresql, apart from the migration.",
    ),
    Rule(
        "extension-not-available",
        "The server's image has no such extension, so the migration stops.",
        "Use an image of the same major version that has it: dbops restores into it and compares.",
    ),
    Rule(
        "statements-outside-transaction",
        "It is done in several transactions: where one fails, what the others did stays.",
        "Nothing, where each of them may stand alone; see that the runner goes on where it stopped.",
    ),
    Rule(
        "ban-uncommitted-transaction",
        "The runner left a transaction open, and the server rolled it back when it went.",
        "Let the migration end with COMMIT.",
    ),
    Rule(
        "runner-not-content",
        "A second run of the same runner on its own result still wants something, so every deploy will change it again.",
        "Mend the definition so that the runner sees what it has made; for ent, set the name or type that PostgreSQL gives it.",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _ALL}
