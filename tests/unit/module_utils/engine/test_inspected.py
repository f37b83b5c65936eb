# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `docker inspect` says, of engines old and new, recorded from real ones."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.dbops.postgres.plugins.module_utils.engine._inspected import (
    parse_container,
    parse_env,
    parse_image,
    require_running,
)
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import DbopsError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import recorded

INSPECT: dict[str, t.Any] = json.loads(recorded("inspect_20_10.json"))


def as_engine_28(data: dict[str, t.Any]) -> dict[str, t.Any]:
    """The same container as newer engines show it: aliases without the short id, names in ``DNSNames``, old fields gone."""
    networks = {
        name: dict(
            {key: item for key, item in place.items() if key != "Aliases"},
            Aliases=[alias for alias in place["Aliases"] or () if alias != data["Id"][:12]] or None,
            DNSNames=place["Aliases"],
            GwPriority=0,
        )
        for name, place in data["NetworkSettings"]["Networks"].items()
    }
    settings = {key: data["NetworkSettings"][key] for key in ("SandboxID", "SandboxKey", "Ports")}
    return dict(data, NetworkSettings=dict(settings, Networks=networks))


@pytest.mark.parametrize("shape", [dict, as_engine_28], ids=["20.10", "28"])
def test_a_compose_database_is_read_from_inspect(shape: t.Callable[[t.Any], t.Any]) -> None:
    found = parse_container(shape(INSPECT["database"]))
    assert found.name == "chat-postgres-prod"
    assert found.image == "dbops-demo/postgres:17"
    assert found.image_id.startswith("sha256:4633")
    assert found.running and found.in_service
    assert found.env["POSTGRES_PASSWORD"] == "p@ss/w:rd%"
    assert found.labels["com.docker.compose.project"] == "chat"
    assert found.labels["com.docker.compose.service"] == "db"
    assert [(place.network, place.address) for place in found.endpoints] == [("chat", "172.19.0.3")]
    assert found.hostnames == ("57bdd71c8854", "chat-postgres-prod", "db")
    assert found.health == "healthy"
    assert found.health_command == ("/bin/sh", "-c", 'pg_isready -q -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"')
    assert found.restarts == 0
    assert [(mount.kind, mount.destination) for mount in found.mounts] == [("volume", "/var/lib/postgresql/data")]


def test_a_backend_with_a_plain_health_command_and_a_user_is_read() -> None:
    found = parse_container(as_engine_28(INSPECT["backend"]))
    assert found.health_command == ("/app/backend", "health")
    assert found.user == "65532:65532"
    assert found.labels["org.opencontainers.image.version"] == "v1"


def test_a_container_on_the_hosts_network_has_a_place_without_an_address() -> None:
    found = parse_container(INSPECT["host_network"])
    assert [(place.network, place.address) for place in found.endpoints] == [("host", "")]
    assert found.health is None and found.health_command == ()


def test_a_container_that_shares_anothers_network_has_no_place() -> None:
    assert parse_container(INSPECT["shared_network"]).endpoints == ()


def test_a_container_that_never_ran_is_not_running() -> None:
    found = parse_container(INSPECT["created"])
    assert (found.status, found.running, found.in_service) == ("created", False, False)


def test_a_container_that_crashes_at_every_start_is_still_meant_to_run() -> None:
    data = dict(
        INSPECT["backend"], State=dict(INSPECT["backend"]["State"], Status="restarting", Running=True, Restarting=True), RestartCount=7
    )
    found = parse_container(data)
    assert (found.status, found.running, found.in_service, found.restarts) == ("restarting", False, True, 7)


def test_an_address_of_ipv6_only_is_taken() -> None:
    data = json.loads(json.dumps(INSPECT["database"]))
    data["NetworkSettings"]["Networks"]["chat"].update(IPAddress="", GlobalIPv6Address="fd00::3")
    assert parse_container(data).endpoints[0].address == "fd00::3"


def test_a_container_with_hardly_anything_is_read() -> None:
    data = {
        "Id": "a" * 64,
        "Name": "/x",
        "Image": "sha256:1",
        "Config": {"Env": None, "Labels": None, "Healthcheck": {"Test": ["NONE"]}},
        "State": {"Status": "exited"},
    }
    found = parse_container(data)
    assert (found.env, found.labels, found.endpoints, found.image, found.health_command) == ({}, {}, (), "sha256:1", ())


def test_an_image_says_where_it_keeps_its_data() -> None:
    found = parse_image(
        {
            "Id": "sha256:18",
            "Config": {"Env": ["PGDATA=/var/lib/postgresql/18/docker"], "Volumes": {"/var/lib/postgresql": {}}, "Labels": None},
        }
    )
    assert (found.env["PGDATA"], found.volumes, found.labels) == ("/var/lib/postgresql/18/docker", ("/var/lib/postgresql",), {})
    assert parse_image({"Id": "sha256:0", "Config": None}).volumes == ()


def test_values_may_hold_equals_signs_and_names_without_a_value_are_left_out() -> None:
    assert parse_env(["A=b=c", "EMPTY=", "NAMEONLY"]) == {"A": "b=c", "EMPTY": ""}
    assert parse_env(None) == {}


def test_a_stopped_database_names_the_command_that_starts_it() -> None:
    with pytest.raises(DbopsError, match="is created, not running: start it with 'docker start ut-created'"):
        require_running(parse_container(INSPECT["created"]))
    running = parse_container(INSPECT["database"])
    assert require_running(running) is running
