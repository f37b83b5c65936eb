# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job, and how systemd and cron write it. Pure.

https://www.freedesktop.org/software/systemd/man/latest/systemd.timer.html
https://man7.org/linux/man-pages/man5/crontab.5.html
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: What may run while nobody looks: it asks for no consent, and replaces no database.
PLAYBOOKS = ("backup", "verify_backups", "copy_backups", "prune_backups")

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_TIME = re.compile(r"(?:(\d{1,2})|\*):([0-5]\d)")


@dataclass(frozen=True)
class Job:
    """``at``: ``03:00``, or ``*:15`` for every hour, by the host's own clock; ``days``: none are all of them. ``run``: playbooks, in order;
    ``variables``: of them."""

    name: str
    at: str
    run: tuple[str, ...]
    days: tuple[str, ...] = ()
    variables: dict[str, t.Any] = field(default_factory=dict)

    @property
    def _hour(self) -> str:
        found = _TIME.fullmatch(self.at)
        return (found.group(1) if found else None) or "*"

    @property
    def _minute(self) -> str:
        return self.at[-2:]

    @property
    def calendar(self) -> str:
        """As systemd has it (systemd.time(7))."""
        days = ",".join(day.capitalize() for day in self.days)
        hour = self._hour if self._hour == "*" else "%02d" % int(self._hour)
        return "%s*-*-* %s:%s:00" % (days + " " if days else "", hour, self._minute)

    @property
    def crontab(self) -> str:
        """The first five fields of cron's."""
        days = ",".join(str((DAYS.index(day) + 1) % 7) for day in self.days) or "*"
        return "%d %s * * %s" % (int(self._minute), self._hour if self._hour == "*" else int(self._hour), days)

    def __str__(self) -> str:
        when = "every hour at %s" % self.at[1:] if self._hour == "*" else "at %s" % self.at
        return "'%s' %s%s: %s" % (self.name, when, " on %s" % ", ".join(self.days) if self.days else "", ", ".join(self.run))


def parse_jobs(given: t.Mapping[str, t.Any]) -> list[Job]:
    """From a module's parameter, ``{name: {at, run, days, variables}}``.

    :raises DbopsError: naming the job and what is wrong with it.
    """
    return [_parse(str(name), job if isinstance(job, dict) else {}) for name, job in sorted(given.items())]


def _parse(name: str, given: t.Mapping[str, t.Any]) -> Job:
    at, run, days = str(given.get("at") or ""), given.get("run") or [], given.get("days") or []
    variables = given.get("variables") or {}
    time = _TIME.fullmatch(at)
    checks = (
        (_NAME.fullmatch(name), "its name is small letters, digits, - and _, with a letter first"),
        (set(given) <= {"at", "run", "days", "variables"}, "it has at, run, days and variables, nothing else"),
        (time and int(time.group(1) or 0) < 24, 'at is a time of the host\'s clock such as "03:00", or "*:15" for every hour, in quotes'),
        (isinstance(run, list) and run and set(run) <= set(PLAYBOOKS), "run is a list of %s" % ", ".join(PLAYBOOKS)),
        (isinstance(days, list) and set(days) <= set(DAYS), "days is a list of %s" % ", ".join(DAYS)),
        (
            isinstance(variables, dict) and all(str(key).startswith("dbops_") for key in variables),
            "variables are dbops_... and their values",
        ),
    )
    for right, sentence in checks:
        if not right:
            raise DbopsError("The job '%s' in dbops_schedule_timers is not right: %s." % (name, sentence))
    return Job(name, at, tuple(run), tuple(day for day in DAYS if day in days), dict(variables))


def playbook_of(job: Job) -> str:
    """Its playbooks, one after the other: where one fails, the following ones do not run. (JSON is YAML.)"""
    plays = [
        {"name": playbook, "ansible.builtin.import_playbook": "dbops.postgres." + playbook, "vars": job.variables} for playbook in job.run
    ]
    return "---\n" + json.dumps(plays, indent=1, sort_keys=True) + "\n"


def service_unit(job: Job, host: str, argv: t.Sequence[str], environment: t.Mapping[str, str], on_failure: str) -> str:
    lines = ["[Unit]", "Description=dbops.postgres: %s of %s" % (job.name, host), "Documentation=https://github.com/dbops/postgres"]
    lines += ["OnFailure=" + on_failure] if on_failure else []
    lines += ["", "[Service]", "Type=oneshot"]
    lines += ["Environment=%s" % _quoted("%s=%s" % item) for item in sorted(environment.items())]
    lines += ["ExecStart=" + " ".join(map(_quoted, argv))]
    return "\n".join(lines) + "\n"


def timer_unit(job: Job, host: str, delay: int) -> str:
    """Caught up once the host is there again (``Persistent``), and not at the same second as everybody else's."""
    lines = ["[Unit]", "Description=dbops.postgres: when %s of %s runs" % (job.name, host), "", "[Timer]", "OnCalendar=" + job.calendar]
    lines += ["RandomizedDelaySec=%d" % delay, "Persistent=true", "", "[Install]", "WantedBy=timers.target"]
    return "\n".join(lines) + "\n"


def cron_line(job: Job, argv: t.Sequence[str], environment: t.Mapping[str, str]) -> str:
    words = ["env", *("%s=%s" % item for item in sorted(environment.items())), *argv]
    return "%s %s" % (job.crontab, " ".join(map(_for_cron, words)))


def _quoted(text: str) -> str:
    """A word of a unit file: ``%`` and ``$`` mean something there."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII) else '"%s"' % text


def _for_cron(text: str) -> str:
    """A word of a shell's line in which a bare ``%`` would end it."""
    text = text if re.fullmatch(r"[\w@+=:,./-]+", text, re.ASCII) else "'%s'" % text.replace("'", "'\"'\"'")
    return text.replace("%", "\\%")
