# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as systemd and cron have them: right by their own programs' rules, and wrong ones named."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.schedule._job import (
    DAYS,
    Job,
    _for_cron,
    cron_line,
    parse_jobs,
    playbook_of,
    service_unit,
    timer_unit,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

NIGHTLY: dict[str, t.Any] = {"at": "03:00", "run": ["backup", "verify_backups", "prune_backups"]}


def job(**changes: t.Any) -> Job:
    return parse_jobs({"nightly": {**NIGHTLY, **changes}})[0]


@pytest.mark.parametrize(
    ("changes", "calendar", "crontab"),
    [
        ({}, "*-*-* 03:00:00", "0 3 * * *"),
        ({"at": "3:05"}, "*-*-* 03:05:00", "5 3 * * *"),
        ({"at": "*:15"}, "*-*-* *:15:00", "15 * * * *"),
        ({"at": "23:59", "days": ["sun", "mon"]}, "Mon,Sun *-*-* 23:59:00", "59 23 * * 1,0"),
    ],
)
def test_when_it_runs(changes: dict[str, t.Any], calendar: str, crontab: str) -> None:
    assert (job(**changes).calendar, job(**changes).crontab) == (calendar, crontab)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine")
@given(st.integers(0, 23), st.integers(0, 59), st.sets(st.sampled_from(DAYS)))
def test_systemd_reads_every_time(hour: int, minute: int, days: set[str]) -> None:
    calendar = job(at="%02d:%02d" % (hour, minute), days=sorted(days)).calendar
    done = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("Nightly", {}, "its name is small letters"),
        ("a/b", {}, "its name is small letters"),
        ("n", {"at": "25:00"}, "at is a time"),
        ("n", {"at": 180}, "at is a time"),
        ("n", {"at": "03:60"}, "at is a time"),
        ("n", {"at": ""}, "at is a time"),
        ("n", {"run": []}, "run is a list of backup"),
        ("n", {"run": "backup"}, "run is a list of backup"),
        ("n", {"run": ["restore"]}, "run is a list of backup"),
        ("n", {"days": ["monday"]}, "days is a list of mon"),
        ("n", {"variables": {"ansible_host": "x"}}, "variables are dbops_"),
        ("n", {"every": "day"}, "it has at, run, days and variables"),
    ],
)
def test_one_that_is_wrong_is_named(name: str, changes: dict[str, t.Any], said: str) -> None:
    with pytest.raises(DbopsError, match="The job '%s' in dbops_schedule_timers is not right: %s" % (name, said)):
        parse_jobs({name: {**NIGHTLY, **changes}})


def test_a_text_is_no_job() -> None:
    with pytest.raises(DbopsError, match="at is a time"):
        parse_jobs({"nightly": "03:00"})


def test_its_playbooks_come_one_after_the_other() -> None:
    text = playbook_of(job(variables={"dbops_verify_select": "all"}))
    plays = json.loads(text[4:])
    assert [play["ansible.builtin.import_playbook"] for play in plays] == [
        "dbops.postgres.backup",
        "dbops.postgres.verify_backups",
        "dbops.postgres.prune_backups",
    ]
    assert all(play["vars"] == {"dbops_verify_select": "all"} for play in plays)


def test_the_units() -> None:
    text = service_unit(
        job(), "chat-production", ["/a b/ansible-playbook", "--limit", "100%", "$x"], {"LC_ALL": "C.UTF-8"}, "page@%n.service"
    )
    assert 'ExecStart="/a b/ansible-playbook" --limit 100%% "$$x"\n' in text
    assert "OnFailure=page@%n.service\n" in text and "Environment=LC_ALL=C.UTF-8\n" in text and "Type=oneshot\n" in text
    assert "OnFailure" not in service_unit(job(), "h", ["/x"], {}, "")
    timer = timer_unit(job(), "chat-production", 600)
    assert "OnCalendar=*-*-* 03:00:00\nRandomizedDelaySec=600\nPersistent=true\n" in timer and "WantedBy=timers.target\n" in timer


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd on this machine")
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    (tmp_path / "dbops:x:nightly.service").write_text(service_unit(job(), "x", ["/bin/true", "100%", "$x", 'a "b"'], {"A": "b c"}, ""))
    (tmp_path / "dbops:x:nightly.timer").write_text(timer_unit(job(), "x", 600))
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False)
    assert "dbops:x:nightly" not in done.stderr, done.stderr


@given(st.lists(st.text(st.characters(blacklist_characters="\x00\n\r", blacklist_categories=("Cs",)), max_size=12), min_size=1, max_size=4))
def test_a_line_of_cron_means_the_words_that_were_given(words: list[str]) -> None:
    line = " ".join(map(_for_cron, words))
    assert "%" not in line.replace("\\%", "")
    assert shlex.split(line.replace("\\%", "%")) == words


def test_a_line_of_cron() -> None:
    assert cron_line(job(), ["/v/ansible-playbook", "/h/nightly.yml"], {"ANSIBLE_CONFIG": "/h/ansible.cfg"}) == (
        "0 3 * * * env ANSIBLE_CONFIG=/h/ansible.cfg /v/ansible-playbook /h/nightly.yml"
    )
