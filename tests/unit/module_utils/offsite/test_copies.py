# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which copy is which backup, and which one is meant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.offsite._copies import Copy, read_copies, select_copy
from ansible_collections.dbops.postgres.plugins.module_utils.offsite._restic import Snapshot
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError

HERE, THERE = "7300000000000000001", "7300000000000000002"


def copy(day: int, **changes: object) -> Copy:
    made = Copy(
        "chat_202611%02d_030000" % day, "chat", HERE, "2026-11-%02dT03:00:00Z" % day, "", 100, "ab" * 32, "none", "", snapshot="s%d" % day
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def snapshot(of: Copy) -> Snapshot:
    return Snapshot(of.snapshot, "2026-11-30T00:00:00Z", tuple(of.tags))


#: restic takes a comma for the end of a tag.
texts = st.text(st.characters(blacklist_characters=",", blacklist_categories=("Cs", "Cc")), max_size=30)


@given(texts, texts, texts, st.integers(0, 2**50))
def test_the_tags_say_all_of_it(backup: str, database: str, reason: str, size: int) -> None:
    made = copy(1, backup="b" + backup.replace("/", ""), database=database, reason=reason, size=size)
    assert read_copies([snapshot(made)]) == [made]
    assert not any("," in tag for tag in made.tags)


def test_others_snapshots_are_left_out() -> None:
    strangers = [Snapshot("x", "", ()), Snapshot("y", "", ("dbops",)), Snapshot("z", "", ("dbops", "created=yesterday", "size=1"))]
    assert read_copies([*strangers, snapshot(copy(3))]) == [copy(3)]


def test_of_several_of_one_backup_the_last_one_counts() -> None:
    proved = copy(3, proof="proved", proof_at="2026-11-03T04:00:00Z", sequence=1, snapshot="later")
    failed = copy(3, proof="failed", proof_at="2026-11-02T04:00:00Z", sequence=2, snapshot="latest")  # the clock was set back meanwhile
    for order in ([copy(3), proved, failed], [failed, proved, copy(3)]):
        assert read_copies(map(snapshot, order)) == [replace(failed, earlier=("later", "s3"))]


def test_the_newest_comes_first() -> None:
    assert [found.backup[-9:-7] for found in read_copies(map(snapshot, (copy(2), copy(9), copy(4))))] == ["09", "04", "02"]


COPIES = [
    copy(9, reason="before_restore"),
    copy(8, proof="failed", proof_at="2026-11-08T04:00:00Z"),
    copy(7, server=THERE),
    copy(6),
    copy(5, server=THERE),
]


@pytest.mark.parametrize(
    ("wanted", "server", "day"),
    [
        ("latest", HERE, 6),
        ("latest", THERE, 7),
        ("latest", "a new one", 6),
        ("2026-11-06", THERE, 5),
        ("2026-11-07T00:00", HERE, 6),
        ("2026-11-10", HERE, 9),
        ("chat_20261108_030000", THERE, 8),
        ("chat_20261107_030000", HERE, 7),
    ],
)
def test_which_is_meant(wanted: str, server: str, day: int) -> None:
    assert select_copy(COPIES, wanted, server, "there").created == "2026-11-%02dT03:00:00Z" % day


@pytest.mark.parametrize("wanted", ["chat_20261101_030000", "2026-11-01", "nonsense"])
def test_what_is_not_there_is_not_guessed(wanted: str) -> None:
    with pytest.raises(DbopsError, match="There is no copy '%s'.*'there'.*chat_20261109_030000" % wanted):
        select_copy(COPIES, wanted, HERE, "there")


def test_two_servers_hide_nothing_of_each_other() -> None:
    both = [copy(3), copy(3, server=THERE, snapshot="other")]
    assert sorted(found.server for found in read_copies(map(snapshot, both))) == [HERE, THERE]


@pytest.mark.parametrize("name", ["../../evil", ".hidden", "a/b"])
def test_what_is_no_name_of_a_backup_is_none(name: str) -> None:
    assert read_copies([snapshot(copy(3, backup=name))]) == []


def test_which_is_latest_cannot_be_told_after_the_clock_was_set_back() -> None:
    with pytest.raises(DbopsError, match=r"cannot be told.*'chat_20261109_030000'.*'chat_20261103_030000'"):
        select_copy([copy(9, transaction=5), copy(3, transaction=9)], "latest", HERE, "there")
    assert select_copy([copy(9, transaction=5), copy(3, transaction=9)], "2026-11-05", HERE, "there").backup == "chat_20261103_030000"


def test_where_all_have_failed_none_is_latest() -> None:
    with pytest.raises(DbopsError, match=r"did not come back in a test restore: chat_20261108_030000. Name one by its id"):
        select_copy([copy(8, proof="failed")], "latest", HERE, "there")
