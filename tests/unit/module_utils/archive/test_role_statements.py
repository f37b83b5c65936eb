# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which roles the statements of a dump need, in the forms that pg_dump writes."""

from __future__ import annotations

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.archive._role_statements import roles_of, without_roles


@pytest.mark.parametrize(
    ("statement", "roles"),
    [
        ("ALTER TABLE public.users OWNER TO chat_owner;\n", {"chat_owner"}),
        ('ALTER FUNCTION public.f(a text DEFAULT \'x OWNER TO y\'::text) OWNER TO "Chat ""Owner""";\n', {'Chat "Owner"'}),
        ("ALTER LARGE OBJECT 123 OWNER TO Chat_Owner;\n", {"chat_owner"}),
        ("GRANT ALL ON SCHEMA public TO PUBLIC;\n", set()),
        ('GRANT SELECT(a),UPDATE(b) ON TABLE public."x TO y" TO "READWRITE_test" WITH GRANT OPTION;\n', {"READWRITE_test"}),
        ("GRANT a TO b GRANTED BY c;", {"b", "c"}),
        ("GRANT SELECT ON TABLE t TO a, GROUP b, public;\r\n", {"a", "b"}),
        ("REVOKE ALL ON TABLE public.users FROM chat_owner;\n", {"chat_owner"}),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC;\n", set()),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA public GRANT SELECT ON TABLES TO b;\n", {"a", "b"}),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE a REVOKE ALL ON FUNCTIONS FROM PUBLIC;\n", {"a"}),
        ("SET SESSION AUTHORIZATION 'O''Brien';\n", {"O'Brien"}),
        ("SET SESSION AUTHORIZATION DEFAULT;\n", set()),
        ("CREATE POLICY own ON public.users FOR SELECT TO a, b USING ((name = CURRENT_USER));\n", {"a", "b"}),
        ("CREATE POLICY own ON public.users USING (('x TO y'::text = name));\n", set()),
        ("CREATE POLICY own ON public.users AS RESTRICTIVE TO a WITH CHECK (true);\n", {"a"}),
        ("CREATE USER MAPPING FOR a SERVER elsewhere OPTIONS (\n    \"user\" 'x'\n);\n", {"a"}),
        ("CREATE USER MAPPING FOR PUBLIC SERVER elsewhere;\n", set()),
        ("CREATE SCHEMA s AUTHORIZATION a;\n", {"a"}),
        ("ALTER TABLE ONLY public.users\n    ADD CONSTRAINT users_pkey PRIMARY KEY (id);\n", set()),
        ("SET default_tablespace = '';\n", set()),
        ("GRANT SELECT ON TABLE t TO r\u00e4tin;\n", {"r\u00e4tin"}),
    ],
)
def test_the_roles_of_a_statement(statement: str, roles: set[str]) -> None:
    assert roles_of(statement) == roles
    assert without_roles(statement, set()) == statement
    assert without_roles(statement, {"somebody_else"}) == statement


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("ALTER TABLE public.users OWNER TO gone;\n", ""),
        ("GRANT SELECT ON TABLE t TO gone, a, PUBLIC;\n", "GRANT SELECT ON TABLE t TO a, PUBLIC;\n"),
        ("GRANT SELECT ON TABLE t TO a GRANTED BY gone;\n", ""),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE gone GRANT SELECT ON TABLES TO a;\n", ""),
        ("CREATE POLICY p ON t TO a, gone USING (true);\n", "CREATE POLICY p ON t TO a USING (true);\n"),
        ("CREATE POLICY p ON t TO gone USING (true);\n", ""),
        ("SET SESSION AUTHORIZATION 'gone';\n", "SET SESSION AUTHORIZATION DEFAULT;\n"),
    ],
)
def test_what_is_left_without_a_role(statement: str, left: str) -> None:
    assert without_roles(statement, {"gone"}) == left
