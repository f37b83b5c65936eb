# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups on disk: what has a final name is whole, private, and exactly what was written."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.archive import _manifest
from ansible_collections.dbops.postgres.plugins.module_utils.archive._catalogue import BEFORE_RESTORE, Archive, select
from ansible_collections.dbops.postgres.plugins.module_utils.archive._files import sha256, write_file
from ansible_collections.dbops.postgres.plugins.module_utils.archive._manifest import (
    FORMAT_ENCRYPTED,
    MANIFEST,
    Backup,
    Manifest,
    foreign_files,
    read_backup,
    verify_files,
    verify_shape,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._timestamps import parse_time
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import AT, OTHER_RUN, RUN, SERVER_ID, manifest, properties, published


def finals(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def work_with_files(folder: Path) -> str:
    work = Path(Archive(str(folder)).work_folder(RUN, "backup"))
    (work / "dump").mkdir(mode=0o700)
    (work / "dump" / "toc.dat").write_bytes(b"toc")
    (work / "dump" / "toc.dat").chmod(0o644)
    return str(work)


# --- publishing -----------------------------------------------------------------------------------------------------------


def test_a_published_backup_reads_back_as_it_was_written(tmp_path: Path) -> None:
    backup = published(tmp_path)
    again = read_backup(str(tmp_path / "chat_20261123_030000"))
    assert again == backup
    assert again.manifest.size == 300 + 256 + 42
    assert again.manifest.rows == 8
    assert [entry.path for entry in again.manifest.files] == ["dump/1.dat.gz", "dump/toc.dat", "schema.json"]
    assert finals(tmp_path) == ["chat_20261123_030000"]
    assert again.dump == str(tmp_path / "chat_20261123_030000" / "dump")


def test_everything_in_a_backup_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    old = os.umask(0o022)
    try:
        Archive(str(folder)).require_writable()
        backup = Archive(str(folder)).publish(work_with_files(folder), manifest())
    finally:
        os.umask(old)
    found = [Path(backup.path), folder, *Path(backup.path).rglob("*")]
    assert len(found) == 5
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", ["fsync", "rename", "chmod", "open"])
@pytest.mark.parametrize("survives", range(12))
def test_a_crash_at_any_step_leaves_nothing_that_looks_like_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, survives: int
) -> None:
    """Every call of the system function after the first ``survives`` ones fails, as on a full or broken disk."""
    work = work_with_files(tmp_path)
    real, calls = getattr(os, name), []

    def fail(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) > survives:
            raise OSError(28, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(os, name, fail)
    try:
        Archive(str(tmp_path)).publish(work, manifest())
        failed = False
    except OSError:
        failed = True
    monkeypatch.undo()
    backups, unreadable = Archive(str(tmp_path)).catalogue()
    assert unreadable == []
    for backup in backups:  # only where the very last step, after the rename, failed or nothing did
        verify_files(read_backup(backup.path))
    if failed and not backups:
        assert finals(tmp_path) == []
    if not failed:
        assert finals(tmp_path) == ["chat_20261123_030000"]


def test_a_disk_that_fails_before_the_rename_leaves_no_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_with_files(tmp_path)

    def fail(*_args: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        Archive(str(tmp_path)).publish(work, manifest())
    assert finals(tmp_path) == []


def test_everything_is_on_the_disk_before_the_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_with_files(tmp_path)
    journal = []
    real_sync, real_rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (journal.append(os.readlink("/proc/self/fd/%d" % fd)), real_sync(fd)))
    monkeypatch.setattr(os, "rename", lambda a, b: (journal.append("rename"), real_rename(a, b)))
    Archive(str(tmp_path)).publish(work, manifest())
    before, after = journal[: journal.index("rename")], journal[journal.index("rename") + 1 :]
    assert set(before) == {work, work + "/dump", work + "/dump/toc.dat", work + "/" + MANIFEST}
    assert after == [str(tmp_path)]


def test_a_name_that_is_taken_is_never_overwritten(tmp_path: Path) -> None:
    published(tmp_path)
    with pytest.raises(DbopsError, match="exists already"):
        Archive(str(tmp_path)).publish(work_with_files(tmp_path), manifest())
    verify_files(read_backup(str(tmp_path / "chat_20261123_030000")))


def test_a_new_file_is_private_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    write_file(str(path), "secret é\n")
    assert path.read_text(encoding="utf-8") == "secret é\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_file(str(path), "other")


# --- names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database", "reason", "name"),
    [
        ("chat", "", "chat_20261123_030000"),
        ("chat", "before_migration", "chat_20261123_030000_before_migration"),
        ("my db/../x", "", "my%20db%2F..%2Fx_20261123_030000"),
        ("größe", "", "gr%C3%B6%C3%9Fe_20261123_030000"),
    ],
)
def test_names_are_safe_and_readable(tmp_path: Path, database: str, reason: str, name: str) -> None:
    assert Archive(str(tmp_path)).new_id(database, AT, reason) == name


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    for _time in range(3):
        (tmp_path / Archive(str(tmp_path)).new_id("chat", AT, "x")).mkdir()
    assert finals(tmp_path) == ["chat_20261123_030000_x", "chat_20261123_030000_x-2", "chat_20261123_030000_x-3"]


names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1).filter(
    lambda name: len(name.encode()) <= 63
)


@given(names)
def test_a_backup_of_any_database_can_be_found_again(name: str) -> None:
    new = Archive("/nowhere").new_id(name, AT, "before_migration")
    assert "/" not in new and "\0" not in new
    assert not new.startswith(".")
    assert len(new.encode()) <= 255


def test_the_longest_name_with_the_longest_reason_fits(tmp_path: Path) -> None:
    (tmp_path / Archive(str(tmp_path)).new_id("デ" * 21, AT, "x" * 60)).mkdir()


# --- the manifest's seal --------------------------------------------------------------------------------------------------


def test_any_changed_byte_of_a_manifest_is_refused_or_says_the_same(tmp_path: Path) -> None:
    backup = published(tmp_path, properties=properties(grants=None, settings=()), roles=())
    path = Path(backup.path, MANIFEST)
    whole = path.read_bytes()
    for position in range(0, len(whole), 2):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << position % 7)]) + whole[position + 1 :])
        try:
            assert read_backup(backup.path) == backup, position
        except DbopsError:
            continue


def test_every_cut_of_a_manifest_is_refused(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = Path(backup.path, MANIFEST)
    whole = path.read_bytes().rstrip()
    for end in range(0, len(whole), 5):
        path.write_bytes(whole[:end])
        with pytest.raises(DbopsError):
            read_backup(backup.path)


def test_a_manifest_without_a_seal_or_of_another_shape_is_refused(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = Path(backup.path, MANIFEST)
    data = json.loads(path.read_text(encoding="utf-8"))
    for other in ([], {}, "x", 3, None, {key: value for key, value in data.items() if key != "seal"}, dict(data, seal=None)):
        path.write_text(json.dumps(other), encoding="utf-8")
        with pytest.raises(DbopsError, match="use another backup"):
            read_backup(backup.path)


def sealed_again(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["seal"]
    for name, value in changes.items():
        if value is KeyError:
            del data[name]
        else:
            data[name] = value
    path.write_text(json.dumps(dict(data, seal=_manifest.seal(data))), encoding="utf-8")


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    backup = published(tmp_path)
    sealed_again(Path(backup.path, MANIFEST), format=FORMAT_ENCRYPTED + 1)
    with pytest.raises(DbopsError, match="upgrade the collection"):
        read_backup(backup.path)


@pytest.mark.parametrize(
    "changes", [{"tables": KeyError}, {"tables": 3}, {"roles": None}, {"properties": None}, {"files": [{"x": 1}]}, {"id": KeyError}]
)
def test_a_manifest_that_lacks_something_is_refused(tmp_path: Path, changes: dict) -> None:
    backup = published(tmp_path)
    sealed_again(Path(backup.path, MANIFEST), **changes)
    with pytest.raises(DbopsError, match="lacks something"):
        read_backup(backup.path)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(DbopsError, match="is not a backup"):
        read_backup(str(tmp_path))


def test_a_manifest_survives_json_with_everything_in_it() -> None:
    whole = manifest(properties=properties(grants=None, comment="é'\"\\\n", settings=()), extensions={}, roles=(), tables=(), backend={})
    assert Manifest.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    assert Manifest.from_json(json.loads(json.dumps(manifest().to_json()))) == manifest()


# --- verifying ------------------------------------------------------------------------------------------------------------


def test_an_untouched_backup_verifies(tmp_path: Path) -> None:
    verify_files(published(tmp_path))


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = Path(backup.path, "dump", "1.dat.gz")
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << position % 8)]) + whole[position + 1 :])
        with pytest.raises(DbopsError, match=r"1\.dat\.gz.*SHA-256"):
            verify_files(backup)


@pytest.mark.parametrize("contents", [b"", b"toc", b"toc" * 100 + b"x"])
def test_a_cut_or_longer_file_is_found(tmp_path: Path, contents: bytes) -> None:
    backup = published(tmp_path)
    Path(backup.path, "dump", "toc.dat").write_bytes(contents)
    with pytest.raises(DbopsError, match=r"toc\.dat.* bytes instead of 300"):
        verify_files(backup)


def test_a_missing_file_is_found_and_so_is_a_folder_in_its_place(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = Path(backup.path, "dump", "toc.dat")
    path.unlink()
    with pytest.raises(DbopsError, match=r"toc\.dat' is missing"):
        verify_files(backup)
    path.mkdir()
    with pytest.raises(DbopsError, match=r"toc\.dat' is missing"):
        verify_files(backup)


@pytest.mark.parametrize("name", ["dump/toc.dat", "dump", "manifest.json"])
def test_a_link_is_damage_although_its_contents_are_right(tmp_path: Path, name: str) -> None:
    backup = published(tmp_path)
    path = Path(backup.path, name)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    for verify in (verify_files, verify_shape):
        with pytest.raises(DbopsError, match=f"is damaged: '{name}' is a symbolic link.*Use another backup"):
            verify(read_backup(backup.path))


def test_a_link_that_belongs_to_nobody_is_damage_too(tmp_path: Path) -> None:
    backup = published(tmp_path)
    Path(backup.path, "dump", "2.dat").symlink_to("/nowhere")
    with pytest.raises(DbopsError, match=r"'dump/2\.dat' is a symbolic link"):
        verify_files(backup)


def test_foreign_files_are_named_and_do_no_harm(tmp_path: Path) -> None:
    backup = published(tmp_path)
    names = ("core", "dump/.nfs0001", "dump/toc.dat.bak", "manifest.json.tmp")
    for name in names:
        Path(backup.path, name).write_text("x")
    assert verify_files(backup) == names
    sentence = foreign_files(backup, names)
    assert all("'%s'" % name in sentence for name in names) and "Nothing is restored from them" in sentence
    assert foreign_files(backup, ()) == ""
    assert "'4' and 4 more" in foreign_files(backup, [str(number) for number in range(9)])


@pytest.mark.parametrize("name", ["1.dat", "1.dat.lz4", "1.dat.zst", "toc.dat.gz"])
def test_a_foreign_file_that_pg_restore_might_read_instead_is_damage(tmp_path: Path, name: str) -> None:
    """It takes 1.dat before 1.dat.gz, and does not ask which of them was checksummed."""
    backup = published(tmp_path)
    Path(backup.path, "dump", name).write_text("x")
    with pytest.raises(DbopsError, match=f"'dump/{name}' is none of its own, and pg_restore might read it"):
        verify_files(backup)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    backup = published(tmp_path)
    path = Path(backup.path, "dump", "toc.dat")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DbopsError, match="is not a plain file"):
        verify_files(backup)


def test_the_checksum_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(str(tmp_path / "x")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# --- the catalogue --------------------------------------------------------------------------------------------------------


def test_the_catalogue_shows_whole_backups_newest_first_and_names_what_is_damaged(tmp_path: Path) -> None:
    for day in ("21", "23", "22"):
        published(tmp_path, id="chat_202611%s_030000" % day, created="2026-11-%sT03:00:00Z" % day)
    published(tmp_path, id="shop_20261124_030000", database="shop", created="2026-11-24T03:00:00Z")
    Path(published(tmp_path, id="damaged").path, MANIFEST).write_text("{", encoding="utf-8")
    work_with_files(tmp_path)  # a partial one of a living or dead run
    (tmp_path / "journal.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "a folder of somebody else").mkdir()
    shutil.copytree(str(tmp_path / "chat_20261121_030000"), str(tmp_path / ".hidden"))
    backups, unreadable = Archive(str(tmp_path)).catalogue("chat")
    assert [backup.manifest.id for backup in backups] == ["chat_20261123_030000", "chat_20261122_030000", "chat_20261121_030000"]
    assert unreadable == ["damaged"]
    assert len(Archive(str(tmp_path)).catalogue()[0]) == 4


def test_a_folder_that_is_not_there_holds_no_backups(tmp_path: Path) -> None:
    assert Archive(str(tmp_path / "missing")).catalogue() == ([], [])


def test_a_folder_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DbopsError, match="cannot be read"):
        Archive(str(tmp_path / "file")).catalogue()


def test_leftovers_are_the_partial_folders_of_dead_runs(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path))
    dead, alive = archive.work_folder(OTHER_RUN, "backup"), archive.work_folder(RUN, "backup")
    for name in ("chat_20261123_030000", ".dbops-x", ".dbops-20261123T030000-backup", ".ssh"):
        (tmp_path / name).mkdir()
    assert archive.leftovers(lambda run_id: run_id == RUN) == [dead]
    assert sorted(archive.leftovers(lambda _run_id: False)) == sorted([dead, alive])
    assert Archive(str(tmp_path / "missing")).leftovers(lambda _run_id: False) == []


# --- choosing -------------------------------------------------------------------------------------------------------------


def backup_of(day: int, server: str = SERVER_ID, database: str = "chat") -> Backup:
    name = "%s_202611%02d_030000" % (database, day)
    return Backup("/b/" + name, manifest(id=name, database=database, created="2026-11-%02dT03:00:00Z" % day, server_identifier=server))


CATALOGUE = [backup_of(23, server="other"), backup_of(22), backup_of(21), backup_of(20, server="other"), backup_of(19)]


@pytest.mark.parametrize(
    ("wanted", "day"),
    [
        ("latest", 22),
        ("chat_20261119_030000", 19),
        ("chat_20261123_030000", 23),
        ("2026-11-22T03:00:00Z", 22),
        ("2026-11-22T03:00", 22),
        ("2026-11-22 02:59:59", 21),
        ("2026-11-22", 21),
        ("2026-11-22T03:59+01:00", 21),
        ("2026-11-22T04:00+01:00", 22),
        ("2026-11-20T12:00", 19),
        ("2030-01-01", 22),
    ],
)
def test_the_wanted_backup_is_chosen(wanted: str, day: int) -> None:
    assert select(CATALOGUE, wanted, SERVER_ID, "chat").manifest.id == "chat_202611%02d_030000" % day


@pytest.mark.parametrize("wanted", ["2026-11-19T02:59", "chat_20261118_030000", "newest", "", "chat"])
def test_a_backup_that_is_not_there_is_refused_with_those_that_are(wanted: str) -> None:
    with pytest.raises(DbopsError, match="The newest: chat_20261123_030000, "):
        select(CATALOGUE, wanted, SERVER_ID, "chat")


def test_backups_of_another_server_are_only_taken_by_name() -> None:
    for wanted in ("latest", "2030-01-01"):
        with pytest.raises(DbopsError, match="come from elsewhere"):
            select(CATALOGUE, wanted, "new server", "chat")
    assert select(CATALOGUE, "chat_20261120_030000", "new server", "chat").manifest.server_identifier == "other"


def test_the_latest_is_never_a_backup_of_another_database() -> None:
    both = [backup_of(23, database="shop"), backup_of(22)]
    assert select(both, "latest", SERVER_ID, "chat").manifest.database == "chat"
    assert select(both, "2030-01-01", SERVER_ID, "chat").manifest.database == "chat"
    assert select(both, "shop_20261123_030000", SERVER_ID, "chat").manifest.database == "shop"


def test_the_latest_is_not_what_was_saved_before_a_restore_that_did_not_help() -> None:
    newest = backup_of(23)
    saved = Backup(newest.path, manifest(**{**newest.manifest.__dict__, "reason": BEFORE_RESTORE}))
    assert select([saved, backup_of(22)], "latest", SERVER_ID, "chat") == backup_of(22)
    assert select([saved, backup_of(22)], saved.manifest.id, SERVER_ID, "chat") == saved
    assert select([saved, backup_of(22)], "2030-01-01", SERVER_ID, "chat") == saved
    with pytest.raises(DbopsError, match="There is no backup 'latest'"):
        select([saved], "latest", SERVER_ID, "chat")


def test_there_is_no_latest_where_the_clock_was_set_back() -> None:
    def counted(day: int, transaction: int) -> Backup:
        backup = backup_of(day)
        return Backup(backup.path, manifest(**{**backup.manifest.__dict__, "next_transaction": transaction}))

    assert select([counted(22, 760), counted(21, 750)], "latest", SERVER_ID, "chat") == counted(22, 760)
    assert select([counted(22, 750), counted(21, 750)], "latest", SERVER_ID, "chat") == counted(22, 750)
    behind = [counted(22, 750), counted(21, 760)]
    with pytest.raises(DbopsError, match=r"by the clock it is 'chat_20261122_030000', .* transactions 'chat_20261121_030000'.* by its id"):
        select(behind, "latest", SERVER_ID, "chat")
    assert select(behind, "chat_20261121_030000", SERVER_ID, "chat") == behind[1]
    assert select(behind, "2026-11-21T12:00", SERVER_ID, "chat") == behind[1]


def test_an_empty_catalogue_says_so() -> None:
    with pytest.raises(DbopsError, match="The newest: none"):
        select([], "latest", SERVER_ID, "chat")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T03:00", (2026, 11, 20, 3, 0, 0)),
        ("2026-11-20 03:00:05", (2026, 11, 20, 3, 0, 5)),
        ("2026-11-20", (2026, 11, 20, 0, 0, 0)),
        ("2026-11-20T03:00:00Z", (2026, 11, 20, 3, 0, 0)),
        (" 2026-11-20T03:00:00+02:00 ", (2026, 11, 20, 1, 0, 0)),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, moment: tuple) -> None:
    assert parse_time(text) == datetime.datetime(*moment, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize("text", ["", "latest", "yesterday", "2026-13-01", "2026-11-20T25:00", "chat_20261120_030000", "20.11.2026", "Z"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None


# --- the folder itself ----------------------------------------------------------------------------------------------------


def test_a_missing_backup_folder_is_made_private_and_its_parents_are_not(tmp_path: Path) -> None:
    Archive(str(tmp_path / "backups")).require_writable()
    assert stat.S_IMODE((tmp_path / "backups").stat().st_mode) == 0o700
    with pytest.raises(DbopsError, match="install -d -m 0700"):
        Archive(str(tmp_path / "a" / "b")).require_writable()


def test_the_advice_names_the_user_who_needs_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DbopsError) as error:
        Archive(str(tmp_path / "a" / "b")).require_writable()
    assert "id -un" not in error.value.message  # run as root, that would be root


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_symbolic_link_is_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(DbopsError, match="symbolic link"):
        Archive(str(tmp_path / "link") + ending).require_writable()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DbopsError, match="is not a folder"):
        Archive(str(tmp_path / "file")).require_writable()


def test_free_space_is_told_before_the_folder_exists(tmp_path: Path) -> None:
    assert Archive(str(tmp_path)).free_space() > 0
    assert Archive(str(tmp_path / "backups")).free_space() > 0
    with pytest.raises(DbopsError, match="make its parent first"):
        Archive(str(tmp_path / "backups" / "chat")).free_space()


@pytest.mark.parametrize("folder", ["backups", "~/backups", "/opt/back\nups", "/opt/\x1b[2J"])
def test_a_folder_that_is_no_absolute_path_in_one_line_is_refused(folder: str) -> None:
    with pytest.raises(DbopsError, match="dbops_backup_dir has to be an absolute path in one line on the target host, not '"):
        Archive(folder)
