# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a change of the image's C library or ICU: rebuild what sorts text, in every database of the server, then note the new version.

Uniqueness is looked at before anything is rebuilt: an index that lost its order has let duplicates in, and cannot be built anew over them.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import PRODUCTION
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.server._collation import collation_version
from ansible_collections.dbops.postgres.plugins.module_utils.server._function_paths import in_force
from ansible_collections.dbops.postgres.plugins.module_utils.server._lock import read_holder
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import attempt, execute, rows, sql, told_refusals
from ansible_collections.dbops.postgres.plugins.module_utils.server._text_order import TextIndex, TextOrder, leftovers, read_text_order
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError, Refused, ServerError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text, size_text

STOP, SKIP = "stop", "skip"

CLOSED = "it takes no connections"

#: The last column: whether its own locale is one that sorts otherwise than by bytes.
_DATABASES = """
SELECT datname, datallowconn, (datcollate NOT IN ('C', 'POSIX') OR coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'i')
    AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') <> 'b'
FROM pg_database d ORDER BY datname = 'template1', datname = 'postgres', datname
"""


@dataclass(frozen=True)
class RecollationOptions:
    """``everything``: rebuild all that sorts text, whatever the server knows of versions; ``wrong``: ``stop`` where rows are found that the new order
    does not allow, or ``skip`` what they are in."""

    everything: bool = False
    wrong: str = STOP


@dataclass(frozen=True)
class Standing:
    """One database of the server. ``recorded``, ``actual``: versions of its own collation; ``unknown``: why it was not looked into; ``sorts``: whether
    its own locale is one that sorts otherwise than by bytes."""

    database: str
    recorded: str
    actual: str
    order: TextOrder = field(default_factory=TextOrder)
    unknown: str = ""
    sorts: bool = True

    @property
    def differs(self) -> bool:
        """Also where the library of now tells no version: it is another one then."""
        return bool(self.recorded) and self.recorded != self.actual

    @property
    def notable(self) -> bool:
        return self.differs and bool(self.actual)

    @property
    def silent(self) -> bool:
        """Whether nobody has noted by what it was sorted."""
        return self.sorts and not self.recorded and self.database != "template0"

    @property
    def indexes(self) -> list[TextIndex]:
        """Those that can be built: none over duplicates."""
        wrong = {item.name for item in self.order.wrong}
        return [index for index in self.order.indexes if index.name not in wrong]

    def statements(self) -> list[str]:
        """What is done there, in order. Where a row is wrong the versions stay the old ones, to say so."""
        found = ["DROP INDEX CONCURRENTLY %s" % name for name in self.order.leftovers]
        found += [index.statement for index in self.indexes]
        if self.unknown or self.order.wrong:
            return found
        found += ["ALTER COLLATION %s REFRESH VERSION" % name for name in self.order.collations]
        return found + ([_refresh(self.database)] if self.notable else [])

    def facts(self) -> dict[str, t.Any]:
        indexes = [{**asdict(index), "concurrently": not index.exclusion} for index in self.order.indexes]
        kept = ("name", "table", "unique", "size", "concurrently")
        return {
            "database": self.database,
            "recorded": self.recorded,
            "actual": self.actual,
            "collations": list(self.order.collations),
            "indexes": [{name: index[name] for name in kept} for index in indexes],
            "wrong": [asdict(wrong) for wrong in self.order.wrong],
            "unknown": self.unknown,
        }


def _refresh(database: str) -> str:
    return "ALTER DATABASE %s REFRESH COLLATION VERSION" % ('"%s"' % database.replace('"', '""'))


def recollate(operation: Operation, options: RecollationOptions) -> Result:
    """
    :raises Refused: where rows are in the way; nothing was touched then.
    :raises DbopsError: where something could not be rebuilt; the rest was.
    """
    operation.enter("recollate: look")
    standings = [
        _look(operation, name, open_to_all, sorts, options) for name, open_to_all, sorts in rows(operation.maintenance, _DATABASES)
    ]
    _warn(operation, standings, options)
    _require_right_rows(operation, standings, options)
    todo = {standing.database: standing.statements() for standing in standings}
    diff = {"prepared": "".join("-- in %s\n%s\n" % (name, ";\n".join(done) + ";") for name, done in todo.items() if done)}
    facts = {"databases": [standing.facts() for standing in standings]}
    if not any(todo.values()):
        told = "Nothing to rebuild: as far as the server knows, text sorts as it did when its databases were made."
        return Result(False, [told, *_not_looked_at()], facts, diff)
    if operation.check_mode:
        return Result(True, ["Would rebuild %s." % _extent(standings), *_by_database(standings), *_not_looked_at()], facts, diff)
    operation.enter("recollate: rebuild")
    failures = [failure for standing in standings for failure in _carry_out(operation, standing)]
    if failures:
        raise DbopsError(
            "Not all of it could be rebuilt: %s The rest is done, and the versions of these databases are not noted as new, so type the same line again"
            " when that is put right." % " ".join(failures[:5]),
            databases=facts["databases"],
        )
    return Result(True, ["Rebuilt %s." % _extent(standings), *_by_database(standings), *_not_looked_at()], facts, diff)


# --- looking ------------------------------------------------------------------------------------------------------------


def _look(operation: Operation, database: str, open_to_all: bool, sorts: bool, options: RecollationOptions) -> Standing:
    version = collation_version(operation.maintenance, database)
    known = Standing(database, version.recorded, version.actual, sorts=sorts)
    others = _others(operation, database)
    if others:
        return replace(known, unknown=others)
    if not open_to_all:  # in template0 is nothing that anybody has made
        return known if database == "template0" else replace(known, unknown=CLOSED)
    try:
        with operation.session(database, read_only=True) as connection, told_refusals(connection):
            return replace(known, order=read_text_order(connection, known.differs, options.everything))
    except ServerError as error:
        return replace(known, unknown=error.message)


def _others(operation: Operation, database: str) -> str:
    """Why a database of the same server is not this run's: it is somebody's production, or somebody works on it."""
    if database == operation.database:
        return ""
    if operation.request.environment != PRODUCTION and database in operation.evidence.production_databases:
        return "it is marked production, and this run is not for production"
    holder = read_holder(operation.maintenance, database)
    return "another operation is at work there: %s" % holder if holder else ""


def _warn(operation: Operation, standings: t.Sequence[Standing], options: RecollationOptions) -> None:
    anything = options.everything or any(standing.statements() for standing in standings)
    for standing in standings:
        if standing.unknown and standing.database == operation.database:
            raise DbopsError("Database '%s' could not be looked into: %s" % (standing.database, standing.unknown))
        if standing.unknown and (anything or standing.differs or standing.unknown != CLOSED):
            operation.warnings.append(
                "Database '%s' was not looked into: %s. What sorts text there is of the old order, as far as anything is; run this again for it."
                % (standing.database, standing.unknown.rstrip("."))
            )
        for name in standing.order.invalid:
            operation.warnings.append(
                "Index %s in '%s' is invalid, left by a build that failed, and was left as it is." % (name, standing.database)
            )
        for name in standing.order.not_asked:
            operation.warnings.append(
                "Whether rows of %s in '%s' lie in the right part of the table could not be asked: its key has another collation than its column."
                % (name, standing.database)
            )
        if standing.differs and not standing.actual:
            operation.warnings.append(
                "The library of this image tells no version, so none can be noted for '%s': what is rebuilt now is not known to be so later."
                % standing.database
            )
    silent = [standing.database for standing in standings if standing.silent]
    if silent and not options.everything:
        operation.warnings.append(
            "How the own collation of %s sorted when it was made is not noted (PostgreSQL 14, and libraries that tell no version), so whether that has"
            " changed is not known. After a change of the image's C library, rebuild all that sorts text: -e dbops_recollate_everything=true"
            % ", ".join("'%s'" % name for name in silent[:5])
        )


def _require_right_rows(operation: Operation, standings: t.Sequence[Standing], options: RecollationOptions) -> None:
    wrong = ["In database '%s', %s" % (standing.database, item) for standing in standings for item in standing.order.wrong]
    if not wrong:
        return
    if options.wrong == SKIP:
        operation.warnings += wrong
        return
    told = (
        "%s\nPut the rows right (a backup first: ansible-playbook backup.yml -l %s), then type the same line again. To rebuild the rest meanwhile, and"
        % (
            "\n".join(wrong[:10]),
            operation.evidence.host,
        )
    )
    told += " leave what they are in as it is, which goes on to find rows or not: -e dbops_recollate_wrong=skip"
    if operation.check_mode:
        operation.warnings.append("A run would be refused. " + told)
        return
    raise Refused("Refused to rebuild: there are rows that the new order does not allow. Nothing was touched.\n" + told)


# --- doing it -----------------------------------------------------------------------------------------------------------


def _carry_out(operation: Operation, standing: Standing) -> list[str]:
    """Returns a sentence for each that failed; the versions are only noted where none did."""
    failures: list[str] = []
    if standing.order.indexes or standing.order.collations or standing.order.leftovers:
        with operation.session(standing.database) as connection, told_refusals(connection):
            for name in standing.order.leftovers:
                attempt(connection, "DROP INDEX CONCURRENTLY " + name)
            with in_force(connection):  # expressions may call functions that name no schema
                for index in standing.indexes:
                    failures += _rebuild(connection, standing.database, index)
                for table in dict.fromkeys(index.table for index in standing.order.indexes):
                    attempt(connection, "ANALYZE " + table)  # what the planner knows of the order of values is of the old one
            if not failures and not standing.order.wrong:
                for name in standing.order.collations:
                    refused = attempt(connection, "ALTER COLLATION %s REFRESH VERSION" % name)
                    failures += ["Collation %s in '%s': %s." % (name, standing.database, _line(refused))] if refused else []
    if standing.notable and not failures and not standing.order.wrong and not standing.unknown:
        refused = attempt(
            operation.maintenance, sql.SQL("ALTER DATABASE {} REFRESH COLLATION VERSION").format(sql.Identifier(standing.database))
        )
        failures += ["Database '%s': %s." % (standing.database, _line(refused))] if refused else []
    return failures


def _rebuild(connection: t.Any, database: str, index: TextIndex) -> list[str]:
    execute(connection, "SET lock_timeout = %s" % ("'5s'" if index.exclusion else "0"))
    refused = attempt(connection, index.statement)
    for name in leftovers(connection) if refused else []:
        attempt(connection, "DROP INDEX CONCURRENTLY " + name)
    return ["Index %s in '%s': %s." % (index.name, database, _line(refused))] if refused else []


def _line(text: str) -> str:
    return text.splitlines()[0].rstrip(".") if text else ""


# --- what is told -------------------------------------------------------------------------------------------------------


def _extent(standings: t.Sequence[Standing]) -> str:
    indexes = [index for standing in standings for index in standing.indexes]
    databases = [standing for standing in standings if standing.statements()]
    return "%s (%s) in %s" % (
        count_text(len(indexes), "index"),
        size_text(sum(index.size for index in indexes)),
        count_text(len(databases), "database"),
    )


def _by_database(standings: t.Sequence[Standing]) -> list[str]:
    told = []
    for standing in standings:
        if not standing.statements():
            continue
        locking = [index.name for index in standing.indexes if index.exclusion]
        version = (
            "version %s -> %s" % (standing.recorded, standing.actual)
            if standing.differs
            else count_text(len(standing.order.collations), "collation")
        )
        told.append(
            "%s: %s, %s%s"
            % (
                standing.database,
                count_text(len(standing.indexes), "index"),
                version,
                "; with its table locked meanwhile: " + ", ".join(locking) if locking else "",
            )
        )
    return told


def _not_looked_at() -> list[str]:
    return [
        "Not looked at: materialized views, stored generated columns, checks of domains and those that call functions, and replicas of another image, which"
        " sort by their own library."
    ]
