# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which operation needs which consent and which witnesses. Pure: decided before anything is touched.

A database is production until three witnesses agree that it is not: the inventory's environment of the host, the marker
inside the database (the setting ``dbops.environment``), and the server's identity pinned in the inventory. What is unknown
refuses.
"""

from __future__ import annotations

import enum
import fnmatch
import json
import re
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Refused

PRODUCTION = "production"


def environment_name(text: str) -> str:
    """How an environment is written: lower case, and production where nothing was said."""
    return text.strip().lower() or PRODUCTION


class Risk(enum.Enum):
    """What an operation can do to a database."""

    READ = "reads only"
    SAVE = "writes or removes backups, never the live database"
    ASIDE = "works beside the database, on backups that are there or on what the host runs by itself; nobody has to wait for it"
    FORWARD = "changes the database the way it is meant to"
    OVERWRITE = "replaces or adds data: needs consent wherever the database is not proved to be disposable"
    DISPOSABLE = "destroys data: only where the database is proved to be disposable"
    MARK = "writes the environment marker"


@dataclass(frozen=True)
class Evidence:
    """What the witnesses say.

    :param environment: the inventory's word.
    :param marker: the database's own word, empty where it is not marked.
    :param server_id: what the server says it is; ``pinned_server_id``: what the inventory says it must be, empty where not pinned.
    :param production_databases: the other databases on the server that are marked production.
    :param shared_server: the inventory says that production and others really share this server.
    """

    host: str
    database: str
    environment: str
    marker: str
    server_id: str
    pinned_server_id: str
    production_databases: tuple[str, ...] = ()
    shared_server: bool = False


@dataclass(frozen=True)
class Selection:
    """What a playbook was run on: the limit as it was typed, and the environments of all hosts that it selected."""

    limit: str
    environments: tuple[str, ...]


_PLAYBOOKS = {"reset": "preview_reset.yml"}


def decide(operation: str, risk: Risk, evidence: Evidence, confirm: str, selection: Selection | None, check_mode: bool) -> None:
    """:raises Refused: saying which witness said what, and how to put it right."""
    if risk is Risk.READ:
        return
    _require_pinned_server(operation, evidence)
    if risk in (Risk.SAVE, Risk.ASIDE):
        return
    if selection is not None:
        require_one_environment(operation, evidence, selection)
    if risk is Risk.MARK:
        if evidence.environment not in (PRODUCTION, evidence.marker) and not check_mode:
            reason = (
                "It would be marked '%s' (now: %s), which lets destructive operations run on it. Its server's identity is %s:"
                " if that is the right server, add 'dbops_server_id: \"%s\"' to '%s' in the inventory"
                % (
                    evidence.environment,
                    "'%s'" % evidence.marker if evidence.marker else "not marked",
                    evidence.server_id,
                    evidence.server_id,
                    evidence.host,
                )
            )
            _require_consent(operation, evidence, confirm, reason)
        return
    _require_agreement(operation, evidence)
    reasons = doubts(evidence)
    if risk is Risk.DISPOSABLE and reasons:
        raise Refused("Refused: '%s' is not proved to be disposable. %s Nothing was touched." % (evidence.database, " ".join(reasons)))
    if risk is Risk.OVERWRITE and reasons and not check_mode:
        _require_consent(
            operation,
            evidence,
            confirm,
            "'%s' on '%s' counts as production (%s)" % (evidence.database, evidence.host, reasons[0].rstrip(".")),
        )


def doubts(evidence: Evidence) -> list[str]:
    """Why a database counts as production, one sentence a witness, each with the way to put it right; empty when all agree that it is not."""
    if environment_name(evidence.environment) == PRODUCTION:
        return ["The inventory says that '%s' is production (dbops_environment)." % evidence.host]
    reasons = []
    if not evidence.marker or evidence.marker != evidence.environment:
        reasons.append(
            "The database is %s, the inventory says '%s': run 'ansible-playbook enroll.yml -l %s'."
            % ("marked '%s'" % evidence.marker if evidence.marker else "not marked", evidence.environment, evidence.host)
        )
    if not evidence.pinned_server_id:
        reasons.append(
            "The inventory pins no server: add 'dbops_server_id: \"%s\"' to '%s' if that is the right server."
            % (evidence.server_id, evidence.host)
        )
    elif evidence.pinned_server_id != evidence.server_id:
        reasons.append(wrong_server(evidence))
    if evidence.production_databases and not evidence.shared_server:
        reasons.append(
            "The same server holds %s, marked production: give '%s' a server of its own, or set dbops_shared_server."
            % (", ".join("'%s'" % name for name in evidence.production_databases), evidence.database)
        )
    return reasons


def require_one_environment(operation: str, evidence: Evidence, selection: Selection) -> None:
    """A run that changes data is for one environment, and only when that was asked for.

    What was selected counts, not whether there is a limit: ``-l ''`` selects everything and counts as a limit.
    """
    asked = "ansible-playbook %s -l %s" % (_PLAYBOOKS.get(operation, operation + ".yml"), evidence.environment)
    if len(set(selection.environments)) > 1:
        raise Refused(
            "This run would change %s at once: run one environment at a time, for example '%s'. Nothing was touched."
            % (" and ".join(sorted(set(selection.environments))), asked)
        )
    terms = [term.strip() for term in re.split(r"[,:](?![^\[]*\])", selection.limit) if term.strip()]
    positive = [term for term in terms if term[0] not in "!&"]
    if not positive:
        raise Refused("This run was not limited to an environment: say which one, for example '%s'. Nothing was touched." % asked)
    for term in positive:
        if _means_everything(term):
            raise Refused(
                "The limit '%s' means everything: name an environment or a host, for example '%s'. Nothing was touched."
                % (selection.limit, asked)
            )


def _means_everything(term: str) -> bool:
    """Whether one pattern of a limit (https://docs.ansible.com/ansible/latest/inventory_guide/intro_patterns.html) selects every host."""
    name = term.split("[", 1)[0] if not term.startswith("~") else term
    if not name.startswith("~"):
        return fnmatch.fnmatchcase("all", name) or not name.strip("*?")
    try:
        return bool(re.match(name[1:], "all"))
    except re.error:
        return True


def _require_pinned_server(operation: str, evidence: Evidence) -> None:
    if evidence.pinned_server_id and evidence.pinned_server_id != evidence.server_id:
        raise Refused("Refused to %s '%s': %s Nothing was touched." % (operation, evidence.database, wrong_server(evidence)))


def wrong_server(evidence: Evidence) -> str:
    return (
        "The inventory pins server %s for '%s', but the server that answers is %s: it is another server, or it was set up anew (then change dbops_server_id)."
        % (
            evidence.pinned_server_id,
            evidence.host,
            evidence.server_id,
        )
    )


def _require_agreement(operation: str, evidence: Evidence) -> None:
    if evidence.marker and evidence.marker != evidence.environment:
        raise Refused(
            "Refused to %s '%s': the inventory says '%s' (dbops_environment of '%s'), the database itself is marked '%s'. "
            "Correct the inventory, or mark the database anew with 'ansible-playbook enroll.yml -l %s'. Nothing was touched."
            % (operation, evidence.database, evidence.environment, evidence.host, evidence.marker, evidence.host)
        )


def consent_phrase(operation: str, database: str) -> str:
    return "%s:%s" % (operation, database)


def _require_consent(operation: str, evidence: Evidence, confirm: str, reason: str) -> None:
    wanted = consent_phrase(operation, evidence.database)
    if confirm == wanted:
        return
    given = " What was given, '%s', is for something else." % confirm if confirm else ""
    raise Refused(
        "Refused to %s '%s' without consent. %s.%s Add: %s"
        % (operation, evidence.database, reason, given, extra_variable("dbops_confirm", wanted)),
        confirm=wanted,
    )


def restore_command(evidence: Evidence, what: str) -> str:
    """The line that restores ``what`` (an id, or ``undo``), with the consent that it needs."""
    line = "ansible-playbook restore.yml -l %s %s" % (evidence.host, extra_variable("dbops_restore_backup", what))
    if doubts(evidence):
        line += " " + extra_variable("dbops_confirm", consent_phrase("restore", evidence.database))
    return line


def extra_variable(name: str, text: str) -> str:
    """``-e name=text``, as a person types it; as JSON where shell or Ansible would take the text apart."""
    if re.fullmatch(r"[\w@%+:,./-]+", text, re.ASCII):
        return "-e %s=%s" % (name, text)
    return "-e '%s'" % json.dumps({name: text}).replace("'", "'\"'\"'")
