# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue as data: a snapshot, its fingerprint, the difference of two, and how that is shown.

A snapshot maps each object to its definition: ``{"column public.users.email": "character varying not null", ...}``. The order
of columns does not count, names and definitions do. What belongs to an extension is the extension's. Definitions come from
PostgreSQL's own functions (https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CATALOG).
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import execute, rows
from ansible_collections.dbops.postgres.plugins.module_utils.server._wording import canonical

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import Connection

Snapshot = t.Dict[str, str]

#: Where the plan keeps its own triggers and records inside a sandbox; never part of a snapshot.
OBSERVATION_SCHEMA = "dbops_observation"


def users_own(catalogue: str, oid: str) -> str:
    """The condition that an object (in schema ``n``) is a user's own, not the system's, an extension's or ours."""
    return (
        f"n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', '{OBSERVATION_SCHEMA}') AND NOT EXISTS"
        f" (SELECT 1 FROM pg_depend x WHERE x.classid = '{catalogue}'::regclass AND x.objid = {oid} AND x.deptype = 'e')"
    )


def _grants(acl: str, kind: str, owner: str) -> str:
    """Grants as sorted text. ``acldefault`` makes "never granted" and "granted what is the default" the same."""
    return f"""coalesce((
    SELECT ' grants ' || string_agg(g.who || '=' || g.what, ' ' ORDER BY g.who)
    FROM (
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who,
            string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ',' ORDER BY a.privilege_type) AS what
        FROM aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) a
        WHERE a.grantee <> {owner}
        GROUP BY 1
    ) g), '')"""


#: What begins the key of a definition that may hold an expression.
_WITH_EXPRESSIONS = (
    *("column ", "constraint ", "domain ", "index ", "materialized view ", "policy ", "rule ", "statistics ", "trigger ", "view "),
    *("type ", "publication "),
)

#: Which rules the snapshot is read by. Raise it with every change of a query, since what was read otherwise cannot be compared.
FORMAT = 1

#: One query for each kind of object; every query gives (key, definition).
_QUERIES = (
    # schemas
    f"""
SELECT format('schema %I', n.nspname), 'owner ' || quote_ident(pg_get_userbyid(n.nspowner)) || {_grants("n.nspacl", "n", "n.nspowner")}
FROM pg_namespace n
WHERE {users_own("pg_namespace", "n.oid")}
""",
    # tables, views, sequences
    f"""
SELECT
    format('%s %I.%I', CASE WHEN c.relkind IN ('r', 'p') THEN 'table' WHEN c.relkind = 'v' THEN 'view' WHEN c.relkind = 'm' THEN 'materialized view'
        WHEN c.relkind = 'f' THEN 'foreign table' ELSE 'sequence' END, n.nspname, c.relname),
    concat_ws(' ', 'owner ' || quote_ident(pg_get_userbyid(c.relowner)),
        CASE WHEN c.relpersistence = 'u' THEN 'unlogged' END,
        CASE WHEN c.relkind = 'p' THEN 'partition by ' || pg_get_partkeydef(c.oid) END,
        (SELECT string_agg(CASE WHEN c.relispartition THEN 'partition of ' ELSE 'inherits ' END || i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
            FROM pg_inherits i WHERE i.inhrelid = c.oid),
        pg_get_expr(c.relpartbound, c.oid),
        CASE WHEN c.relrowsecurity THEN 'row security' END,
        CASE WHEN c.relforcerowsecurity THEN 'forced' END,
        CASE WHEN c.relkind NOT IN ('r', 'p') THEN NULL
            WHEN c.relreplident = 'f' THEN 'replica identity full' WHEN c.relreplident = 'n' THEN 'replica identity nothing' END,
        'with ' || array_to_string(c.reloptions, ','),
        CASE WHEN c.relkind IN ('v', 'm') THEN E'as\n' || pg_get_viewdef(c.oid) END,
        (SELECT format('%s start %s increment %s min %s max %s cache %s%s', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
            s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END) FROM pg_sequence s WHERE s.seqrelid = c.oid),
        (SELECT 'owned by ' || format('%s.%I', d.refobjid::regclass, a.attname)
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
                AND d.deptype IN ('a', 'i')))
    || CASE WHEN c.relkind = 'S' THEN {_grants("c.relacl", "s", "c.relowner")} ELSE {_grants("c.relacl", "r", "c.relowner")} END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND {users_own("pg_class", "c.oid")}
""",
    # columns
    f"""
SELECT format('column %I.%I.%I', n.nspname, c.relname, a.attname),
    concat_ws(' ', format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation::text END,
        CASE WHEN a.attnotnull THEN 'not null' END,
        CASE WHEN a.attstorage <> t.typstorage THEN 'storage ' || a.attstorage::text END,
        CASE WHEN a.attcompression <> '' THEN 'compression ' || a.attcompression::text END,
        CASE WHEN coalesce(a.attstattarget, -1) <> -1 THEN 'statistics ' || a.attstattarget END,
        CASE WHEN a.attgenerated <> '' THEN 'generated ' || a.attgenerated::text || ' as ' || pg_get_expr(d.adbin, d.adrelid)
            WHEN d.adbin IS NOT NULL THEN 'default ' || pg_get_expr(d.adbin, d.adrelid) END,
        CASE WHEN a.attidentity = 'a' THEN 'identity always' WHEN a.attidentity = 'd' THEN 'identity by default' END,
        CASE WHEN a.attacl IS NOT NULL THEN 'grants ' || (SELECT string_agg(i::text, ' ' ORDER BY i::text) FROM unnest(a.attacl) i) END)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f', 'c') AND c.relpersistence <> 't' AND {users_own("pg_class", "c.oid")}
""",
    # constraints; "not null" is the column's
    f"""
SELECT format('constraint %I on %s', k.conname, k.conrelid::regclass),
    pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' NOT VALID' END
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND {users_own("pg_class", "c.oid")}
""",
    # indexes; one that a failed CREATE INDEX CONCURRENTLY left is invalid
    f"""
SELECT format('index %s', i.indexrelid::regclass),
    concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
        CASE WHEN i.indisreplident THEN 'replica identity' END, CASE WHEN i.indisclustered THEN 'clustered' END)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {users_own("pg_class", "c.oid")}
""",
    # triggers
    f"""
SELECT format('trigger %I on %s', g.tgname, g.tgrelid::regclass),
    concat_ws(' ', pg_get_triggerdef(g.oid), CASE WHEN g.tgenabled <> 'O' THEN 'enabled ' || g.tgenabled::text END)
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT g.tgisinternal AND {users_own("pg_class", "c.oid")}
""",
    # rules; a view's own is its definition
    f"""
SELECT format('rule %I on %s', r.rulename, r.ev_class::regclass), pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND {users_own("pg_class", "c.oid")}
""",
    # row security policies
    f"""
SELECT format('policy %I on %s', p.polname, p.polrelid::regclass),
    concat_ws(' ', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END, 'for ' || p.polcmd::text,
        'to ' || (SELECT string_agg(w.who, ',' ORDER BY w.who) FROM (
            SELECT CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END AS who FROM unnest(p.polroles) r) w),
        'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {users_own("pg_class", "c.oid")}
""",
    # functions, procedures, aggregates
    f"""
SELECT format('%s %s', CASE WHEN p.prokind = 'p' THEN 'procedure' WHEN p.prokind = 'a' THEN 'aggregate' ELSE 'function' END, p.oid::regprocedure),
    'owner ' || quote_ident(pg_get_userbyid(p.proowner)) || E'\n' || CASE WHEN p.prokind = 'a'
        THEN (SELECT concat_ws(' ', g.aggtransfn, g.aggfinalfn, g.aggtranstype::regtype, g.agginitval) FROM pg_aggregate g WHERE g.aggfnoid = p.oid)
        ELSE pg_get_functiondef(p.oid) END || {_grants("p.proacl", "f", "p.proowner")}
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {users_own("pg_proc", "p.oid")}
""",
    # types: enumerations, domains, ranges, composites
    f"""
SELECT format('type %s', t.oid::regtype), 'owner ' || quote_ident(pg_get_userbyid(t.typowner)) || ' ' || CASE t.typtype
    WHEN 'e' THEN 'enum ' || coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = t.oid), '')
    WHEN 'd' THEN concat_ws(' ', 'domain', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'not null' END, 'default ' || t.typdefault,
        (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
    WHEN 'r' THEN 'range of ' || (SELECT r.rngsubtype::regtype::text FROM pg_range r WHERE r.rngtypid = t.oid)
    ELSE 'composite' END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND {users_own("pg_type", "t.oid")}
""",
    # extensions
    """
SELECT format('extension %I', e.extname), 'version ' || e.extversion || ' in ' || quote_ident(n.nspname)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql'
""",
    # event triggers
    f"""
SELECT format('event trigger %I', e.evtname), concat_ws(' ', 'on', e.evtevent, e.evttags::text, 'execute', e.evtfoid::regprocedure, 'enabled', e.evtenabled)
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {users_own("pg_event_trigger", "e.oid")}
""",
    # extended statistics
    f"""
SELECT format('statistics %I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE {users_own("pg_statistic_ext", "s.oid")}
""",
    # publications
    """
SELECT format('publication %I', p.pubname),
    concat_ws(' ', CASE WHEN p.puballtables THEN 'all tables' END, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate,
        (SELECT string_agg(format('%I.%I', b.schemaname, b.tablename), ', ' ORDER BY b.schemaname, b.tablename)
            FROM pg_publication_tables b WHERE b.pubname = p.pubname AND NOT p.puballtables))
FROM pg_publication p
""",
    # default privileges
    """
SELECT format('default privileges of %s in %s for %s', pg_get_userbyid(d.defaclrole), coalesce(n.nspname, '(every schema)'), d.defaclobjtype),
    (SELECT string_agg(i::text, ' ' ORDER BY i::text) FROM unnest(d.defaclacl) i)
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
""",
    # comments on whatever a user made
    f"""
SELECT format('comment on %s %s', o.type, o.identity), d.description
FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) o
WHERE d.objoid >= 16384 AND coalesce(o.schema, '') NOT IN ('pg_catalog', 'information_schema', '{OBSERVATION_SCHEMA}')
    AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = d.classoid AND x.objid = d.objoid AND x.deptype = 'e')
""",
    # the rarer kinds, by their names
    """
SELECT format('%s %s', o.type, o.identity), ''
FROM (
    SELECT 'pg_collation'::regclass AS catalogue, oid FROM pg_collation UNION ALL
    SELECT 'pg_cast'::regclass, oid FROM pg_cast UNION ALL
    SELECT 'pg_operator'::regclass, oid FROM pg_operator UNION ALL
    SELECT 'pg_opclass'::regclass, oid FROM pg_opclass UNION ALL
    SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily UNION ALL
    SELECT 'pg_conversion'::regclass, oid FROM pg_conversion UNION ALL
    SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config UNION ALL
    SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict UNION ALL
    SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
) k, pg_identify_object(k.catalogue, k.oid, 0) o
WHERE k.oid >= 16384 AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = k.catalogue AND x.objid = k.oid AND x.deptype = 'e')
""",
)


@dataclass(frozen=True)
class Difference:
    """What turns one snapshot into another; ``changed`` maps an object to its old and new definition."""

    added: Snapshot
    removed: Snapshot
    changed: dict[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def read_snapshot(connection: Connection) -> Snapshot:
    """Read the catalogue of the connection's database. An empty search path makes every name in a definition a full one."""
    execute(connection, "SET search_path = ''")
    snapshot: Snapshot = {}
    for query in _QUERIES:
        for key, definition in rows(connection, query):
            snapshot[key] = definition
    return in_one_wording(snapshot)


def in_one_wording(snapshot: Snapshot) -> Snapshot:
    """A copy from a dump may have the same expressions in other words."""
    return {key: canonical(definition) if key.startswith(_WITH_EXPRESSIONS) else definition for key, definition in snapshot.items()}


def fingerprint(snapshot: Snapshot) -> str:
    """SHA-256 of the snapshot, 64 hexadecimal digits: equal for equal schemas, whatever the order in which they were made."""
    return hashlib.sha256(json.dumps(snapshot, sort_keys=True).encode()).hexdigest()


_OWNER = re.compile(r'^owner (?:"(?:[^"]|"")*"|\S+)\s?')
_GRANTS = re.compile(r" grants \S+=[A-Z,*]+(?: \S+=[A-Z,*]+)*$")


def shape(snapshot: Snapshot) -> Snapshot:
    """Without owners and rights: what two databases have in common whose roles are called otherwise."""
    kept = {key: definition for key, definition in snapshot.items() if not key.startswith("default privileges ")}
    return {key: _OWNER.sub("", _GRANTS.sub("", definition)) for key, definition in kept.items()}


def difference(before: Snapshot, after: Snapshot) -> Difference:
    return Difference(
        added={key: after[key] for key in sorted(set(after) - set(before))},
        removed={key: before[key] for key in sorted(set(before) - set(after))},
        changed={key: (before[key], after[key]) for key in sorted(set(before) & set(after)) if before[key] != after[key]},
    )


def render(change: Difference) -> list[str]:
    """One line an object, as a diff shows it: ``+`` new, ``-`` gone, ``~`` changed."""
    lines = ["- " + _line(key, definition) for key, definition in change.removed.items()]
    lines += ["+ " + _line(key, definition) for key, definition in change.added.items()]
    lines += ["~ %s: %s -> %s" % (key, _flat(old), _flat(new)) for key, (old, new) in change.changed.items()]
    return lines


def brief(change: Difference, most: int = 6) -> str:
    """The names of what changed, for a sentence: what belongs to a new or removed table is not named again."""
    names = []
    for sign, objects in (("-", change.removed), ("+", change.added), ("~", {key: new for key, (_old, new) in change.changed.items()})):
        whole = [key.partition(" ")[2] for key in objects if key.startswith("table ")]
        parts = {key for key, definition in objects.items() for table in whole if _belongs(key, definition, table)}
        names += ["%s %s" % (sign, key) for key in objects if key not in parts]
    more = ", and %d more" % (len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _belongs(key: str, definition: str, table: str) -> bool:
    """Whether an object is part of a table."""
    kind, _space, name = key.partition(" ")
    if kind in ("column", "comment"):
        return name.startswith((table + ".", "on column %s." % table)) or name == "on table " + table
    if kind == "index":
        return " ON %s " % table in definition or " ON ONLY %s " % table in definition
    if kind == "sequence":
        return " owned by %s." % table in definition
    return key.endswith(" on " + table)


def tables(snapshot: Snapshot) -> list[str]:
    """The names of the tables, as ``\\dt`` would list them."""
    return sorted(key.partition(" ")[2] for key in snapshot if key.startswith("table "))


def _line(key: str, definition: str) -> str:
    return "%s %s" % (key, _flat(definition)) if definition else key


def _flat(definition: str) -> str:
    return " ".join(definition.split())
