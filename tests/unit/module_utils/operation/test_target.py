# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the shared options to the container, its address and credentials, and the backends."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import Endpoint
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.operation._target import Target, TargetOptions, host_of, resolve
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.plugins.module_utils.text._redaction import MASK, Redactor
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import ADDRESS, FakeEngine, container, recorded

INSPECT: dict[str, t.Any] = json.loads(recorded("inspect_20_10.json"))


def with_env(*pairs: str) -> dict[str, t.Any]:
    data = json.loads(json.dumps(INSPECT["database"]))
    data["Config"]["Env"] = list(pairs)
    return data


def engine(database: dict[str, t.Any] | None = None, **answers: Outcome | str) -> FakeEngine:
    engine = FakeEngine(**answers)
    engine.answers.update(
        {
            "container inspect chat-backend": json.dumps([INSPECT["backend"]]),
            "container inspect": json.dumps([database or INSPECT["database"]]),
            "container ls": "chat-backend\nchat-postgres-prod\n",
        }
    )
    return engine


def found(options: TargetOptions, fake: FakeEngine | None = None) -> tuple[Target, Redactor]:
    redactor = Redactor()
    return resolve(Docker(execute=fake or engine()), options, redactor), redactor


def test_credentials_come_from_the_containers_own_environment() -> None:
    target, redactor = found(TargetOptions("chat", container="chat-postgres-prod"))
    assert (target.address.host, target.address.port, target.address.user, target.address.password) == (
        "172.19.0.3",
        5432,
        "postgres",
        "p@ss/w:rd%",
    )
    assert redactor.text("x p@ss/w:rd% y p%40ss%2Fw%3Ard%25") == f"x {MASK} y {MASK}"


def test_given_credentials_come_first() -> None:
    target, redactor = found(TargetOptions("chat", container="x", user="ann", password="hidden-word", port=6000))
    assert (target.address.user, target.address.password, target.address.port) == ("ann", "hidden-word", 6000)
    assert redactor.text("hidden-word p@ss/w:rd%") == "%s %s" % (MASK, MASK)


def test_a_compose_service_is_looked_up() -> None:
    fake = engine()
    fake.answers = {"container ls": "chat-postgres-prod", **{key: item for key, item in fake.answers.items() if key != "container ls"}}
    target, _redactor = found(TargetOptions("chat", compose_project="chat", compose_service="db"), fake)
    assert target.container.name == "chat-postgres-prod"


def test_a_password_in_a_file_of_the_container_is_read_there() -> None:
    data = with_env("POSTGRES_USER=ann", "POSTGRES_PASSWORD_FILE=/run/secrets/db")
    target, redactor = found(TargetOptions("chat", container="x"), engine(data, exec="hidden-word\n"))
    assert (target.address.user, target.address.password) == ("ann", "hidden-word")
    assert redactor.text("hidden-word") == MASK


def test_a_password_file_that_cannot_be_read_is_said() -> None:
    data = with_env("POSTGRES_PASSWORD_FILE=/run/secrets/db")
    with pytest.raises(DbopsError, match=r"names the file '/run/secrets/db' for POSTGRES_PASSWORD, .*: cat: no"):
        found(TargetOptions("chat", container="x"), engine(data, exec=Outcome(1, "", "cat: no\n")))


def test_without_any_credentials_postgres_is_the_user() -> None:
    target, _redactor = found(TargetOptions("chat", container="x"), engine(with_env("PATH=/x")))
    assert (target.address.user, target.address.password) == ("postgres", "")


def test_a_stopped_database_is_refused_first() -> None:
    with pytest.raises(DbopsError, match="not running"):
        found(TargetOptions("chat", container="x"), engine(INSPECT["created"]))


def test_backends_are_found_by_pattern_and_their_secrets_learned() -> None:
    target, redactor = found(TargetOptions("chat", container="x", backends=("chat-back*",)))
    assert [backend.name for backend in target.backends] == ["chat-backend"]
    assert redactor.text("p@ss/w:rd%") == MASK


def test_without_patterns_no_backend_is_asked_for() -> None:
    fake = engine()
    assert found(TargetOptions("chat", container="x"), fake)[0].backends == ()
    assert not fake.called("container ls")


# --- the address ----------------------------------------------------------------------------------------------------------


def test_the_hosts_own_network_is_reached_on_the_loopback() -> None:
    assert host_of(container(endpoints=(Endpoint("host", ""),))) == "127.0.0.1"


def test_the_first_network_with_an_address_is_taken() -> None:
    assert host_of(container(endpoints=(Endpoint("a", ""), Endpoint("b", "10.1.1.1"), Endpoint("c", "10.2.2.2")))) == "10.1.1.1"


def test_a_container_without_an_address_is_refused() -> None:
    with pytest.raises(DbopsError, match="has no address: connect it to a Docker network"):
        host_of(container(endpoints=()))


# --- the backend that migrates --------------------------------------------------------------------------------------------


def target_with(*names: str, wanted: str = "") -> Target:
    return Target("chat", "postgres", container("db"), ADDRESS, tuple(container(name) for name in names), wanted)


def test_the_newest_backend_migrates_unless_another_is_named() -> None:
    assert target_with("old", "new").backend().name == "new"
    assert target_with("old", "new", wanted="old").backend().name == "old"


def test_a_backend_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(DbopsError, match=r"'other' \(dbops_runner_container\) is not among the backends of this database: old, new"):
        target_with("old", "new", wanted="other").backend()
    with pytest.raises(DbopsError, match="deploy the backend first"):
        target_with().backend()
