# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts a module that may work for hours, and tells how far it is until it ends.

The module works in a process of its own on the target (``module_utils/progress``), so a connection that breaks does not end it: this
connects again, and whoever types the same line later is attached to it. A look is one ``cat`` over the connection that is there.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shlex
import signal
import sys
import time
import typing as t
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.clean import remove_internal_keys

from ansible_collections.dbops.postgres.plugins.module_utils.notification._message import FAILURE, RECOVERY, SUCCESS, Told
from ansible_collections.dbops.postgres.plugins.plugin_utils import apprise_messages

display = Display()

#: Whether a line can be written over. Ansible's workers have no terminal, so it is asked where this file is loaded: in the process that
#: has one. AWX and ansible-runner have one that nobody sees, and jobs of CI keep each line.
_TERMINAL = sys.stdout.isatty() and not any(os.environ.get(name) for name in ("AWX_ISOLATED_DATA_DIR", "CI", "GITHUB_ACTIONS"))

#: Seconds that a module may take before anything is told of it, in a terminal and elsewhere.
_QUIET, _QUIET_WITHOUT_TERMINAL = 1.5, 7.0

#: Seconds between two lines, where each stays.
_BETWEEN_LINES = 7.0

#: Seconds between two looks: more often in the beginning, since most operations are short.
_SHORTEST, _LONGEST = 0.2, 2.0

#: Seconds in which a connection may come back.
_PATIENCE = 60.0


class FollowingAction(ActionBase):  # type: ignore[misc]
    """The action plugin of every module that works in a process of its own."""

    _supports_check_mode = True
    _supports_async = True

    #: Whether a job that is cancelled ends the operation as well.
    _ends_what_it_follows = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        if self._task.async_val or self._task.check_mode:
            wrap = self._task.async_val and not self._connection.has_native_async
            result.update(self._execute_module(task_vars=task_vars, wrap_async=wrap))
            if not wrap:
                self._remove_tmp_path(self._connection._shell.tmpdir)
            return result
        screen = Screen(task_vars or {}, quiet=bool(self._task.no_log))
        try:
            with Cancelled() as cancelled:
                result.update(self._follow(task_vars or {}, screen, cancelled))
            self._tell(result, screen)
        except AnsibleConnectionFailure as failure:
            self._tell({"failed": True, "msg": str(failure)}, screen)
            raise
        finally:
            screen.clear()
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _follow(self, task_vars: dict[str, t.Any], screen: Screen, cancelled: Cancelled) -> dict[str, t.Any]:
        token, wait = uuid.uuid4().hex, _QUIET if screen.rewrites else _QUIET_WITHOUT_TERMINAL
        try:
            result = self._ask(task_vars, token, wait=wait)
        except AnsibleConnectionFailure:
            self._reset_connection()
            result = self._ask(task_vars, token)  # by its token a run that was begun is found again; none is begun twice
        found = result.get("ansible_facts")  # the interpreter, at the first call
        if (result.get("following") or {}).get("attached"):
            screen.attached(result["following"])
        while result.get("following"):  # again, where it had not ended after all
            remote = Remote(result["following"])
            self._watch(remote, screen, cancelled)
            result = self._result_of(remote) or self._ask(task_vars, remote.token, only_known=True)
        if found:
            result.setdefault("ansible_facts", found)
        return result

    def _result_of(self, remote: Remote) -> dict[str, t.Any]:
        """What the run has printed, read as Ansible reads a module's output; empty where that is nothing, or not yet all of it, which the
        module then explains."""
        try:
            printed = str(self._low_level_execute_command(remote.collect).get("stdout", "")).strip("\x00\r\n ")
        except AnsibleConnectionFailure:
            return {}
        try:
            json.loads(printed)
        except ValueError:
            return {}
        further = ("legacy",) if "profile" in inspect.signature(self._parse_returned_data).parameters else ()  # since ansible-core 2.19
        found: dict[str, t.Any] = self._parse_returned_data({"stdout": printed, "stderr": "", "rc": 0}, *further)
        remove_internal_keys(found)
        return found

    def _ask(self, task_vars: dict[str, t.Any], token: str, **how: t.Any) -> dict[str, t.Any]:
        arguments = dict(self._task.args, following=dict(how, token=token))
        answer: dict[str, t.Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        return answer

    def _watch(self, remote: Remote, screen: Screen, cancelled: Cancelled) -> None:
        """Until the run has ended."""
        begun = answered = time.monotonic()
        parent = os.getppid()  # Ansible works in a process below its own
        ended_by_us = False
        while True:
            try:
                alive, standing = self._look(remote)
                answered = time.monotonic()
                if not alive:
                    return
                screen.show(standing)
                if cancelled.asked and self._ends_what_it_follows and not ended_by_us:
                    self._low_level_execute_command("kill -TERM %d" % remote.pid)
                    ended_by_us = True
            except AnsibleConnectionFailure as failure:
                screen.lost()
                if time.monotonic() - answered > _PATIENCE:
                    raise AnsibleConnectionFailure(screen.still_lost(remote)) from failure
                self._reset_connection()
            if cancelled.asked and not self._ends_what_it_follows:
                return
            if os.getppid() != parent and not cancelled.asked:
                os._exit(1)  # Ansible itself was killed: nobody hears this worker, and whoever types the line again shall be attached
            pause = min(max((time.monotonic() - begun) / 40, _SHORTEST), _LONGEST)
            time.sleep(pause) if ended_by_us else cancelled.wait(pause)

    def _look(self, remote: Remote) -> tuple[bool, dict[str, t.Any]]:
        return remote.read(str(self._low_level_execute_command(remote.command).get("stdout", "")))

    def _tell(self, result: dict[str, t.Any], screen: Screen) -> None:
        """Messages from the controller, where the task names receivers of apprise's."""
        notify = self._task.args.get("notify") or {}
        if not notify.get("apprise") or not self._ends_what_it_follows:
            return
        told = told_of(result, self._task.args)
        if told.kind in (notify.get("events") or (FAILURE, RECOVERY)):
            for trouble in apprise_messages.tell(told, notify["apprise"]):
                screen.trouble(trouble)

    def _reset_connection(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.reset()


def told_of(result: dict[str, t.Any], arguments: dict[str, t.Any]) -> Told:
    """What a run that has ended is to be told as; one of which the host has told nothing has failed."""
    facts, play = result.get("operation") or {}, arguments.get("play") or {}
    summary = result.get("summary") or [""]
    return Told(
        kind=str(facts.get("event") or (FAILURE if result.get("failed") else SUCCESS)),
        operation=str(facts.get("operation") or "The operation"),
        host=str(play.get("host") or ""),
        database=str(arguments.get("database") or ""),
        environment=str(arguments.get("environment") or "production"),
        run_id=str(facts.get("run_id") or ""),
        text=str(result.get("msg") or summary[0]),
    )


class Remote:
    """A run's process and files on the target."""

    def __init__(self, following: dict[str, t.Any]) -> None:
        self.pid, self.ticks = int(following["pid"]), int(following["ticks"])
        self.operation, self.token = str(following["operation"]), str(following["token"])
        folder = str(following["folder"])
        seen, standing = shlex.quote(folder + "/seen"), shlex.quote(folder + "/standing.json")
        self.collect = "cat -- %s && touch -- %s" % (shlex.quote(folder + "/result.json"), shlex.quote(folder + "/collected"))
        self.command = "touch -c -- %s; cat -- /proc/%d/stat %s 2>/dev/null" % (seen, self.pid, standing)

    def read(self, said: str) -> tuple[bool, dict[str, t.Any]]:
        """Whether the process lives, and what it last said of itself."""
        alive = False
        standing: dict[str, t.Any] = {}
        for line in said.splitlines():
            fields = line.rpartition(")")[2].split()
            if line.startswith("%d (" % self.pid) and len(fields) > 19:
                alive = fields[0] != "Z" and fields[19] == str(self.ticks)
            elif line.startswith("{"):
                with contextlib.suppress(ValueError):
                    standing = json.loads(line)
        return alive, standing


class Cancelled:
    """A job that is cancelled, and Ctrl-C, end the operation on the target as well, through its clean-ups.

    Ansible's worker would be gone at once; so what was asked is noted here, and handed on at the next look.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, t.Any] = {}

    def __enter__(self) -> Cancelled:
        with contextlib.suppress(ValueError):  # not the main thread: then Ansible's own ways stay
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: t.Any) -> None:
        self.asked = True

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.asked and time.monotonic() < end:
            time.sleep(min(0.1, seconds))


class Screen:
    """Where a person reads how far it is: one line that is written over, or one line every few seconds."""

    def __init__(self, task_vars: dict[str, t.Any], quiet: bool) -> None:
        self._host = str(task_vars.get("inventory_hostname", ""))
        self._quiet = quiet
        self.rewrites = _TERMINAL and len(task_vars.get("ansible_play_batch") or ()) < 2
        self._width = 0
        self._told = 0.0
        self._lost = False

    def show(self, standing: dict[str, t.Any]) -> None:
        self._lost = False
        line = str(standing.get("line", ""))
        if not line or self._quiet:
            return
        line = "[%s] %s" % (self._host, line)
        if self.rewrites:
            line = line[: display.columns]
            display.display("\r" + line.ljust(self._width), screen_only=True, newline=False)
            self._width = len(line)
        elif time.monotonic() - self._told >= _BETWEEN_LINES:
            display.display(line)
            self._told = time.monotonic()

    def clear(self) -> None:
        if self._width:
            display.display("\r" + " " * self._width + "\r", screen_only=True, newline=False)
            self._width = 0

    def attached(self, following: dict[str, t.Any]) -> None:
        how = "which works on the host" if following.get("alive") else "which has ended meanwhile: what follows is its result"
        self._say(
            "Nothing new was begun: the same was asked for at %s by '%s', and nobody has had the answer. This is that run, %s."
            % (following.get("started"), following.get("operator"), how)
        )

    def lost(self) -> None:
        if not self._lost:
            self._say("The connection to '%s' is lost. The operation goes on there; connecting again." % self._host)
        self._lost = True

    def still_lost(self, remote: Remote) -> str:
        return (
            "The connection to '%s' is lost and does not come back. The %s goes on there: type the same line again to be told how it ends,"
            " or: ansible-playbook progress.yml -l %s" % (self._host, remote.operation, self._host)
        )

    def trouble(self, text: str) -> None:
        self.clear()
        display.warning(text)

    def _say(self, text: str) -> None:
        self.trouble(text)
