# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles are made anew elsewhere with what they may do and without passwords."""

from __future__ import annotations

import json
import typing as t
from dataclasses import asdict

from ansible_collections.dbops.postgres.plugins.module_utils.server._database import Setting
from ansible_collections.dbops.postgres.plugins.module_utils.server._roles import (
    Membership,
    Role,
    family,
    make_roles,
    read_roles,
    with_verifiers,
)
from ansible_collections.dbops.postgres.plugins.module_utils.server._statements import governs_the_log
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeConnection

READER = Role("reader", ("INHERIT", "LOGIN"), 5, (Membership("readers", True),), (Setting("reader", "search_path", '"$user", app'),))
ANN = Role(
    "ann",
    ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"),
    -1,
    (Membership("pg_monitor", False),),
    (Setting("ann", "log_statement", "none"),),
)


def server(**answers: t.Any) -> t.Any:
    return FakeConnection(
        {
            **answers,
            "rolconnlimit": [
                ("ann", -1, True, True, True, True, True, True, True),
                ("reader", 5, False, True, False, False, True, False, False),
            ],
            "pg_get_userbyid(m.roleid)": [("readers", "reader", True), ("pg_monitor", "ann", False)],
            "s.setdatabase = 0": [("reader", "search_path", '"$user", app'), ("ann", "log_statement", "none")],
        }
    )


def test_roles_are_read_without_passwords() -> None:
    source = server()
    assert read_roles(source) == (ANN, READER)
    assert not any("password" in statement.lower() for statement in source.statements)


def test_a_role_survives_its_way_through_a_manifest() -> None:
    assert Role.from_json(json.loads(json.dumps(asdict(READER)))) == READER


def test_a_family_is_what_the_server_says_it_is() -> None:
    source = server(RECURSIVE=[("reader",)])
    assert family(source, ["readers"]) == (READER,)
    assert source.parameters[0] == (["readers"], ["readers"])


def test_missing_roles_are_made_with_what_they_may_do() -> None:
    destination: t.Any = FakeConnection({"SELECT rolname FROM pg_roles": [("ann",), ("readers",)]})
    make_roles(destination, (ANN, READER), without_settings=governs_the_log)
    assert destination.statements[1:] == [
        'CREATE ROLE "reader" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5',
        'GRANT "readers" TO "reader" WITH ADMIN OPTION',
        "ALTER ROLE \"reader\" SET \"search_path\" TO '$user', 'app'",
    ]


VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"


def test_of_a_password_only_what_checks_it_is_read_and_only_scram() -> None:
    source: t.Any = FakeConnection({"has_table_privilege": [(True,)], "FROM pg_authid": [("reader", VERIFIER)]})
    ann, reader = with_verifiers(source, (ANN, READER)) or ()
    assert (ann.verifier, reader.verifier) == ("", VERIFIER)
    assert "LIKE 'SCRAM-SHA-256$%%'" in source.said("FROM pg_authid")[0]
    assert with_verifiers(t.cast(t.Any, FakeConnection({"has_table_privilege": [(False,)]})), (ANN,)) is None
    assert Role.from_json(json.loads(json.dumps(asdict(reader)))) == reader


def test_a_role_is_made_with_what_checks_its_password() -> None:
    destination: t.Any = FakeConnection()
    make_roles(destination, (Role("reader", ("LOGIN",), verifier=VERIFIER),), without_settings=lambda _name: True)
    assert destination.statements[1].endswith(" LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 PASSWORD '%s'" % VERIFIER)


def test_what_a_role_is_a_member_of_but_is_not_there_is_passed_over() -> None:
    destination: t.Any = FakeConnection({"SELECT rolname FROM pg_roles": [("ann",)]})
    make_roles(destination, (READER,), without_settings=lambda _name: True)
    assert [statement.split()[0] for statement in destination.statements] == ["SELECT", "CREATE"]
