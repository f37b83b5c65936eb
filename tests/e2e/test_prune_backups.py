# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`prune_backups.yml`: what the policy keeps for no reason goes, and nothing else."""

from __future__ import annotations

from typing import Any

from controller import CheckThenRun, Controller
from faults import Hand, journal, left_behind, stop_in
from stack import Server, Stack
from tampering import back_up, seal_again


def verify(controller: Controller, **variables: Any) -> Any:
    return controller.run("verify_backups", "-l", "production", **variables)


def prune(controller: Controller, *arguments: str, **variables: Any) -> Any:
    return controller.run("prune_backups", "-l", "production", *arguments, **variables)


def test_old_backups_go_once_the_newest_is_proved(
    v2: None, check_then_run: CheckThenRun, controller: Controller, stack: Stack, production: Server
) -> None:
    policy = {"keep_daily": 2, "time_zone": "Asia/Tokyo"}
    first, second, third, fourth = (back_up(controller, production) for _number in range(4))
    seal_again(stack, production, first, created="2026-01-05T15:30:00Z")  # the 6th in Tokyo
    seal_again(stack, production, second, created="2026-01-05T14:30:00Z")
    unproved = prune(controller, dbops_retention=policy)
    assert unproved.ok and not unproved.changed and f"the newest, '{fourth}', is not proved" in unproved.summary
    assert verify(controller).ok

    _checked, done = check_then_run("prune_backups", "-l", "production", dbops_retention=policy)
    assert done.result()["removed"] == [second, third]
    assert stack.backups(production) == [first, fourth]
    assert f"{fourth}" in done.summary and "daily 2026-01-06" in done.summary
    assert journal(stack, production)[-1]["removed"] == [second, third]
    again = prune(controller, dbops_retention=policy)
    assert again.ok and not again.changed
    listed = controller.run("backups", "-l", "production", dbops_retention=policy)
    assert "kept because" in listed.summary and "daily 2026-01-06" in listed.summary


def test_without_a_policy_or_with_one_that_keeps_nothing_it_is_refused(
    v2: None, controller: Controller, stack: Stack, production: Server
) -> None:
    back_up(controller, production)
    for variables in ({}, {"dbops_retention": {"keep_daily": 0}}):
        refused = prune(controller, **variables)
        assert not refused.ok and "dbops_retention: {keep_daily: 14" in refused.message
    misspelt = prune(controller, dbops_retention={"keep_dayly": 3})
    assert not misspelt.ok and "keep_dayly" in misspelt.message
    assert len(stack.backups(production)) == 1


def test_a_replaced_database_goes_once_its_backup_is_proved(v2: None, controller: Controller, stack: Stack, production: Server) -> None:
    back_up(controller, production)
    restored = controller.run("restore", "-l", "production", dbops_restore_backup="latest", dbops_confirm="restore:chat")
    assert restored.ok, restored.output
    kept, saved = restored.result()["replaced"], restored.result()["backup_before"]["id"]
    policy = {"dbops_retention": {"keep_last": 1, "kept_database_days": 0}}
    stays = prune(controller, **policy)
    assert stays.ok and kept in production.databases()
    assert f"-e dbops_verify_select={saved}" in stays.summary

    assert verify(controller, dbops_verify_select=saved).ok
    done = prune(controller, **policy)
    assert done.ok, done.output
    assert done.result()["dropped_databases"] == [kept] and kept not in production.databases()
    assert saved in stack.backups(production)


def test_one_that_is_killed_leaves_no_half_backup(v2: None, controller: Controller, stack: Stack, production: Server, hand: Hand) -> None:
    first, second = back_up(controller, production), back_up(controller, production)
    stack.as_deploy(f"cd {production.backups}/{first}/dump && for n in $(seq 20000); do : > filler$n; done")  # removing takes a while
    assert verify(controller).ok
    started = controller.start("prune_backups", "-l", "production", dbops_retention={"keep_last": 1})
    caught = stop_in(hand, production, "prune_backups", "prune: remove")
    assert caught
    caught.kill()
    assert not started.wait().ok
    assert stack.backups(production) in ([second], [first, second])
    following = prune(controller, dbops_retention={"keep_last": 1})
    assert following.ok, following.output
    assert stack.backups(production) == [second]
    assert left_behind(stack) == []
