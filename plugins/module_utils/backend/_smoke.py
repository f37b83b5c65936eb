# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Smoke commands: the user's own, run inside the application's container, each of which has to succeed."""

from __future__ import annotations

import shlex
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Container
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

#: Seconds that one command of the user's may take.
_COMMAND_SECONDS = 60


@dataclass(frozen=True)
class Smoke:
    """How a version is asked. ``commands``: run inside its container, each has to end with 0; ``seconds``: until it is healthy."""

    commands: tuple[tuple[str, ...], ...] = ()
    seconds: float = 60


def smoke_commands(given: t.Sequence[t.Any], variable: str) -> tuple[tuple[str, ...], ...]:
    """Each as a list of words, or as one text.

    :param variable: that they stand in.
    :raises DbopsError: where one is neither.
    """
    found = []
    for command in given:
        try:
            words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        except (TypeError, ValueError):
            words = []
        if not words:
            raise DbopsError("'%s' in %s is no command: give its words as a list, or as one text." % (command, variable))
        found.append(tuple(words))
    return tuple(found)


def first_failure(docker: Docker, container: Container, smoke: Smoke) -> str:
    """What is wrong with the first command that does not succeed within its time, since the program may be about to listen; empty where all do."""
    deadline = time.monotonic() + smoke.seconds
    for command in smoke.commands:
        outcome = docker.exec(container.id, command, timeout=_COMMAND_SECONDS)
        while outcome.rc != 0 and not outcome.timed_out and time.monotonic() < deadline:
            time.sleep(0.2)
            outcome = docker.exec(container.id, command, timeout=_COMMAND_SECONDS)
        if outcome.timed_out or outcome.rc != 0:
            said = " ".join(outcome.output.split())[-300:] or "nothing"
            why = "did not end within %d s" % _COMMAND_SECONDS if outcome.timed_out else "ended with %d" % outcome.rc
            return "'%s' %s: %s" % (" ".join(command), why, said)
    return ""


def asked(container: Container, smoke: Smoke) -> list[str]:
    """What a version that passed was asked, in words; nothing where there is no way to ask it."""
    return (["it is healthy"] if container.health_command else []) + ["'%s' succeeds" % " ".join(command) for command in smoke.commands]
