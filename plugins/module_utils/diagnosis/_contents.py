# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of what is in the database: rows, rights, indexes, migrations; from gathered facts to findings."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.archive._journal import MIGRATES
from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import STATE_TABLES, is_state_table
from ansible_collections.dbops.postgres.plugins.module_utils.diagnosis._facts import Contents, Facts, Finding, Table, View
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text


def _own_tables(contents: Contents) -> list[Table]:
    """The applications' own: not those in which a runner keeps what it has done."""
    return [table for table in contents.tables if not is_state_table(table.schema, table.name, STATE_TABLES)]


def _is_empty(contents: Contents) -> bool:
    return all(table.rows is False for table in _own_tables(contents))


def check_server_is_the_same(facts: Facts) -> list[Finding]:
    """A server that was set up anew looks healthy and empty: only the journal knows that the data was on another one."""
    server, name = facts.server, facts.database_name
    ours = [entry for entry in facts.journal if entry.get("database") == name and entry.get("result") == "ok" and entry.get("server_id")]
    before = [entry for entry in ours if server and server.identifier and entry["server_id"] != server.identifier]
    if not server or not before or (facts.contents and not _is_empty(facts.contents)):
        return []
    backups = [str(entry["backup"]) for entry in before if entry.get("backup")]
    restore = "-e dbops_restore_backup=%s" % (backups[-1] if backups else "ID")
    return [
        Finding(
            "server_replaced",
            "the journal, and the server's own identity",
            "The server that answers is not the one that held database '%s' until %s (it is %s, that was %s)."
            % (name, before[-1].get("finished", "?"), server.identifier, before[-1]["server_id"]),
            "Its data volume was replaced, or another container answers: what the database held is not here. Do not migrate or seed first.",
            (
                "docker volume ls   # on the server: is the old volume still there? Then mount it again",
                "# if it is lost:",
                facts.playbook("restore", restore, "-e dbops_confirm=restore:%s" % name),
            ),
        )
    ]


def check_contents(facts: Facts) -> list[Finding]:
    """Tables that are empty, not there, or somewhere else than the applications look."""
    contents = facts.contents
    if contents is None:
        return []
    own = _own_tables(contents)
    found = []
    views = contents.views or (View(facts.user, ("public",)),)
    for view in views:
        found += _elsewhere(facts, view, own)
        found += _denied(facts, view, own)
    if not found and contents.elsewhere and not any(table.rows for table in own):
        names = "; ".join("database '%s' has rows in %s" % (name, ", ".join(tables[:3])) for name, tables in contents.elsewhere)
        where = contents.elsewhere[0][0]
        found.append(
            Finding(
                "data_elsewhere",
                "the tables of this and of the server's other databases",
                "Database '%s' %s, but %s."
                % (facts.database_name, "has no tables" if not own else "has rows in none of its tables", names),
                "The applications look in '%s', and the data is in the other one." % facts.database_name,
                (
                    facts.psql("SELECT relname, n_live_tup FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 10", where),
                    "# if that is the right one: name it in the applications' addresses and in dbops_database, or rename it",
                ),
            )
        )
    pending = facts.plan is not None and not facts.plan.empty
    if not found and own and not pending and _is_empty(contents):
        found.append(
            Finding(
                "tables_empty",
                "whether tables hold rows",
                "All %s of database '%s' are empty." % (count_text(len(own), "table"), facts.database_name),
                "The applications work and show nothing: it was migrated, and never seeded or restored.",
                (
                    facts.playbook("seed"),
                    "# or, if it once held data:",
                    facts.playbook("restore", "-e dbops_restore_backup=latest", "-e dbops_confirm=restore:%s" % facts.database_name),
                ),
            )
        )
    return found


def _elsewhere(facts: Facts, view: View, own: list[Table]) -> list[Finding]:
    """Another schema has what the application's own search path does not show."""
    seen = [table for table in own if table.schema in view.schemas]
    if any(table.rows or table.rows is None for table in seen):
        return []
    names = {table.name for table in seen}
    other = [table for table in own if table.schema not in view.schemas and table.rows and (not names or table.name in names)]
    if not other:
        return []
    schema = other[0].schema
    rows = ", ".join(table.full_name for table in other[:3])
    found = "Role '%s' looks in %s, where %s; rows are in schema '%s' (%s)." % (
        view.role,
        "schema " + ", ".join("'%s'" % name for name in view.schemas) if view.schemas else "no existing schema",
        "the tables are empty" if names else "there are no tables",
        schema,
        rows,
    )
    statement = 'ALTER ROLE "%s" IN DATABASE "%s" SET search_path TO "%s", public' % tuple(
        name.replace('"', '""') for name in (view.role, facts.database_name, schema)
    )
    return [
        Finding(
            "data_elsewhere",
            "in which schema the applications look",
            found,
            "The applications do not see the data, although it is there.",
            (facts.psql(statement), "# and restart the backends; or, if the data stands in the wrong schema, move it there"),
        )
    ]


def _denied(facts: Facts, view: View, own: list[Table]) -> list[Finding]:
    found = []
    looked = "what role '%s' may see" % view.role
    if view.denied or view.denied_schemas:
        what = (
            "may not use schema %s" % ", ".join("'%s'" % name for name in view.denied_schemas)
            if view.denied_schemas
            else "may not read %s" % _listed(view.denied)
        )
        schema = view.denied_schemas[0] if view.denied_schemas else view.denied[0].partition(".")[0]
        quoted = tuple('"%s"' % name.replace('"', '""') for name in (schema, view.role))
        do = (
            facts.psql("GRANT USAGE ON SCHEMA %s TO %s" % quoted),
            facts.psql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s" % quoted),
        )
        found.append(
            Finding(
                "grant_missing",
                looked,
                "Role '%s', which the applications use, %s." % (view.role, what),
                "Their queries fail with 'permission denied'; many programs show that as no data.",
                do,
            )
        )
    if view.hidden:
        tables = {table.full_name: table for table in own}
        without = [name for name in view.hidden if not tables[name].policies]
        kind = "rows_hidden" if without else "rows_may_be_hidden"
        reason = (
            "has no policy that lets anything through"
            if without
            else "has policies that let nothing through, unless the application sets what they ask for"
        )
        name = (without or list(view.hidden))[0]
        schema, _dot, table = name.partition(".")
        found.append(
            Finding(
                kind,
                looked,
                "Row-level security hides every row of %s from role '%s': it is on, and %s."
                % (_listed(without or view.hidden), view.role, reason),
                "The applications get empty results without any error.",
                (
                    facts.psql("SELECT policyname, roles, cmd, qual FROM pg_policies WHERE schemaname = '%s'" % schema.replace("'", "''")),
                    "# add the policy that is missing, or switch it off again:",
                    facts.psql('ALTER TABLE "%s"."%s" DISABLE ROW LEVEL SECURITY' % (schema, table)),
                ),
            )
        )
    return found


def _listed(names: t.Sequence[str]) -> str:
    return ", ".join(names[:4]) + (" and %d more" % (len(names) - 4) if len(names) > 4 else "")


def check_indexes(facts: Facts) -> list[Finding]:
    if facts.contents is None or not facts.contents.invalid_indexes:
        return []
    names = facts.contents.invalid_indexes
    do = (
        facts.psql("DROP INDEX CONCURRENTLY " + names[0]),
        "# then make it anew, or:",
        facts.psql("REINDEX INDEX CONCURRENTLY " + names[0]),
    )
    return [
        Finding(
            "index_invalid",
            "the indexes",
            "%s invalid: %s." % ("An index is" if len(names) == 1 else "Indexes are", _listed(names)),
            "A CREATE INDEX CONCURRENTLY failed and left it: it costs every write, helps no query, enforces nothing, and stops the next migration.",
            do,
        )
    ]


def check_migration(facts: Facts) -> list[Finding]:
    """A migration that was left half-way, or one that is pending."""
    found = []
    last = next(
        (
            entry
            for entry in reversed(facts.journal)
            if entry.get("operation") in (*MIGRATES, "restore", "reset")
            and entry.get("result") in ("ok", "failed")
            and (entry.get("changed") or entry.get("result") == "failed")
        ),
        None,
    )
    message = str(last.get("message", "")) if last and last.get("operation") in MIGRATES and last.get("result") == "failed" else ""
    if "The schema was left changed" in message or "is not the planned one" in message:
        back = re.search(r"ansible-playbook restore\.yml[^|]*?dbops_confirm=\S+", message)
        found.append(
            Finding(
                "migration_half_applied",
                "the journal, and the indexes",
                "The last migration (run %s) failed and left the schema changed." % last["run_id"] if last else "",
                "The database is neither what the old backend wants nor what the new one wants.",
                (("# go back to the backup made before it:", back.group()) if back else ())
                + ("# or put right what it says, and run it again:", facts.playbook("migrate", "--check --diff")),
                (message[:400],),
            )
        )
    plan = facts.plan
    if plan and plan.endless:
        found.append(
            Finding(
                "migration_endless",
                "what the newest backend's migration would do (in a sandbox)",
                "The migration does not end: %s" % plan.trouble,
                "It would hold its locks for as long, with everybody waiting behind them. Where it only needs more time, give it that with"
                " -e dbops_plan_timeout=SECONDS.",
                (facts.playbook("migrate", "--check --diff"),),
            )
        )
    elif plan and plan.trouble:
        found.append(
            Finding(
                "plan_failed",
                "what the newest backend's migration would do (in a sandbox)",
                "The pending migration could not be planned: %s" % plan.trouble,
                "Whether the schema is what the backend wants is not known.",
                (facts.playbook("migrate", "--check --diff"),),
            )
        )
    elif plan and not plan.empty:
        complaints = [line for name in facts.logs for line in [facts.logs[name].mentions("does not exist")] if line]
        found.append(
            Finding(
                "migration_pending",
                "what the newest backend's migration would do (in a sandbox)",
                "Image '%s' runs, but its migration was not: %s pending on database '%s'."
                % (plan.image, count_text(plan.statements, "statement"), facts.database_name),
                "The backend asks for columns and tables that are not there.",
                (facts.playbook("migrate", "--check --diff"), facts.playbook("migrate")),
                tuple(list(plan.changes) + complaints[:2]),
            )
        )
    return found


CHECKS: tuple[t.Callable[[Facts], list[Finding]], ...] = (check_server_is_the_same, check_contents, check_indexes, check_migration)
