# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command lines, what ``docker inspect`` says, and what a person reads when the engine fails. No engine is needed."""

from __future__ import annotations

import csv
import json
import stat
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dbops.postgres.plugins.module_utils.engine import _docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._docker import Docker
from ansible_collections.dbops.postgres.plugins.module_utils.engine._one_shot import OneShot, mount_flag
from ansible_collections.dbops.postgres.plugins.module_utils.engine._process import Outcome
from ansible_collections.dbops.postgres.plugins.module_utils.text._errors import EngineError
from ansible_collections.dbops.postgres.tests.unit.module_utils.fakes import FakeClock, FakeEngine, recorded

INSPECT: dict[str, t.Any] = json.loads(recorded("inspect_20_10.json"))


JOB = OneShot(name="dbops-x-dump", image="sha256:1", argv=("pg_dump", "--format=directory"), labels={"dbops.run": "x"})


# --- argument lists -------------------------------------------------------------------------------------------------------


def test_a_one_shot_container_is_run_and_removed() -> None:
    engine = FakeEngine(container_run=Outcome(3, "out", "err"))
    assert Docker(execute=engine).run(JOB) == Outcome(3, "out", "err")
    assert engine.lines == [
        "docker container run --pull never --name dbops-x-dump --network none --label dbops.run=x --entrypoint pg_dump sha256:1 --format=directory",
        "docker container rm --force --volumes dbops-x-dump",
    ]


def test_every_option_of_a_one_shot_container_has_its_flag() -> None:
    engine = FakeEngine()
    job = replace(
        JOB,
        env={"B": "2", "A": "1"},
        network="container:abc",
        aliases=("db", "chat-db"),
        mounts=(("/b", "/dbops/backup", True), ("/c", "/c", False)),
        tmpfs=("/data",),
        user="1000:1000",
        volumes_from="backend",
        shm_size="256m",
        keep_entrypoint=True,
    )
    Docker("unix:///run/docker.sock", execute=engine).run(job)
    assert engine.lines[0] == (
        "docker --host unix:///run/docker.sock container run --env A --env B --pull never --name dbops-x-dump --network container:abc"
        " --label dbops.run=x --network-alias db --network-alias chat-db --mount type=bind,source=/b,target=/dbops/backup"
        " --mount type=bind,source=/c,target=/c,readonly --tmpfs /data --user 1000:1000 --volumes-from backend --shm-size 256m"
        " sha256:1 pg_dump --format=directory"
    )
    assert engine.environments[0] == {"A": "1", "B": "2"}


def test_a_container_in_several_networks_joins_all_of_them_before_it_starts() -> None:
    engine = FakeEngine(container_start=Outcome(1, "", ""))
    assert Docker(execute=engine).run(replace(JOB, network="chat", further_networks=("cache", "mail"), env={"A": "1"}), timeout=9).rc == 1
    assert [call[1:3] for call in engine.calls] == [
        ["container", "create"],
        ["network", "connect"],
        ["network", "connect"],
        ["container", "start"],
        ["container", "rm"],
    ]
    assert engine.options[3]["timeout"] == 9
    assert engine.environments[0] == {"A": "1"}


def test_a_program_in_a_running_container_gets_names_of_variables_and_files(tmp_path: Path) -> None:
    engine = FakeEngine()
    Docker(execute=engine).exec(
        "c1", ["psql", "-c", "SELECT 1"], env={"PGPASSWORD": "x"}, stdin_path="/in", stdout_path="/out", timeout=5, user="postgres"
    )
    assert engine.calls == [
        ["docker", "container", "exec", "--interactive", "--user", "postgres", "--env", "PGPASSWORD", "c1", "psql", "-c", "SELECT 1"]
    ]
    assert engine.options[0] == {"kept": 32768, "stdin_path": "/in", "stdout_path": "/out", "timeout": 5}


def test_an_engine_that_hangs_is_not_waited_for_without_end_but_a_program_is() -> None:
    engine = FakeEngine(container_ls=Outcome(-9, "", "", True), container_run=Outcome(-9, "", "", True))
    with pytest.raises(EngineError, match="The Docker engine has not answered for 120 s"):
        Docker(execute=engine).names()
    assert engine.options[0]["timeout"] == 120
    assert Docker(execute=engine).run(JOB, timeout=7).timed_out, "how long a program may take is the caller's to say"
    assert [options.get("timeout") for options in engine.options[1:]] == [7, 120]


def test_the_engines_sentence_is_told_without_what_its_client_adds() -> None:
    said = "docker: Error response from daemon: No such image: x\n\nRun 'docker run --help' for more information\n"
    with pytest.raises(EngineError) as raised:
        Docker(execute=FakeEngine(container_run=Outcome(125, "", said))).run(JOB)
    assert raised.value.message.endswith(": Error response from daemon: No such image: x")


def test_a_network_of_ours_has_no_way_out() -> None:
    engine = FakeEngine()
    Docker(execute=engine).create_internal_network("n", {"b": "2", "a": "1"})
    assert engine.lines == ["docker network create --internal --label a=1 --label b=2 n"]


def test_a_started_container_keeps_a_log_that_can_be_read() -> None:
    engine = FakeEngine(container_inspect=json.dumps([INSPECT["database"]]))
    assert Docker(execute=engine).start(JOB).name == "chat-postgres-prod"
    assert engine.lines[0].startswith("docker container run --detach --log-driver json-file --pull never ")


@pytest.mark.parametrize(
    ("source", "flag"),
    [
        ("/a", "type=bind,source=/a,target=/t,readonly"),
        ("/a,b", 'type=bind,"source=/a,b",target=/t,readonly'),
        ('/a"b', 'type=bind,"source=/a""b",target=/t,readonly'),
    ],
)
def test_a_path_with_a_comma_or_a_quote_is_mounted_too(source: str, flag: str) -> None:
    assert mount_flag(source, "/t", False) == flag


@given(st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=("Cs",)), min_size=1))
def test_any_path_survives_the_mount_flag(path: str) -> None:
    [fields] = csv.reader([mount_flag(path, "/t", True)])
    assert fields == ["type=bind", "source=" + path, "target=/t"]


# --- secrets --------------------------------------------------------------------------------------------------------------

#: Recognizable anywhere, whatever else is in an argument list.
values = st.text(st.characters(blacklist_characters="\0\n\r", blacklist_categories=("Cs",)), max_size=20).map("never-in-argv-{}-x".format)
variables = st.dictionaries(
    st.sampled_from(
        [
            "PGPASSWORD",
            "DATABASE_URL",
            "PATH",
            "HOME",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "https_proxy",
            "LD_PRELOAD",
            "LC_ALL",
            "X",
            "SSH_AUTH_SOCK",
            "PGHOST",
        ]
    ),
    values,
)


@given(variables, st.booleans())
def test_no_value_of_a_variable_ever_stands_in_an_argument_list(env: dict, several_networks: bool) -> None:
    engine = FakeEngine(container_inspect=json.dumps([INSPECT["database"]]))
    docker = Docker(execute=engine)
    docker.run(replace(JOB, env=env, further_networks=("n",) if several_networks else ()))
    docker.start(replace(JOB, env=env))
    docker.exec("c", ["x"], env=env)
    words = [word for call in engine.calls for word in call]
    assert not any("never-in-argv" in word for word in words)


@given(variables)
def test_every_variable_reaches_the_container_with_its_value(env: dict) -> None:
    received: dict[str, str] = {}

    def client(argv: list, env: t.Mapping[str, str] | None = None, **_options: t.Any) -> Outcome:
        """Does with --env and --env-file what the real client does."""
        for option, word in zip(argv, argv[1:]):
            if option == "--env":
                received[word] = (env or {})[word]
            elif option == "--env-file":
                assert stat.S_IMODE(Path(word).stat().st_mode) == 0o600
                received.update(line.split("=", 1) for line in Path(word).read_text(encoding="utf-8").split("\n") if line)  # type: ignore[arg-type]
        return Outcome(0, "", "")

    Docker(execute=client).run(replace(JOB, env=env))
    assert received == env


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "LD_PRELOAD", "HTTPS_PROXY", "no_proxy", "TMPDIR"]
)
def test_a_backends_variable_does_not_redirect_the_client(name: str) -> None:
    engine = FakeEngine()
    Docker(execute=engine).run(replace(JOB, env={name: "/elsewhere"}))
    assert engine.environments[0] == {}


def test_the_file_with_variables_is_gone_afterwards() -> None:
    engine = FakeEngine()
    Docker(execute=engine).run(replace(JOB, env={"PATH": "/app"}))
    call = engine.calls[0]
    assert not Path(call[call.index("--env-file") + 1]).exists()


# --- finding --------------------------------------------------------------------------------------------------------------


def test_a_compose_service_is_found_by_its_labels() -> None:
    engine = FakeEngine(container_ls="chat-postgres-prod\n", container_inspect=json.dumps([INSPECT["database"]]))
    assert Docker(execute=engine).service("chat", "db").name == "chat-postgres-prod"
    assert "label=com.docker.compose.project=chat" in engine.calls[0] and "label=com.docker.compose.service=db" in engine.calls[0]


def test_a_service_without_or_with_several_containers_is_refused() -> None:
    with pytest.raises(EngineError, match=r"no container for service 'db'.*docker compose up -d"):
        Docker(execute=FakeEngine()).service("chat", "db")
    with pytest.raises(EngineError, match=r"2 containers for service 'db' \(chat-db-1, chat-db-2\): name one with dbops_container"):
        Docker(execute=FakeEngine(container_ls="chat-db-2\nchat-db-1\n")).service("chat", "db")


def test_a_container_that_is_not_there_is_refused_with_those_that_are() -> None:
    engine = FakeEngine(
        container_inspect=Outcome(1, "[]\n", "Error response from daemon: No such container: nosuch"), container_ls="b\na\n"
    )
    with pytest.raises(EngineError, match=r"no container 'nosuch' on this host\. Containers here: a, b"):
        Docker(execute=engine).container("nosuch")


def test_patterns_find_containers_oldest_first() -> None:
    names = ["chat-backend-preview-a", "chat-backend-preview-b"]
    inspected = [dict(INSPECT["backend"], Name="/" + name, Created=created) for name, created in zip(names, "21")]
    engine = FakeEngine(container_ls="\n".join([*names, "chat-backend", "other"]), container_inspect=json.dumps(inspected))
    assert [found.name for found in Docker(execute=engine).matching(["chat-backend-preview-*"])] == names[::-1]
    assert engine.called("inspect") == [["docker", "container", "inspect", *names]]


def test_patterns_that_find_nothing_ask_for_nothing() -> None:
    engine = FakeEngine(container_ls="chat-backend")
    assert Docker(execute=engine).matching(["nothing-*"]) == []
    assert engine.called("inspect") == []


def test_an_engine_that_ends_during_the_look_is_not_taken_for_a_host_without_backends() -> None:
    gone = Outcome(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    with pytest.raises(EngineError, match="The Docker engine does not answer"):
        Docker(execute=FakeEngine(container_ls="chat-backend", container_inspect=gone)).matching(["chat-*"])


def test_containers_that_cannot_be_looked_at_are_not_taken_for_none() -> None:
    refused = Outcome(1, "[]", "Error response from daemon: something odd")
    with pytest.raises(EngineError, match="docker container inspect failed: Error response from daemon: something odd"):
        Docker(execute=FakeEngine(container_ls="chat-backend", container_inspect=refused)).matching(["chat-*"])


def test_a_container_that_goes_away_during_the_look_is_left_out() -> None:
    some = Outcome(1, json.dumps([INSPECT["backend"]]), "Error response from daemon: No such container: chat-gone")
    engine = FakeEngine(container_ls="chat-backend\nchat-gone", container_inspect=some)
    assert [found.name for found in Docker(execute=engine).matching(["chat-*"])] == ["chat-backend"]


def test_leftovers_are_listed_with_their_run() -> None:
    engine = FakeEngine(container_ls="c1 run1\nc2 run2\n", network_ls="n1 run1\n")
    assert Docker(execute=engine).labelled("dbops.target", "1/chat") == [
        ("container", "c1", "run1"),
        ("container", "c2", "run2"),
        ("network", "n1", "run1"),
    ]
    assert all("label=dbops.target=1/chat" in call for call in engine.calls)


def test_logs_are_bounded_and_hold_both_streams() -> None:
    engine = FakeEngine(container_logs=Outcome(0, "out\n", "err\n"))
    assert Docker(execute=engine).logs("c", since="2026-11-23T03:00:00Z") == "out\nerr\n"
    assert engine.lines == ["docker container logs --tail 2000 --since 2026-11-23T03:00:00Z c"]
    assert engine.options[0]["kept"] == 512 * 1024


# --- what goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        (
            'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http://x": connect: permission denied',
            "group 'docker'",
        ),
        ("Cannot connect to the Docker daemon at unix:///nonexistent. Is the docker daemon running?", "does not answer: start it"),
        ('error during connect: Get "http://x/v1.50/containers/json": dial tcp: lookup x', "dbops_docker_host"),
        ("Error response from daemon: write /var/lib/docker/x: no space left on device", "no disk space left"),
    ],
)
def test_trouble_with_the_engine_itself_is_said_in_a_sentence(stderr: str, sentence: str) -> None:
    docker = Docker(execute=FakeEngine(docker=Outcome(1, "", stderr)))
    for ask in (docker.names, lambda: docker.container("x"), lambda: docker.image("x"), lambda: docker.create_internal_network("x", {})):
        with pytest.raises(EngineError, match=sentence):
            ask()


def test_a_host_without_docker_is_told_so() -> None:
    engine = FakeEngine()
    engine.answers["docker"] = FileNotFoundError("docker")
    with pytest.raises(EngineError, match="not installed on this host"):
        Docker(execute=engine).names()


def test_a_missing_image_names_the_pull() -> None:
    with pytest.raises(EngineError, match="pull it first with 'docker pull chat-backend:v9'"):
        Docker(execute=FakeEngine(image_inspect=Outcome(1, "[]", "Error: No such image: chat-backend:v9"))).image("chat-backend:v9")


def test_a_container_that_the_engine_could_not_start_is_an_engine_error_and_is_removed() -> None:
    engine = FakeEngine(container_run=Outcome(125, "", "docker: Error response from daemon: Conflict."))
    with pytest.raises(EngineError, match=r"could not start a container of image 'sha256:1'.*Conflict"):
        Docker(execute=engine).run(JOB)
    assert engine.called("container rm")


@pytest.mark.parametrize("status", [1, 126, 127, 137])
def test_a_program_that_failed_is_an_outcome_not_an_error(status: int) -> None:
    assert Docker(execute=FakeEngine(container_run=Outcome(status, "", "no"))).run(JOB).rc == status


def test_a_container_that_does_not_start_is_removed() -> None:
    engine = FakeEngine(container_run=Outcome(127, "", "docker: Error response from daemon: exec: postgres: not found"))
    with pytest.raises(EngineError, match="not found"):
        Docker(execute=engine).start(JOB)
    assert engine.called("container rm")


def test_what_a_container_wrote_is_kept_as_an_image_that_tells_its_source() -> None:
    engine = FakeEngine()
    Docker(execute=engine).make_image(JOB, "dbops-sandbox:1", {"/data/pg_hba.conf": "/tmp/hba"})
    assert [line.split()[1:3] for line in engine.lines] == [["container", step] for step in ("create", "start", "cp", "commit", "rm")]
    assert engine.lines[2] == "docker container cp /tmp/hba dbops-x-dump:/data/pg_hba.conf"
    assert engine.lines[3] == "docker container commit --change LABEL dbops.source-image=sha256:1 dbops-x-dump dbops-sandbox:1"


def test_what_failed_is_not_kept_as_an_image() -> None:
    engine = FakeEngine(container_start=Outcome(1, "", "initdb: error"))
    with pytest.raises(EngineError, match="initdb: error"):
        Docker(execute=engine).make_image(JOB, "dbops-sandbox:1", {})
    assert not engine.called("container commit") and engine.called("container rm")


def test_images_of_ours_are_found_by_their_label() -> None:
    inspected = [{"Id": "sha256:2", "Config": {"Labels": {"dbops.source-image": "sha256:1"}}}]
    engine = FakeEngine(image_ls="sha256:2\nsha256:2\n", image_inspect=json.dumps(inspected))
    [image] = Docker(execute=engine).made_images()
    assert (image.id, image.labels) == ("sha256:2", {"dbops.source-image": "sha256:1"})
    assert engine.lines[-1] == "docker image inspect sha256:2"
    assert Docker(execute=FakeEngine()).made_images() == []


def test_an_interrupted_one_shot_container_is_removed() -> None:
    engine = FakeEngine()
    engine.answers["container run"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        Docker(execute=engine).run(JOB)
    assert engine.called("container rm --force --volumes dbops-x-dump")


@pytest.mark.parametrize(
    "stderr",
    ["Error response from daemon: No such container: x", "Error: network x not found", "removal of container x is already in progress"],
)
def test_removing_what_is_gone_is_fine(stderr: str) -> None:
    Docker(execute=FakeEngine(docker=Outcome(1, "", stderr))).remove("container", "x")
    Docker(execute=FakeEngine(docker=Outcome(1, "", stderr))).remove("network", "x")


def test_what_cannot_be_removed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(_docker, "time", clock)
    with pytest.raises(EngineError, match=r"network 'x' could not be removed: .*active endpoints"):
        Docker(execute=FakeEngine(docker=Outcome(1, "", "error: network x has active endpoints"))).remove("network", "x")


def test_a_network_is_waited_for_that_a_container_is_just_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker, "time", FakeClock())
    answers = [Outcome(1, "", "error: network x has active endpoints"), Outcome(0, "", "")]
    Docker(execute=lambda *_arguments, **_options: answers.pop(0)).remove("network", "x")
    assert answers == []


def test_a_failed_restart_is_said() -> None:
    with pytest.raises(EngineError, match="'chat-backend' did not restart: no"):
        Docker(execute=FakeEngine(container_restart=Outcome(1, "", "no"))).restart("chat-backend")


def test_a_failed_command_without_words_shows_its_exit_status() -> None:
    with pytest.raises(EngineError, match="docker network create failed: exit status 2"):
        Docker(execute=FakeEngine(network_create=Outcome(2, "", ""))).create_internal_network("x", {})
