# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing, and setting up timers: whole or not at all, nobody else's units or lines touched, and all of it removable."""

from __future__ import annotations

import io
import stat
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.schedule import _timers
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._files import Files
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._installation import Installation
from ansible_collections.dbops.postgres.plugins.module_utils.schedule._timers import CRON, SYSTEMD, Cron, Systemd, kind_of_host
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError


class Machine:
    """Stands for the programs of the target; a crontab it has really."""

    def __init__(self, crontab: str | None = "") -> None:
        self.calls: list[list[str]] = []
        self.failing: dict[str, str] = {}
        self.crontab = crontab

    def __call__(self, argv: t.Sequence[str], **_options: t.Any) -> Outcome:
        self.calls.append(list(argv))
        for sign, said in self.failing.items():
            if sign in " ".join(argv):
                return Outcome(1, "", said)
        if argv[0] == "crontab":
            if self.crontab is None:
                raise FileNotFoundError
            if argv[1] == "-l":
                return Outcome(0, self.crontab, "") if self.crontab else Outcome(1, "", "no crontab for deploy")
            self.crontab = Path(argv[1]).read_text(encoding="utf-8")
        if argv[1:3] == ["-m", "venv"]:
            Path(argv[3], "bin").mkdir(parents=True)
        return Outcome(0, "", "")


def archive(folder: Path, name: str = "roles/x.yml") -> str:
    path = folder / "collection.tar.gz"
    with tarfile.open(path, "w") as made:  # uncompressed: gzip writes the time into it
        entry = tarfile.TarInfo(name)
        entry.size = 4
        made.addfile(entry, io.BytesIO(b"text"))
    return str(path)


def installation(folder: Path, machine: Machine, **changes: t.Any) -> Installation:
    given = {"folder": str(folder / "share"), "archive": archive(folder), "core": "ansible-core==2.19.4", "execute": machine, **changes}
    return Installation(**given)


def test_a_version_is_made_once(tmp_path: Path) -> None:
    machine = Machine()
    made = installation(tmp_path, machine, pip=("--no-index",))
    assert not made.is_there
    made.make()
    assert made.is_there and machine.calls[-1][-2:] == ["--no-index", "ansible-core==2.19.4"]
    assert Path(made.collections, "ansible_collections/dbops/postgres/roles/x.yml").read_text() == "text"
    assert stat.S_IMODE(Path(made.path).stat().st_mode) == 0o700
    count = len(machine.calls)
    made.make()
    assert len(machine.calls) == count
    assert installation(tmp_path, machine, core="ansible-core==2.20.0").version != made.version


@pytest.mark.parametrize(
    ("sign", "said"),
    [("-c import", "needs Python 3.11 or newer"), ("-m venv", "needs Python 3.11 or newer"), ("-m pip", "dbops_schedule_pip.*No matching")],
)
def test_one_that_fails_leaves_nothing(sign: str, said: str, tmp_path: Path) -> None:
    machine = Machine()
    machine.failing = {sign: "No matching distribution"}
    made = installation(tmp_path, machine)
    with pytest.raises(DbopsError, match=said):
        made.make()
    assert list(Path(made.versions).iterdir()) == []


def test_one_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    made = installation(tmp_path, Machine())
    Path(made.path, "venv").mkdir(parents=True)
    assert not made.is_there
    made.make()
    assert made.is_there


@pytest.mark.parametrize("name", ["../../../evil", "/etc/evil"])
def test_nothing_is_unpacked_elsewhere(name: str, tmp_path: Path) -> None:
    made = installation(tmp_path, Machine())
    archive(tmp_path, name)
    with pytest.raises(DbopsError, match="evil"):
        made.make()
    assert list(Path(made.versions).iterdir()) == []


def test_versions_that_nothing_uses_go(tmp_path: Path) -> None:
    made = installation(tmp_path, Machine())
    made.make()
    Path(made.versions, "older").mkdir()
    assert made.remove_others([made.path]) == ["older"]
    assert made.is_there


def test_files_are_private_and_follow_what_is_wanted(tmp_path: Path) -> None:
    files = Files(str(tmp_path / "hosts" / "h"))
    files.write({"a": "1", "b": "2"})
    assert stat.S_IMODE((tmp_path / "hosts" / "h" / "a").stat().st_mode) == 0o600
    files.write({"a": "3"})
    assert files.read() == {"a": "3"}
    files.write({})
    assert not (tmp_path / "hosts" / "h").exists() and files.read() == {}


UNITS = {"dbops:h:nightly.service": "s", "dbops:h:nightly.timer": "t"}


def test_units_of_systemd(tmp_path: Path) -> None:
    machine = Machine()
    timers = Systemd("h", machine, str(tmp_path), str(tmp_path))
    folder = tmp_path / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    for name in ("mine.timer", "dbops:h-nightly:nightly.timer"):
        (folder / name).write_text("x")
    timers.write(UNITS)
    assert timers.read() == UNITS
    assert [call[2:] for call in machine.calls] == [
        ["daemon-reload"],
        ["enable", "dbops:h:nightly.timer"],
        ["restart", "dbops:h:nightly.timer"],
    ]
    machine.calls.clear()
    timers.write({})
    assert [call[2:] for call in machine.calls] == [["disable", "--now", "dbops:h:nightly.timer"], ["daemon-reload"]]
    assert sorted(path.name for path in folder.iterdir()) == ["dbops:h-nightly:nightly.timer", "mine.timer"]


def test_without_lingering_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="as root on that host, run once: loginctl enable-linger"):
        Systemd("h", Machine(), str(tmp_path), str(tmp_path)).require()


def test_what_systemctl_says_is_told(tmp_path: Path) -> None:
    machine = Machine()
    machine.failing = {"enable": "Failed to connect to bus"}
    with pytest.raises(DbopsError, match=r"systemctl --user enable dbops:h:nightly\.timer failed: Failed to connect to bus"):
        Systemd("h", machine, str(tmp_path), str(tmp_path)).write(UNITS)


def test_lines_of_cron_among_others(tmp_path: Path) -> None:
    machine = Machine("MAILTO=me\n5 5 * * * mine\n")
    timers = Cron("h", machine)
    assert timers.read() == {}
    for text in ("0 3 * * * a\n", "0 4 * * * b\n1 4 * * * c\n"):
        timers.write({"crontab": text})
        assert timers.read() == {"crontab": text}
        assert machine.crontab == "MAILTO=me\n5 5 * * * mine\n# begin of dbops:h:jobs\n%s# end of dbops:h:jobs\n" % text
    Cron("h2", machine).write({"crontab": "9 9 * * * d\n"})
    timers.write({})
    assert machine.crontab == "MAILTO=me\n5 5 * * * mine\n# begin of dbops:h2:jobs\n9 9 * * * d\n# end of dbops:h2:jobs\n"


def test_a_host_with_neither() -> None:
    with pytest.raises(DbopsError, match="neither systemd nor cron"):
        Cron("h", Machine(None)).require()


def test_an_empty_crontab_is_none() -> None:
    timers = Cron("h", Machine())
    timers.require()
    assert timers.read() == {}


def test_which_kind_a_host_has(tmp_path: Path) -> None:
    assert (kind_of_host(str(tmp_path)), kind_of_host(str(tmp_path / "none"))) == (SYSTEMD, CRON)
    assert _timers.prefix_of("a b/ü@1") == "dbops:a\\x20b\\x2f\\xfc\\x401:"
    assert len({_timers.prefix_of(host) for host in ("chat-production", "chat_production", "chat.production", "chat:production")}) == 4
