# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that works for long is started once, looked at until it ends, and found again where the connection was lost."""

from __future__ import annotations

import json
import os
import signal
import types
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("ansible.plugins.action")  # only a controller has it

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.dbops.postgres.plugins.plugin_utils import following
from ansible_collections.dbops.postgres.plugins.plugin_utils.following import Cancelled, FollowingAction, Remote, Screen

ROOT = Path(__file__).resolve().parents[3]
RUN = {"token": "t1", "folder": "/home/de ploy/x", "pid": 4711, "ticks": 99, "operation": "restore", "operator": "alice"}
RUN.update(started="2026-11-23T03:00:00Z", alive=True)

STAT = "%d (python3 (a) b) %s 1 4711 4711 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 2 0 %d 1 2 3\n"
ALIVE, ZOMBIE, ANOTHER = STAT % (4711, "S", 99), STAT % (4711, "Z", 99), STAT % (4711, "S", 100)
LINE = {"line": "restore: load, 10 s: 3 of 12 tables"}


class Shown:
    """The screen, as Ansible's ``Display``."""

    columns = 60

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def display(self, text: str, screen_only: bool = False, newline: bool = True) -> None:
        assert screen_only is not newline
        self.lines.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    made = Shown()
    monkeypatch.setattr(following, "display", made)
    return made


class Target:
    """Plays the connection: ``answers`` to the module, ``looks`` at its process; an exception is a connection that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[t.Any] = []
        self.looks: list[t.Any] = []
        self.asked: list[dict[str, t.Any]] = []
        self.commands: list[str] = []
        self.resets = 0
        self.printed = ""
        self.now = 0.0
        monkeypatch.setattr(following.time, "sleep", self._sleep)
        monkeypatch.setattr(following.time, "monotonic", lambda: self.now)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def action(self, kind: type[FollowingAction] = FollowingAction, **task: t.Any) -> FollowingAction:
        made = kind.__new__(kind)
        known = {"args": {"database": "chat"}, "async_val": 0, "check_mode": False, "no_log": False}
        made._task = types.SimpleNamespace(**{**known, **task})
        made._connection = types.SimpleNamespace(reset=self._reset, has_native_async=False)
        made._execute_module = self._execute_module
        made._low_level_execute_command = self._command
        return made

    def _reset(self) -> None:
        self.resets += 1

    def _execute_module(self, module_args: dict[str, t.Any] | None = None, **_options: t.Any) -> t.Any:
        self.asked.append((module_args or {}).get("following", {}))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _command(self, command: str) -> dict[str, t.Any]:
        self.commands.append(command)
        if command.startswith("kill"):
            return {"rc": 0, "stdout": ""}
        if "result.json" in command:
            return {"rc": 0, "stdout": self.printed}
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return {"rc": 0, "stdout": look}


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    return Target(monkeypatch)


def screen(hosts: int = 1, **options: t.Any) -> Screen:
    return Screen({"inventory_hostname": "chat-production", "ansible_play_batch": ["h"] * hosts}, **{"quiet": False, **options})


DONE = {"changed": True, "summary": ["done"]}
GONE = AnsibleConnectionFailure("Broken pipe")


class TestFollowing:
    def test_what_is_short_is_one_call(self, target: Target, shown: Shown) -> None:
        target.answers = [DONE]
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        [asked] = target.asked
        assert asked["wait"] > 0 and len(asked["token"]) == 32
        assert target.commands == []
        assert (shown.lines, shown.warnings) == ([], [])

    def test_what_is_long_is_looked_at_until_it_ends_and_then_asked_for_its_result(self, target: Target, shown: Shown) -> None:
        target.answers = [{"following": RUN}, DONE]
        target.looks = [ALIVE + json.dumps(LINE)] * 40 + [json.dumps(LINE)]
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        assert target.asked[1] == {"token": "t1", "only_known": True}
        assert shown.lines[0] == "[chat-production] " + LINE["line"]
        assert len(shown.lines) == pytest.approx(target.now / 7, abs=2)
        assert set(target.commands[:-1]) == {
            "touch -c -- '/home/de ploy/x/seen'; cat -- /proc/4711/stat '/home/de ploy/x/standing.json' 2>/dev/null"
        }

    def test_its_result_is_read_where_it_lies_as_ansible_reads_it(self, target: Target, shown: Shown) -> None:
        facts = {"discovered_interpreter_python": "/usr/bin/python3"}
        target.answers = [{"following": RUN, "ansible_facts": facts}]
        target.looks = [ALIVE, ""]
        target.printed = "\n" + json.dumps({**DONE, "_ansible_parsed": 1, "warnings": ["x"]}) + "\x00" * 50
        done = target.action()._follow({}, screen(), Cancelled())
        assert done.pop("_ansible_parsed") is True
        assert done == {**DONE, "warnings": ["x"], "ansible_facts": facts}
        assert target.commands[-1] == "cat -- '/home/de ploy/x/result.json' && touch -- '/home/de ploy/x/collected'"
        assert len(target.asked) == 1

    def test_one_that_was_taken_for_dead_is_looked_at_again(self, target: Target, shown: Shown) -> None:
        target.answers = [{"following": RUN}, {"following": RUN}, DONE]
        target.looks = [ALIVE, "", ALIVE, ""]
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        assert target.looks == [""]

    @pytest.mark.parametrize("printed", ['{"changed": tr', "Warning: something\n", ""])
    def test_a_result_that_is_not_whole_is_asked_for(self, target: Target, shown: Shown, printed: str) -> None:
        target.answers = [{"following": RUN}, DONE]
        target.looks = [ALIVE, ""]
        target.printed = printed + "\x00" * 50
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        assert target.asked[-1]["only_known"] is True

    def test_a_connection_that_breaks_is_made_anew_and_the_run_goes_on(self, target: Target, shown: Shown) -> None:
        target.answers = [{"following": RUN}, DONE]
        target.looks = [ALIVE, GONE, GONE, ALIVE, ""]
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        assert target.resets == 2
        [warning] = shown.warnings
        assert "The operation goes on there" in warning

    def test_one_that_breaks_while_it_is_begun_begins_nothing_twice(self, target: Target, shown: Shown) -> None:
        target.answers = [GONE, {"following": RUN}, DONE]
        target.looks = [""]
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        first, second, _last = target.asked
        assert first["token"] == second["token"]

    def test_a_host_that_does_not_answer_is_unreachable(self, target: Target) -> None:
        target.answers = [GONE, GONE]
        with pytest.raises(AnsibleConnectionFailure, match="Broken pipe"):
            target.action()._follow({}, screen(), Cancelled())

    def test_one_that_stays_away_says_that_it_goes_on_there_and_how_to_see_it(self, target: Target, shown: Shown) -> None:
        target.answers = [{"following": RUN}]
        target.looks = [ALIVE, GONE]
        with pytest.raises(
            AnsibleConnectionFailure, match=r"The restore goes on there: type the same line again .* progress.yml -l chat-prod"
        ):
            target.action()._follow({}, screen(), Cancelled())
        assert len(shown.warnings) == 1

    @pytest.mark.parametrize(("alive", "words"), [(True, "which works on the host"), (False, "what follows is its result")])
    def test_the_same_line_again_is_attached_and_says_so(self, target: Target, shown: Shown, alive: bool, words: str) -> None:
        target.answers = [{"following": {**RUN, "attached": True, "alive": alive}}, DONE]
        target.looks = [""]
        assert target.action()._follow({}, screen(), Cancelled()) == DONE
        [warning] = shown.warnings
        assert "Nothing new was begun" in warning and "by 'alice'" in warning and words in warning

    def test_a_job_that_is_cancelled_ends_it_on_the_host_once_and_waits(self, target: Target, shown: Shown) -> None:
        failed = {"failed": True, "msg": "Interrupted by signal 15"}
        target.answers = [{"following": RUN}, failed]
        target.looks = [ALIVE, ALIVE, ALIVE, ""]
        with Cancelled() as cancelled:
            os.kill(os.getpid(), signal.SIGTERM)
            assert target.action()._follow({}, screen(), cancelled) == failed
        assert [command for command in target.commands if command.startswith("kill")] == ["kill -TERM 4711"]

    def test_whoever_only_looks_ends_nothing(self, target: Target, shown: Shown) -> None:
        class Looking(FollowingAction):
            _ends_what_it_follows = False

        target.looks = [ALIVE]
        with Cancelled() as cancelled:
            os.kill(os.getpid(), signal.SIGINT)
            target.action(Looking)._watch(Remote(RUN), screen(), cancelled)
        assert not [command for command in target.commands if command.startswith("kill")]


class TestRemote:
    @pytest.mark.parametrize(
        ("said", "alive"), [(ALIVE, True), (ZOMBIE, False), (ANOTHER, False), ("", False), ("4711 (half\n", False), (ALIVE[:20], False)]
    )
    def test_it_lives_while_its_own_process_does(self, said: str, alive: bool) -> None:
        assert Remote(RUN).read(said) == (alive, {})

    @pytest.mark.parametrize("text", ["{", '{"line": 1', "cat: no such file"])
    def test_what_is_half_there_is_nothing(self, text: str) -> None:
        assert Remote(RUN).read(ALIVE + text) == (True, {})


class TestScreen:
    def test_lines_that_stay_come_every_few_seconds_with_the_hosts_name(self, target: Target, shown: Shown) -> None:
        told = screen()
        for _second in range(20):
            target.now += 1
            told.show(LINE)
        told.clear()
        assert shown.lines == ["[chat-production] " + LINE["line"]] * 3 or len(shown.lines) == 2

    def test_a_terminal_has_one_line_that_is_written_over_and_goes(
        self, monkeypatch: pytest.MonkeyPatch, target: Target, shown: Shown
    ) -> None:
        monkeypatch.setattr(following, "_TERMINAL", True)
        told = screen()
        told.show({"line": "x" * 100})
        told.show({"line": "y"})
        told.clear()
        first, second, cleared = shown.lines
        assert first == "\r" + ("[chat-production] " + "x" * 100)[:60]
        assert second == "\r" + "[chat-production] y".ljust(60)
        assert cleared == "\r" + " " * 19 + "\r"

    def test_several_hosts_do_not_write_over_each_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(following, "_TERMINAL", True)
        assert (screen(1).rewrites, screen(2).rewrites) == (True, False)

    def test_a_task_whose_output_is_to_be_hidden_shows_nothing(self, target: Target, shown: Shown) -> None:
        target.now = 100
        screen(quiet=True).show(LINE)
        assert shown.lines == []


def test_every_module_that_works_for_long_is_followed() -> None:
    plugins = {path.stem for path in (ROOT / "plugins" / "action").glob("*.py")}
    assert plugins == {
        *("backup", "backup_copy", "backup_prune", "backup_verify", "database_reset", "migration", "operation_progress", "restore"),
        *("migration_plan", "migration_rehearsal", "schedule", "seed", "deployment", "recollation"),
    }
