# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which gates there are, which of them hold for an environment, and how somebody overrules one."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

PASSED, FAILED, OVERRULED, NOT_APPLICABLE = "passed", "failed", "overruled", "not applicable"

#: Each gate, and what it may be told: hours, numbers.
KNOWN: dict[str, tuple[str, ...]] = {
    "backup": ("hours",),
    "proved": ("hours",),
    "preview": ("host",),
    "reviewed": (),
    "rehearsed": ("hours",),
    "window": ("time_zone", "days", "from", "to", "holidays"),
    "load": ("sessions", "transactions", "lag_seconds"),
    "compatible": (),
    "clean": (),
}

#: Without a word they would be open always.
_MUST_BE_TOLD = {"window", "load"}

_NUMBERS = {"hours", "sessions", "transactions", "lag_seconds"}

#: Where the inventory says nothing.
ON_PRODUCTION: dict[str, dict[str, t.Any]] = {"backup": {}, "preview": {}, "clean": {}}


@dataclass(frozen=True)
class Gate:
    """One point of the checklist. ``evidence``: what is known, also where it passed; ``line``: what to type or do where it failed."""

    name: str
    state: str
    evidence: str
    line: str = ""
    reason: str = ""

    def __str__(self) -> str:
        more = " Overruled: %s." % self.reason.rstrip(".") if self.state == OVERRULED else ""
        return "gate %s: %s. %s%s" % (self.name, self.state, self.evidence, more)


@dataclass(frozen=True)
class GateOptions:
    """``gates``: as the inventory has them, ``None`` where it says nothing; ``override``: names; ``previewed``: fingerprints of the shapes of
    schemas that the preview has run, ``None`` where that is not known, and ``preview_unknown`` says why."""

    gates: t.Mapping[str, t.Any] | None = None
    override: tuple[str, ...] = ()
    reason: str = ""
    previewed: t.Mapping[str, str] | None = None
    preview_host: str = ""
    preview_unknown: str = ""


def asks_its_checklist(environment: str, is_production: bool) -> bool:
    """Whether the gates, and the approval of what is risky, hold where the inventory says nothing: everywhere but on a preview and on what is
    proved to be disposable. ``prod`` is no other environment than production."""
    return is_production and environment != "preview"


def wanted(options: GateOptions, is_production: bool) -> dict[str, dict[str, t.Any]]:
    """The gates that hold, each with what it was told.

    :param is_production: whether they hold where the inventory says nothing.
    :raises DbopsError: for an unknown gate, an unknown word in one, or an override that makes no sense.
    """
    given = options.gates if options.gates is not None else ON_PRODUCTION if is_production else {}
    for name, told in given.items():
        if name not in KNOWN:
            raise DbopsError("There is no gate '%s' (dbops_migrate_gates): there are %s." % (name, ", ".join(KNOWN)))
        if not (told is None or isinstance(told, dict)) or set(told or {}) - set(KNOWN[name]):
            raise DbopsError(
                "The gate '%s' in dbops_migrate_gates takes %s, nothing else." % (name, " and ".join(KNOWN[name]) or "nothing: write {}")
            )
        if name in _MUST_BE_TOLD and not told:
            raise DbopsError("The gate '%s' in dbops_migrate_gates says nothing: it takes %s." % (name, " and ".join(KNOWN[name])))
        _require_numbers(name, told or {})
    unknown = [name for name in options.override if name not in KNOWN]
    if unknown:
        raise DbopsError("There is no gate '%s' to overrule (dbops_override): there are %s." % (unknown[0], ", ".join(KNOWN)))
    if options.override and not options.reason.strip():
        raise DbopsError(
            "A gate is overruled only with a reason, which goes into the journal: -e dbops_override=%s -e dbops_reason='why it may be'"
            % ",".join(options.override)
        )
    return {name: dict(told or {}) for name, told in given.items()}


def _require_numbers(name: str, told: t.Mapping[str, t.Any]) -> None:
    for word in _NUMBERS & set(told):
        try:
            right = float(told[word]) > 0
        except (TypeError, ValueError):
            right = False
        if not right:
            raise DbopsError("In the gate '%s' in dbops_migrate_gates, '%s' is a number above 0, not '%s'." % (name, word, told[word]))


def overrule(gates: t.Sequence[Gate], options: GateOptions) -> list[Gate]:
    """A gate that passes needs nobody's word."""
    return [
        replace(gate, state=OVERRULED, reason=options.reason.strip()) if gate.state == FAILED and gate.name in options.override else gate
        for gate in gates
    ]


def refusal(gates: t.Sequence[Gate]) -> str:
    """All that failed at once, a line each with what to type; empty where none did."""
    failed = [gate for gate in gates if gate.state == FAILED]
    told = ["%s: %s %s" % (gate.name, gate.evidence, gate.line) for gate in failed]
    if not failed:
        return ""
    names = ",".join(gate.name for gate in gates if gate.state in (FAILED, OVERRULED))
    return "%s\nTo go on all the same, in your name: -e dbops_override=%s -e dbops_reason='why it may be'" % ("\n".join(told), names)
