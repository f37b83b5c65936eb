# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timers of systemd's user manager, or lines of cron: what is there, and how it becomes what is wanted."""

from __future__ import annotations

import os
import pwd
import re
import tempfile
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome, run_process
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._files import replace_file
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

SYSTEMD, CRON = "systemd", "cron"

#: Where systemd notes whose units run without a session (loginctl enable-linger).
_LINGER = "/var/lib/systemd/linger"

Execute = t.Callable[..., Outcome]


def kind_of_host(run: str = "/run/systemd/system") -> str:
    """systemd where it is the first process (sd_booted(3)), else cron."""
    return SYSTEMD if os.path.isdir(run) else CRON


def prefix_of(host: str) -> str:
    """What the names of a host's units begin with, and those of no other host's: a colon stands in no name of a host, nor of a job."""
    return "dbops:%s:" % re.sub(r"[^A-Za-z0-9_.-]", lambda found: "\\x%02x" % ord(found.group()), host)


class Systemd:
    """The units of one host of the inventory, among those of the user that this runs as."""

    kind = SYSTEMD

    def __init__(self, host: str, execute: Execute = run_process, home: str = "", linger: str = _LINGER) -> None:
        user = pwd.getpwuid(os.getuid())
        self._prefix = prefix_of(host)
        self._execute = execute
        self._user = user.pw_name
        self._linger = linger
        self.folder = os.path.join(home or user.pw_dir, ".config", "systemd", "user")

    def require(self) -> None:
        """:raises DbopsError: where the user's units would end with its session."""
        if not os.path.exists(os.path.join(self._linger, self._user)):
            raise DbopsError(
                "Timers of user '%s' would stop when it logs out: as root on that host, run once: loginctl enable-linger %s"
                % (self._user, self._user)
            )

    def read(self) -> dict[str, str]:
        """``{name: text}`` of the units that there are."""
        found = {}
        for name in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []:
            if name.startswith(self._prefix) and name.endswith((".service", ".timer")):
                with open(os.path.join(self.folder, name), encoding="utf-8") as stream:
                    found[name] = stream.read()
        return found

    def write(self, wanted: t.Mapping[str, str]) -> None:
        """Make the units these, and no others of this host; timers begin to count at once."""
        before = self.read()
        os.makedirs(self.folder, 0o700, exist_ok=True)
        for name in sorted(set(before) - set(wanted)):
            if name.endswith(".timer"):
                self._call("disable", "--now", name)
            os.unlink(os.path.join(self.folder, name))
        for name, text in sorted(wanted.items()):
            replace_file(os.path.join(self.folder, name), text, 0o644)
        self._call("daemon-reload")
        for name in sorted(wanted):
            if name.endswith(".timer"):
                self._call("enable", name)
                self._call("restart", name)  # one that runs already does not heed a new calendar

    def _call(self, *words: str) -> None:
        environment = {"XDG_RUNTIME_DIR": "/run/user/%d" % os.getuid()}
        outcome = self._execute(["systemctl", "--user", *words], env=environment)
        if outcome.rc != 0:
            raise DbopsError("systemctl --user %s failed: %s" % (" ".join(words), " ".join(outcome.stderr.split())))


class Cron:
    """The lines of one host of the inventory in the crontab of the user that this runs as, between two comments."""

    kind = CRON

    def __init__(self, host: str, execute: Execute = run_process) -> None:
        self._begin, self._end = "# begin of %sjobs" % prefix_of(host), "# end of %sjobs" % prefix_of(host)
        self._execute = execute

    def require(self) -> None:
        """:raises DbopsError: where there is no cron."""
        self._crontab()

    def read(self) -> dict[str, str]:
        lines = self._own(self._crontab())
        return {"crontab": "".join(line + "\n" for line in lines)} if lines else {}

    def write(self, wanted: t.Mapping[str, str]) -> None:
        whole = self._crontab()
        own = self._own(whole)
        others = _without(whole, self._begin, self._end) if own else whole
        text = wanted.get("crontab", "")
        lines = others + ([self._begin, *text.splitlines(), self._end] if text else [])
        with tempfile.NamedTemporaryFile("w", prefix="dbops-cron-", encoding="utf-8") as stream:
            stream.writelines(line + "\n" for line in lines)
            stream.flush()
            outcome = self._execute(["crontab", stream.name])
        if outcome.rc != 0:
            raise DbopsError("crontab did not take the new lines: %s" % " ".join(outcome.stderr.split()))

    def _own(self, whole: t.Sequence[str]) -> list[str]:
        if self._begin not in whole or self._end not in whole:
            return []
        return list(whole[whole.index(self._begin) + 1 : whole.index(self._end)])

    def _crontab(self) -> list[str]:
        try:
            outcome = self._execute(["crontab", "-l"], kept=None)
        except FileNotFoundError:
            raise DbopsError(
                "This host has neither systemd nor cron, so nothing can run by itself there: install cron, or let AWX or GitHub Actions schedule."
            ) from None
        if outcome.rc != 0 and "no crontab" not in outcome.stderr.lower():
            raise DbopsError("The crontab cannot be read: %s" % " ".join(outcome.stderr.split()))
        return outcome.stdout.splitlines() if outcome.rc == 0 else []


def _without(lines: t.Sequence[str], begin: str, end: str) -> list[str]:
    return [*lines[: lines.index(begin)], *lines[lines.index(end) + 1 :]]
