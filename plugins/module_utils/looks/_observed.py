# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was seen of a database, and what is found to be the matter with it, as data."""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.operation import _guard

if t.TYPE_CHECKING:
    from ansible_collections.dbops.postgres.plugins.module_utils.server import _vitals


class Light(enum.IntEnum):
    """A traffic light; the higher the worse."""

    GREEN = 0
    YELLOW = 1
    RED = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """What is the matter: the check that found it, a sentence, and what to type (empty where there is no one command).

    ``detail``: more about it, for whoever looks closer.
    """

    check: str
    light: Light
    sentence: str
    command: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        facts = {"check": self.check, "light": self.light.word, "sentence": self.sentence, "command": self.command}
        return dict(facts, detail=self.detail)


@dataclass(frozen=True)
class Place:
    """Which database: inventory host, database, its server's container, and the role that asks."""

    host: str
    database: str
    container: str
    user: str = "postgres"
    environment: str = _guard.PRODUCTION

    @property
    def is_production(self) -> bool:
        return self.environment == _guard.PRODUCTION


@dataclass(frozen=True)
class Limits:
    """What the inventory says: hours after which a backup is due (0: none is), seconds that a transaction may take, hours that the newest
    proved backup, or the newest that has a copy elsewhere, may be old (0: none is expected)."""

    backup_hours: float = 24
    transaction_seconds: float = 300
    proof_hours: float = 0
    offsite_hours: float = 0


@dataclass(frozen=True)
class Backups:
    """The backups on the target. ``age`` in seconds; ``intact``: the newest one's files are there in full size; ``growth``: bytes a day.

    ``elsewhere``: where there is none of this server, the newest of another one (which this may have taken the place of).
    Each was verified when it was made: else it would not have its name. ``offsite``: the newest one of which a copy is elsewhere,
    as far as this host knows, with its age in seconds and the repository.
    ``proved``: the newest one that came back when it was restored, with its age in seconds and how many it took to restore; ``proof_trouble``:
    why the newest one did not.
    ``history``: of the last ones, oldest first, ``id``, ``created``, ``size`` in bytes and ``seconds``; ``retention``: the policy in words.
    """

    count: int = 0
    newest: str = ""
    created: str = ""
    age: float = 0
    size: int = 0
    intact: bool = True
    due: str = ""
    growth: float | None = None
    unreadable: tuple[str, ...] = ()
    offsite: str = ""
    offsite_at: str = ""
    offsite_age: float | None = None
    offsite_repository: str = ""
    elsewhere: str = ""
    restorable: str = "unknown"
    restorable_trouble: str = ""
    proved: str = ""
    proved_at: str = ""
    proved_age: float | None = None
    restore_seconds: float | None = None
    proof_trouble: str = ""
    history: tuple[dict[str, t.Any], ...] = ()
    retention: str = ""


@dataclass(frozen=True)
class Pending:
    """``state``: ``none``, ``pending`` or ``unknown``; ``source``: what says so, ``journal`` or ``sandbox``; ``trouble``: why it is unknown."""

    state: str = "unknown"
    source: str = ""
    statements: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Backend:
    """A backend's container; ``seconds`` since it was started last."""

    name: str
    image: str
    status: str
    health: str
    restarts: int
    seconds: float


@dataclass(frozen=True)
class Observed:
    """All that was seen. ``None`` is what is not known; ``unread``: what could not be read, and why."""

    place: Place
    server: dict[str, t.Any] | None = None
    evidence: _guard.Evidence | None = None
    uptime: float | None = None
    size: int | None = None
    connections: _vitals.Connections | None = None
    schema: str = ""
    last_migration: dict[str, t.Any] | None = None
    failed_operation: dict[str, t.Any] | None = None
    pending: Pending = field(default_factory=Pending)
    backups: Backups | None = None
    running: dict[str, t.Any] | None = None
    transaction: _vitals.Transaction | None = None
    waits: tuple[_vitals.Wait, ...] = ()
    slots: tuple[_vitals.Slot, ...] = ()
    free: int | None = None
    volume: int | None = None
    invalid_indexes: tuple[str, ...] = ()
    unvacuumed: tuple[_vitals.Table, ...] = ()
    sequences: tuple[_vitals.Sequence, ...] = ()
    ages: tuple[_vitals.Age, ...] = ()
    collations: _vitals.Collations | None = None
    kept: tuple[dict[str, t.Any], ...] = ()
    leftovers: tuple[str, ...] = ()
    blocked_by: str = ""
    backends: tuple[Backend, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def days_left(self) -> float | None:
        """Days until the volume is full, if the database goes on growing as between its backups."""
        growth = self.backups.growth if self.backups else None
        return self.free / growth if self.free is not None and growth and growth > 0 else None
