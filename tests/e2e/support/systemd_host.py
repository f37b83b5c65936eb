# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A target with systemd as its first process: a container that an SSH user logs in to, with the stack's engine and its folders at the
same paths, in the machine's own network: what a target reaches, it reaches."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from offsite import free_port
from stack import Stack, as_root, command, wait_until

IMAGE = "dbops-test/systemd:bookworm"
PACKAGES = "systemd,libpam-systemd,dbus-user-session,openssh-server,python3,python3-venv,python3-psycopg2,cron"


@dataclass(frozen=True)
class SystemdHost:
    name: str
    folder: Path
    inventory: Path
    uid: int
    port: int

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """As the SSH user, with its own manager of systemd."""
        bus = f"XDG_RUNTIME_DIR=/run/user/{self.uid}"
        return command("docker", "exec", "--user", "deploy", "--env", bus, "--workdir", str(self.folder), self.name, *argv, check=check)

    def as_root(self, *argv: str) -> str:
        return command("docker", "exec", self.name, *argv).stdout


def build_image() -> None:
    if command("docker", "image", "inspect", IMAGE, check=False).returncode == 0:
        return
    made = f"mmdebstrap --quiet --variant=minbase --include={PACKAGES} bookworm - | docker import - {IMAGE}"
    subprocess.run(["bash", "-o", "pipefail", "-c", made], check=True, capture_output=True)


@contextlib.contextmanager
def systemd_host(stack: Stack) -> Iterator[SystemdHost]:
    build_image()
    name = f"{stack.name}-systemd"
    folder = Path(stack.folder) / "opt" / "systemd-host"
    uid, gid = (int(text) for text in stack.as_deploy("id -u; id -g").stdout.split())
    stack.as_deploy(f"mkdir -p {folder}")
    socket_group = Path("/var/run/docker.sock").stat().st_gid
    options = [
        "--detach",
        "--name",
        name,
        "--label",
        f"dbops-demo.stack={stack.name}",
        "--network",
        "host",
    ]
    options += ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
    options += [word for path in ("/run", "/run/lock", "/tmp", "/sys/fs/cgroup") for word in ("--tmpfs", path)]
    options += [
        "--env",
        "container=docker",
        "--volume",
        f"{stack.folder}/opt:{stack.folder}/opt",
        "--volume",
        "/var/run/docker.sock:/srv/docker.sock",
    ]
    options += ["--volume", f"{shutil.which('docker')}:/usr/bin/docker:ro"]
    command("docker", "rm", "--force", "--volumes", name, check=False)
    command("docker", "run", *options, IMAGE, "/lib/systemd/systemd")
    host = SystemdHost(name, folder, Path(stack.folder) / "opt" / "systemd-host" / "inventory.yml", uid, free_port())
    try:
        wait_until(
            lambda: command("docker", "exec", name, "systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")
        )
        host.as_root("groupadd", "--non-unique", "--gid", str(socket_group), "engine")
        host.as_root("groupadd", "--gid", str(gid), "deploy")
        host.as_root(
            "useradd",
            "--uid",
            str(uid),
            "--gid",
            str(gid),
            "--groups",
            "engine",
            "--no-create-home",
            "--home-dir",
            str(folder),
            "--shell",
            "/bin/bash",
            "deploy",
        )
        host.as_root("bash", "-c", f"echo Port {host.port} > /etc/ssh/sshd_config.d/port.conf; systemctl restart ssh")
        public = command("ssh-keygen", "-y", "-f", f"{stack.folder}/ssh/id_ed25519").stdout
        stack.as_deploy(
            f"mkdir -p -m 700 {folder}/.ssh && printf %s '{public.strip()}' > {folder}/.ssh/authorized_keys && chmod 600 {folder}/.ssh/*"
        )
        _write_inventory(stack, host)
        yield host
    finally:
        command("docker", "rm", "--force", "--volumes", name, check=False)
        as_root("rm", "-rf", str(folder))


def _write_inventory(stack: Stack, host: SystemdHost) -> None:
    """The stack's own, with this host in the place of the stack's."""
    found: dict[str, Any] = {}
    for path in sorted(stack.inventory.iterdir()) if stack.inventory.is_dir() else [stack.inventory]:
        found.update(yaml.safe_load(path.read_text(encoding="utf-8")))
    found["all"]["vars"].update(
        ansible_host="127.0.0.1",
        ansible_port=host.port,
        ansible_ssh_common_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        dbops_docker_host="unix:///srv/docker.sock",
    )
    host.inventory.write_text(yaml.safe_dump(found), encoding="utf-8")


def wheels(core: str, folder: Path) -> list[str]:
    """What pip needs to install this without an index: a target that reaches none is what most are."""
    python = Path(shutil.which("ansible-playbook") or "").parent / "python"
    argv = [
        str(python),
        "-m",
        "pip",
        "download",
        "--quiet",
        "--python-version",
        "3.11",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        core,
    ]
    subprocess.run(argv, check=True, capture_output=True)
    command("chmod", "-R", "a+rX", str(folder))
    return ["--no-index", "--find-links", str(folder)]
