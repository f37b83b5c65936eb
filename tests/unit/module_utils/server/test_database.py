# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to a database itself: read, carried over, and written down in statements that quote every name."""

from __future__ import annotations

import typing as t

import psycopg2
import psycopg2.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import sql

from ansible_collections.dbops.postgres.plugins.module_utils.server import _database
from ansible_collections.dbops.postgres.plugins.module_utils.server._database import (
    NAME_BYTES,
    Grant,
    Properties,
    Setting,
    derived_name,
    grant_statement,
    setting_statement,
    split_names,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import ServerError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection, plain, properties

CHAT = sql.Identifier("chat")

names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1).filter(
    lambda name: len(name.encode()) <= 63
)


# --- statements -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "statement"),
    [
        (Grant("", "CONNECT", False), 'GRANT CONNECT ON DATABASE "chat" TO PUBLIC'),
        (Grant("reader", "TEMPORARY", True), 'GRANT TEMPORARY ON DATABASE "chat" TO "reader" WITH GRANT OPTION'),
        (Grant("PUBLIC", "CREATE", False), 'GRANT CREATE ON DATABASE "chat" TO "PUBLIC"'),
        (Grant('odd"role; x', "CREATE", False), 'GRANT CREATE ON DATABASE "chat" TO "odd""role; x"'),
    ],
)
def test_a_grant_names_its_role_quoted(grant: Grant, statement: str) -> None:
    assert plain(grant_statement(CHAT, grant)) == statement


@pytest.mark.parametrize(
    ("setting", "statement"),
    [
        (Setting("", "statement_timeout", "5s"), 'ALTER DATABASE "chat" SET "statement_timeout" TO \'5s\''),
        (Setting("ann", "work_mem", "8MB"), 'ALTER ROLE "ann" IN DATABASE "chat" SET "work_mem" TO \'8MB\''),
        (Setting("", "app.tenant", "it's"), 'ALTER DATABASE "chat" SET "app"."tenant" TO \'it\'\'s\''),
        (Setting("", "search_path", '"$user", public'), "ALTER DATABASE \"chat\" SET \"search_path\" TO '$user', 'public'"),
        (Setting("", "search_path", '""'), 'ALTER DATABASE "chat" SET "search_path" TO \'\''),
        (Setting("", "DateStyle", "ISO, DMY"), 'ALTER DATABASE "chat" SET "DateStyle" TO \'ISO, DMY\''),
    ],
)
def test_a_setting_keeps_its_value(setting: Setting, statement: str) -> None:
    assert plain(setting_statement(CHAT, setting)) == statement


def quote_ident(name: str) -> str:
    """As the server stores a name in a list setting."""
    return (
        name
        if name.isascii() and name.replace("_", "a").isalnum() and name.islower() and not name[0].isdigit()
        else '"%s"' % name.replace('"', '""')
    )


@given(st.lists(names, min_size=1, max_size=4))
def test_the_names_of_a_list_setting_come_back_as_they_were(wanted: list) -> None:
    assert split_names(", ".join(map(quote_ident, wanted))) == wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("public", ["public"]),
        ('"$user", public', ["$user", "public"]),
        ('"$user",public', ["$user", "public"]),
        ('"a, b", "c""d"', ["a, b", 'c"d']),
        ("", [""]),
        ('""', [""]),
        ('"open', ["open"]),
    ],
)
def test_names_in_a_list_setting(text: str, found: list) -> None:
    assert split_names(text) == found


# --- names within the limit -----------------------------------------------------------------------------------------------


@given(
    names, st.sampled_from(["_next_20261123T030000_3f9a2c", "_before_restore_20261123T030000", "_before_rejected_20261123T030000_3f9a2c"])
)
def test_a_derived_name_is_never_longer_than_postgresql_allows(name: str, suffix: str) -> None:
    derived = derived_name(name, suffix)
    assert len(derived.encode("utf-8")) <= NAME_BYTES
    assert derived.endswith(suffix)
    kept = derived[: -len(suffix)]
    assert name.startswith(kept)
    assert kept == name or len(derived.encode()) + len(name[len(kept)].encode()) > NAME_BYTES  # cut only where it has to be


def test_a_short_name_is_kept_whole() -> None:
    assert derived_name("chat", "_before_restore_20261123T030000") == "chat_before_restore_20261123T030000"


# --- properties -----------------------------------------------------------------------------------------------------------


def test_properties_survive_json() -> None:
    for whole in (properties(), properties(grants=None, settings=(), comment="é'\n")):
        assert Properties.from_json(whole.to_json()) == whole


def test_our_own_settings_are_told_apart() -> None:
    mixed = properties(
        settings=(Setting("", "dbops.environment", "preview"), Setting("ann", "dbops.seeds", "x"), Setting("", "work_mem", "8MB"))
    )
    assert mixed.own_setting("environment") == "preview"
    assert mixed.own_setting("seeds") == ""  # of a role, not of the database
    assert mixed.without_own_settings().settings == (Setting("", "work_mem", "8MB"),)


def test_an_empty_database_gets_what_cannot_be_changed_later() -> None:
    connection = FakeConnection()
    _database.create(connection, 'odd"name', properties())
    assert connection.statements == [
        "CREATE DATABASE \"odd\"\"name\" TEMPLATE template0 OWNER \"chat_owner\" ENCODING 'UTF8' LC_COLLATE 'en_US.utf8' LC_CTYPE 'en_US.utf8'"
        ' TABLESPACE "pg_default"'
    ]


@pytest.mark.parametrize(
    ("provider", "locale", "version", "clause"),
    [
        ("icu", "en-US", 150000, " LOCALE_PROVIDER \"icu\" ICU_LOCALE 'en-US'"),
        ("icu", "de", 180000, " LOCALE_PROVIDER \"icu\" ICU_LOCALE 'de'"),
        ("builtin", "C.UTF-8", 170000, " LOCALE_PROVIDER \"builtin\" BUILTIN_LOCALE 'C.UTF-8'"),
        ("libc", "", 170000, ""),
        ("libc", "", 140000, ""),
    ],
)
def test_the_locale_provider_is_kept(provider: str, locale: str, version: int, clause: str) -> None:
    connection = FakeConnection(server_version=version)
    _database.create(connection, "x", properties(provider=provider, locale=locale))
    assert connection.statements[0].endswith('TABLESPACE "pg_default"' + clause)


def test_grants_replace_the_default_ones_and_our_own_settings_stay_behind() -> None:
    connection = FakeConnection()
    _database.apply_properties(connection, "chat", properties(comment="it's", connection_limit=9))
    assert connection.statements == [
        'ALTER DATABASE "chat" CONNECTION LIMIT 9',
        "COMMENT ON DATABASE \"chat\" IS 'it''s'",
        'REVOKE ALL ON DATABASE "chat" FROM PUBLIC, "chat_owner"',
        'GRANT CONNECT ON DATABASE "chat" TO PUBLIC',
        'GRANT TEMPORARY ON DATABASE "chat" TO "reader" WITH GRANT OPTION',
        'ALTER ROLE "reader" IN DATABASE "chat" SET "search_path" TO \'$user\', \'public\'',
    ]


def test_a_database_on_which_nothing_was_granted_keeps_the_defaults() -> None:
    connection = FakeConnection()
    _database.apply_properties(connection, "chat", properties(grants=None, settings=()))
    assert connection.statements == ['ALTER DATABASE "chat" CONNECTION LIMIT -1']


@pytest.mark.parametrize(("version", "provider"), [(140000, "'c'"), (150000, "d.datlocprovider"), (170000, "d.datlocprovider")])
def test_properties_are_read_on_every_supported_version(version: int, provider: str) -> None:
    columns = (16384, False, "c", "own", "UTF8", "C", "C", "", "2.36", "pg_default", -1, "words")
    connection = FakeConnection(
        {
            "FROM pg_database d JOIN pg_tablespace": [columns],
            "aclexplode": [("", "CONNECT", False)],
            "pg_db_role_setting": [("", "work_mem", "8MB")],
        },
        server_version=version,
    )
    found = _database.read_properties(connection, "chat")
    assert found == Properties(
        "own",
        "UTF8",
        "C",
        "C",
        "libc",
        "",
        "2.36",
        "pg_default",
        -1,
        "words",
        (Grant("", "CONNECT", False),),
        (Setting("", "work_mem", "8MB"),),
    )
    assert provider in connection.statements[0]
    assert connection.parameters == [("chat",), (16384,), (16384,)]


def test_a_database_without_an_acl_has_no_grants_at_all() -> None:
    columns = (16384, True, "i", "own", "UTF8", "C", "C", "en", "", "pg_default", -1, "")
    connection = FakeConnection({"FROM pg_database d JOIN pg_tablespace": [columns]})
    found = _database.read_properties(connection, "chat")
    assert found.grants is None and found.provider == "icu"
    assert not connection.said("aclexplode")


# --- small questions ------------------------------------------------------------------------------------------------------


def test_a_database_that_is_not_there_is_refused_with_those_that_are() -> None:
    connection = FakeConnection({"SELECT datname": [("chat",), ("postgres",)]})
    with pytest.raises(ServerError, match=r"no database 'chta'.*Databases here: chat, postgres"):
        _database.require(connection, "chta")
    _database.require(FakeConnection({"SELECT 1 FROM pg_database": [(1,)]}), "chat")


def test_our_own_setting_is_set_read_and_taken_away() -> None:
    connection = FakeConnection({"FROM pg_db_role_setting": [("chat", "production"), ("chat_preview", "preview")]})
    _database.set_own(connection, "chat", "environment", "production")
    _database.set_own(connection, "chat", "environment", "")
    assert connection.statements == [
        'ALTER DATABASE "chat" SET "dbops"."environment" TO \'production\'',
        'ALTER DATABASE "chat" RESET "dbops"."environment"',
    ]
    assert _database.read_own(connection, "environment") == {"chat": "production", "chat_preview": "preview"}
    assert connection.parameters[-1] == ("dbops.environment",)


def test_dropping_ends_sessions_and_does_not_mind_that_it_is_gone() -> None:
    connection = FakeConnection()
    _database.drop(connection, 'a"b')
    assert connection.statements == [
        "SET statement_timeout = '300s'",
        'DROP DATABASE IF EXISTS "a""b" WITH (FORCE)',
        "RESET statement_timeout",
    ]


def test_a_database_that_cannot_be_dropped_in_time_is_named() -> None:
    """The server waits for each of its processes, and would for ever for one that hangs."""
    connection = FakeConnection({"DROP DATABASE": psycopg2.errors.QueryCanceled("canceling statement due to statement timeout")})
    with pytest.raises(ServerError, match="Database 'chat_next' could not be dropped: canceling statement"):
        _database.drop(t.cast(t.Any, connection), "chat_next")
    assert connection.statements[-1] == "RESET statement_timeout"
