# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the runner on the real database under watch, and says what the server refused of it, which not every runner tells."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.dbops.postgres.plugins.module_utils.backend._runner import Runner, run_for_real
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import is_cut
from ansible_collections.dbops.postgres.plugins.module_utils.operation._watchdog import LockLimits, Queue, Watchdog
from ansible_collections.dbops.postgres.plugins.module_utils.server._postgres import session, value
from ansible_collections.dbops.postgres.plugins.module_utils.server._server_log import read_server_log, refused
from ansible_collections.dbops.postgres.plugins.module_utils.server._spans import Span
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import failure_facts, failures_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import count_text

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
    from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation
    from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import Failed

#: Bytes that are kept of the server's log of the run, of its beginning and of its end.
_KEPT_LOG = 16 * 1024 * 1024


@dataclass(frozen=True)
class Watched:
    """What came of a runner on the real database.

    :param waits: whom it had to wait for, where it waited too long; ``holds``: what it held too long, and whether it was ``ended`` for that.
    :param locks: the strong locks that it had, by the tables' oids; ``queue``: who had to wait behind it; ``slowest``: seconds and text;
        ``sees_others``: whether the role may see who waits.
    :param refused: what the server refused of it, as its log tells.
    :param uncertain: the same of sessions that came and went between two looks, so that they may be somebody else's.
    :param refused_unknown: why that is not known; ``where``: the line that shows the log of that time.
    """

    outcome: Outcome
    waits: list[str]
    refused: list[Failed] = field(default_factory=list)
    uncertain: list[Failed] = field(default_factory=list)
    refused_unknown: str = ""
    where: str = ""
    holds: tuple[str, ...] = ()
    ended: bool = False
    locks: tuple[Span, ...] = ()
    queue: Queue = field(default_factory=Queue)
    slowest: tuple[float, str] = (0.0, "")
    sees_others: bool = True

    def tell(self, operation: Operation, runner: Runner, told: t.Iterable[Failed] = (), executed: t.Iterable[str] = ()) -> Refused:
        """Warn of what the server refused of the runner.

        :param told: what was refused in the sandbox already, and told.
        :param executed: what the runner executed in the sandbox: whoever sends the same text here is the runner.
        """
        known, own = {failed.sql for failed in told}, set(executed)
        refused = [failed for failed in self.refused if failed.sql not in known]
        refused += [failed for failed in self.uncertain if failed.sql in own and failed.sql not in known]
        # Of somebody else's statement nothing is shown: it may hold what is not ours to see.
        foreign = [failed for failed in self.uncertain if failed.sql not in own | known]
        if refused:
            operation.warnings.append(
                "'%s' ended without an error, but while it ran on database '%s' the server refused: %s. Look whether its rows are as you want"
                " them." % (runner.command, operation.database, failures_text(refused))
            )
        unknown = self.refused_unknown
        if foreign:
            count = count_text(len(foreign), "statement")
            unknown = "%s refused of sessions too short to tell whose they were; to see them: %s" % (count, self.where)
        return Refused(tuple(refused), unknown)


@dataclass(frozen=True)
class Refused:
    """What the server refused of a runner, and what is not known of that."""

    statements: tuple[Failed, ...]
    unknown: str

    def facts(self) -> dict[str, t.Any]:
        return {"refused": failure_facts(self.statements), "refused_unknown": self.unknown}

    @property
    def not_known(self) -> list[str]:
        """For the summary: what nobody has looked at."""
        return ["Whether the server refused something of it meanwhile is not known: %s." % self.unknown] if self.unknown else []


def run_watched(operation: Operation, runner: Runner, purpose: str, timeout: float, limits: LockLimits | None = None) -> Watched:
    """Run the runner on the real database, and see what it does there."""
    name = "dbops-%s-%s" % (operation.run_id, purpose)

    def addresses() -> list[str]:
        try:
            return [endpoint.address for endpoint in operation.docker.container(name).endpoints if endpoint.address]
        except EngineError:
            return []

    target, application = operation.target, operation.application + " runner"
    begun = value(operation.maintenance, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    with session(target.address, target.maintenance_database, operation.application + " watchdog") as connection, Watchdog(
        connection, operation.database, application, addresses, limits or LockLimits()
    ) as watchdog:
        outcome = run_for_real(operation.docker, runner, name, operation.labels, application, timeout)
    if watchdog.trouble:
        operation.warnings.append("The watch over the runner's sessions ended early: %s" % watchdog.trouble)
    watched = Watched(
        outcome,
        watchdog.cancelled,
        holds=tuple(watchdog.long_holds.values()),
        ended=watchdog.ended_long_hold,
        locks=tuple(watchdog.held),
        queue=watchdog.queue,
        slowest=watchdog.slowest,
        sees_others=watchdog.sees_others,
    )
    return _with_refused(operation, begun, watchdog, watched)


def _with_refused(operation: Operation, begun: str, watchdog: Watchdog, watched: Watched) -> Watched:
    """With what the server's log says was refused of sessions that came and went with the runner, or why that is not known."""
    container = operation.target.container
    log = read_server_log(operation.maintenance)
    unknown = log.unreadable or ("the watch over the runner's sessions ended early" if watchdog.trouble else "")
    if unknown:
        return replace(watched, refused_unknown=unknown)
    try:
        read = operation.docker.read_log(container.id, begun, -1, _KEPT_LOG)
    except EngineError:
        read = None
    if read is None or read.rc != 0:
        return replace(watched, refused_unknown="the log of container '%s' cannot be read" % container.name)
    if is_cut(read.stderr):
        return replace(watched, refused_unknown="the log of container '%s' is too long for that time" % container.name)
    found = [failed for failed in refused(log, operation.database, read.stderr) if failed.session not in watchdog.others]
    return replace(
        watched,
        refused=[failed for failed in found if failed.session in watchdog.own],
        uncertain=[failed for failed in found if failed.session not in watchdog.own],
        where="docker logs --since %s %s" % (begun, container.name),
    )
