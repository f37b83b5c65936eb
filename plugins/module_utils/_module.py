# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules' shared face: the shared options, one way in, one way out, one failure path."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import signal
import sys
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url  # type: ignore[import-untyped]

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _journal, _metrics
from ansible_collections.dbops.postgres.plugins.module_utils.archive._age import Encryption
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import Archive
from ansible_collections.dbops.postgres.plugins.module_utils.notification import _post
from ansible_collections.dbops.postgres.plugins.module_utils.notification._message import FAILURE, RECOVERY, SUCCESS, Told, kind_of
from ansible_collections.dbops.postgres.plugins.module_utils.operation._begin import begin
from ansible_collections.dbops.postgres.plugins.module_utils.operation._guard import Risk, Selection, environment_name
from ansible_collections.dbops.postgres.plugins.module_utils.operation._lost import state_after_failure
from ansible_collections.dbops.postgres.plugins.module_utils.operation._operation import Operation, Result
from ansible_collections.dbops.postgres.plugins.module_utils.operation._request import Caller, Inquiry, Request, facts_before, new_run_id
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import TargetOptions
from ansible_collections.dbops.postgres.plugins.module_utils.progress import _own_process, _run_files
from ansible_collections.dbops.postgres.plugins.module_utils.progress._progress import Progress
from ansible_collections.dbops.postgres.plugins.module_utils.progress._run_files import RunFiles
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import Busy, DbopsError, Interrupted, Refused
from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import Redactor
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import timestamp, utc_now

#: The shared options; documented in the fragment ``dbops.postgres.target``.
TARGET_ARGSPEC: dict[str, t.Any] = {
    "container": {"type": "str"},
    "compose_project": {"type": "str"},
    "compose_service": {"type": "str"},
    "database": {"type": "str", "required": True},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "port": {"type": "int", "default": 5432},
    "maintenance_database": {"type": "str", "default": "postgres"},
    "environment": {"type": "str", "default": "production"},
    "server_id": {"type": "str"},
    "shared_server": {"type": "bool", "default": False},
    "backup_dir": {"type": "path", "required": True},
    "backends": {"type": "list", "elements": "str", "default": []},
    "runner_container": {"type": "str"},
    "branch": {"type": "str"},
    "branch_label": {"type": "str"},
    "confirm": {"type": "str"},
    "lock_wait": {"type": "int", "default": 0},
    "docker_host": {"type": "str"},
    "metrics_dir": {"type": "path"},
    "encryption": {
        "type": "dict",
        "options": {
            "recipients": {"type": "list", "elements": "str", "default": []},
            "identity": {"type": "str", "no_log": True},
            "identity_file": {"type": "path"},
            "program": {"type": "str", "default": "age"},
            "image": {"type": "str"},
        },
    },
    "following": {
        "type": "dict",
        "options": {
            "token": {"type": "str", "required": True, "no_log": False},
            "wait": {"type": "float", "default": 0},
            "only_known": {"type": "bool", "default": False},
        },
    },
    "notify": {
        "type": "dict",
        "options": {
            "webhook": {"type": "str", "no_log": True},
            "apprise": {"type": "list", "elements": "str", "no_log": True, "default": []},
            "events": {"type": "list", "elements": "str", "choices": [FAILURE, RECOVERY, SUCCESS], "default": [FAILURE, RECOVERY]},
            "heartbeats": {"type": "dict", "no_log": True, "default": {}},
            "heartbeat_style": {"type": "str", "choices": ["healthchecks", "plain"], "default": "healthchecks"},
        },
    },
    "play": {
        "type": "dict",
        "options": {
            "host": {"type": "str"},
            "limit": {"type": "str"},
            "environments": {"type": "list", "elements": "str"},
            "operator": {"type": "str"},
            "controller": {"type": "str"},
            "revision": {"type": "str"},
        },
    },
}


#: What two runs that were asked for the same may differ in, and what is not to be known even by its digest.
_NOT_ASKED_FOR = ("encryption", "following", "lock_wait", "play", "password", "notify", "offsite")


class DbopsModule(AnsibleModule):
    """A module of this collection. ``run`` is the only way out, so no module can forget the guard; ``examine`` is for what only reads.

    :param operation: the name that consent, lock and journal know (``restore``).
    :param risk: what the operation can do; there is no default on purpose.
    """

    def __init__(self, operation: str, risk: Risk, argument_spec: dict[str, t.Any] | None = None, **options: t.Any) -> None:
        spec = copy.deepcopy(TARGET_ARGSPEC)
        spec.update(argument_spec or {})
        self._redactor = Redactor()
        self._begun = time.monotonic()
        super().__init__(
            argument_spec=spec,
            supports_check_mode=True,
            required_one_of=[("container", "compose_service")],
            required_by={"compose_service": ("compose_project",)},
            mutually_exclusive=[("container", "compose_service")],
            **options,
        )
        self._operation = operation
        self._risk = risk

    def run(self, work: t.Callable[[Operation, dict[str, t.Any]], Result]) -> t.NoReturn:
        """Ask the guard, take the lock, do the work, write the journal, answer Ansible."""
        request = self._request()
        progress = self._in_a_process_of_its_own(request)
        run_id = new_run_id()
        started = timestamp(utc_now())
        _raise_on_signals()
        operation: Operation | None = None
        try:
            self._beat(request, _post.START)
            with begin(request, self._redactor, run_id, progress) as operation:
                result = work(operation, self.params)
        except (DbopsError, OSError) as error:
            self._fail(request, run_id, started, operation, error)
        self._succeed(request, operation, result)

    def examine(self, work: t.Callable[[Inquiry, dict[str, t.Any]], Result]) -> t.NoReturn:
        """For questions that need an answer also where there is no engine, container or server to ask: ``work`` begins operations itself.

        The question reads only, and nothing of it is written down.
        """
        request = self._request()
        inquiry = Inquiry(request, self._redactor, new_run_id(), timestamp(utc_now()))
        if self._risk is not Risk.READ:
            raise ValueError("%s does more than read" % self._operation)
        _raise_on_signals()
        try:
            result = work(inquiry, self.params)
        except (DbopsError, OSError) as error:
            self._fail(request, inquiry.run_id, inquiry.started, None, error)
        facts = facts_before(request, inquiry.run_id, inquiry.started, time.monotonic() - self._begun)
        self.exit_json(**self._redactor.data(dict(result.facts, changed=result.changed, summary=result.summary, operation=facts)))

    def _in_a_process_of_its_own(self, request: Request) -> Progress:
        """Where somebody follows the run, this returns in the run's own process only; the one that Ansible started answers, and is gone."""
        progress = Progress()
        asked = self.params["following"]
        if not asked or not request.writes:
            return progress
        wanted = self._wanted_run(request, asked["token"])
        known = _run_files.find(wanted)
        if known:
            self._answer_of(known, attached=known.token != wanted.token)
        if asked["only_known"]:
            self.fail_json(msg=wanted.gone())
        try:
            run = _own_process.part(wanted)
        except OSError:
            return progress  # without room for it, the run works here, and says nothing on the way
        if run is None:
            _own_process.tell(wanted, progress)
            return progress
        try:
            if _own_process.wait(run, asked["wait"]):
                self._answer_of(run)
            _print_following(run.answer())
        finally:
            if run.alive:  # what this process would clean up, the other one still needs
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                os._exit(0)

    def _answer_of(self, run: RunFiles, attached: bool = False) -> t.NoReturn:
        """What a run that goes on by itself has to say by now: its own result, as it has printed it, or that it works."""
        if run.alive or attached:
            _print_following(dict(run.answer(), attached=attached))
        printed = run.result()
        if not printed:
            self.fail_json(msg=run.lost())
        sys.stdout.write("\n%s\n" % printed.decode("utf-8"))
        sys.stdout.flush()
        run.note_collected()
        raise SystemExit(0)

    def _wanted_run(self, request: Request, token: str) -> RunFiles:
        given = self.params
        asked_for = {name: given[name] for name in sorted(given) if name not in _NOT_ASKED_FOR}
        return RunFiles(
            folder=os.path.join(_run_files.root(), os.path.basename(token)),
            token=token,
            operation=request.operation,
            host=request.caller.host,
            target=target_of(given),
            digest=hashlib.sha256(json.dumps(asked_for, sort_keys=True, default=str).encode()).hexdigest(),
            operator=request.caller.operator,
            started=timestamp(utc_now()),
        )

    def _request(self) -> Request:
        given = self.params
        play = given["play"]
        selection = Selection(play["limit"] or "", tuple(map(environment_name, play["environments"] or ()))) if play else None
        named = {name: (play or {}).get(name) or "" for name in ("host", "operator", "controller", "revision")}
        caller = Caller(selection=selection, **named)
        target = TargetOptions(
            database=given["database"],
            container=given["container"] or "",
            compose_project=given["compose_project"] or "",
            compose_service=given["compose_service"] or "",
            user=given["user"] or "",
            password=given["password"] or "",
            port=given["port"],
            maintenance_database=given["maintenance_database"],
            backends=tuple(given["backends"]),
            runner_container=given["runner_container"] or "",
            branch=given["branch"] or "",
            branch_label=given["branch_label"] or "",
        )
        return Request(
            operation=self._operation,
            risk=self._risk,
            target=target,
            caller=caller,
            environment=environment_name(given["environment"]),
            server_id=given["server_id"] or "",
            shared_server=given["shared_server"],
            backup_dir=given["backup_dir"],
            confirm=given["confirm"] or "",
            lock_wait=given["lock_wait"],
            docker_host=given["docker_host"] or "",
            check_mode=self.check_mode,
            encryption=self._encryption(),
        )

    def _encryption(self) -> Encryption:
        given = self.params["encryption"] or {}
        identity = (given.get("identity") or "").strip()
        self._redactor.add(identity)
        return Encryption(
            recipients=tuple(recipient.strip() for recipient in given.get("recipients") or ()),
            identity=identity,
            identity_file=given.get("identity_file") or "",
            program=given.get("program") or "age",
            image=given.get("image") or "",
        )

    def _succeed(self, request: Request, operation: Operation, result: Result) -> t.NoReturn:
        for warning in operation.warnings:
            self.warn(self._redactor.text(warning))
        facts = operation.facts()
        entry = dict(facts, **result.journal, result="ok", changed=result.changed, warnings=operation.warnings)
        before = self._events_before(request)
        recorded = _is_recorded(request) and self._record(request, entry)
        self._tell_metrics(request, facts.get("server_id", ""))
        event = kind_of(True, request.operation, request.target.database, before)
        facts = dict(facts, event=event) if _is_recorded(request) else facts
        self._notify(request, operation.run_id, event, (result.summary or [""])[0])
        closing = _closing_line(request, operation, recorded)
        answer = dict(result.facts, changed=result.changed, summary=[*result.summary, closing], operation=facts)
        if result.diff is not None:
            answer["diff"] = result.diff
        self.exit_json(**self._redactor.data(answer))

    def _fail(self, request: Request, run_id: str, started: str, operation: Operation | None, trouble: DbopsError | OSError) -> t.NoReturn:
        error = _sentence_of(trouble)
        facts = operation.facts() if operation else facts_before(request, run_id, started, time.monotonic() - self._begun)
        state = state_after_failure(request, operation, error)
        lost = operation.lost if operation else ""
        # Each on a line of its own: what is to be typed may stand at a line's end.
        error.message = "\n".join(dict.fromkeys(part for part in (lost, error.message, state) if part))
        if _is_recorded(request):
            kind = "busy" if isinstance(error, Busy) else "refused" if isinstance(error, Refused) else "failed"
            self._record(request, dict(facts, result=kind, message=error.message))
            self._tell_metrics(request, facts.get("server_id", ""))
            facts["event"] = FAILURE
            self._notify(request, run_id, FAILURE, error.message)
        self.fail_json(msg=self._redactor.text(error.message), operation=facts, **self._redactor.data(error.details))

    def _record(self, request: Request, entry: dict[str, t.Any]) -> bool:
        """Whether it could be written down."""
        if not os.path.isdir(request.backup_dir):
            return False  # nothing was done yet, and what is wrong with the folder is in the message
        caller = request.caller
        entry = dict(entry, operator=caller.operator, controller=caller.controller, revision=caller.revision, finished=timestamp(utc_now()))
        try:
            _journal.append(request.backup_dir, self._redactor.data(entry))
        except DbopsError as trouble:
            self.warn(self._redactor.text(trouble.message))
            return False
        return True

    def _events_before(self, request: Request) -> list[dict[str, t.Any]]:
        """The journal without this run's own line: its last one tells whether this is a recovery."""
        asked = self.params["notify"] or {}
        if not (asked.get("webhook") or asked.get("apprise")) or not os.path.isdir(request.backup_dir):
            return []
        try:
            return _journal.read(request.backup_dir)
        except DbopsError:
            return []

    def _notify(self, request: Request, run_id: str, kind: str, text: str) -> None:
        """At the very end: what was done is written down by then, however long a receiver takes."""
        if not _is_recorded(request):
            return
        text = self._redactor.text(text)
        self._beat(request, _post.FAIL if kind == FAILURE else _post.SUCCESS, text)
        asked = self.params["notify"] or {}
        if asked.get("webhook") and kind in asked["events"]:
            told = Told(kind, request.operation, request.caller.host, request.target.database, request.environment, run_id, text)
            self._warn_where_it_fails(lambda: _post.tell_webhook(asked["webhook"], told.payload(), open_url))

    def _beat(self, request: Request, what: str, text: str = "") -> None:
        asked = self.params["notify"] or {}
        url = (asked.get("heartbeats") or {}).get(request.operation)
        if url and _is_recorded(request) and (asked["heartbeat_style"] == "healthchecks" or what == _post.SUCCESS):
            self._warn_where_it_fails(lambda: _post.beat(str(url), what, text, open_url))

    def _warn_where_it_fails(self, telling: t.Callable[[], None]) -> None:
        try:
            telling()
        except Interrupted:
            raise
        except DbopsError as trouble:
            self.warn(self._redactor.text(trouble.message))

    def _tell_metrics(self, request: Request, server_identifier: str) -> None:
        """For Prometheus; what cannot be told is a warning, and spoils nothing."""
        folder = self.params["metrics_dir"]
        if not folder or not _is_recorded(request) or not os.path.isdir(request.backup_dir):
            return
        database = request.target.database
        try:
            backups, _unreadable = Archive(request.backup_dir).catalogue(database)
            own = [backup for backup in backups if backup.manifest.server_identifier == server_identifier or not server_identifier]
            entries = [entry for entry in _journal.read(request.backup_dir) if entry.get("database") == database]
            labels = _metrics.Labels(request.caller.host, database, request.environment)
            _metrics.write_metrics(folder, labels, _metrics.rendered(_metrics.samples(own, entries, utc_now().timestamp()), labels))
        except (DbopsError, OSError) as trouble:
            self.warn(self._redactor.text(_sentence_of(trouble).message))


def _print_following(answer: dict[str, t.Any]) -> t.NoReturn:
    """Where the run is, printed without Ansible's help, which may have to be loaded: the run's end removes where that is loaded from."""
    sys.stdout.write("\n%s\n" % json.dumps({"changed": False, "following": answer}))
    sys.stdout.flush()
    raise SystemExit(0)


def target_of(given: dict[str, t.Any]) -> dict[str, str]:
    """Which database is meant, in the words of the options."""
    return {name: str(given[name] or "") for name in ("container", "compose_project", "compose_service", "port", "database")}


def _sentence_of(trouble: DbopsError | OSError) -> DbopsError:
    if isinstance(trouble, DbopsError):
        return trouble
    where = "%s: " % trouble.filename if trouble.filename else ""
    return DbopsError("The host's file system refused: %s%s." % (where, trouble.strerror or trouble))


def _closing_line(request: Request, operation: Operation, recorded: bool) -> str:
    """Where, how long, and where it is written down."""
    server = operation.server
    line = "Run %s on '%s' (container '%s', PostgreSQL %s) took %s." % (
        operation.run_id,
        operation.evidence.host,
        operation.target.container.name,
        server.version,
        duration_text(operation.seconds),
    )
    if recorded:
        return line + " It is in the journal '%s'." % os.path.join(operation.archive.folder, _journal.FILE_NAME)
    return line if _is_recorded(request) else line + " Nothing was changed."


def _is_recorded(request: Request) -> bool:
    """Check mode writes nothing, and reading changes nothing."""
    return not request.check_mode and request.risk is not Risk.READ


def _raise_on_signals() -> None:
    """A cancelled job (TERM), a closed terminal (HUP) or Ctrl-C (INT) ends through every clean-up on the way out."""
    ending = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def interrupt(number: int, _frame: t.Any) -> t.NoReturn:
        for further in ending:
            signal.signal(further, signal.SIG_IGN)
        raise Interrupted(
            "Interrupted by signal %d; what was under way was undone as far as possible. The next run finishes the clean-up." % number
        )

    for number in ending:
        signal.signal(number, interrupt)
