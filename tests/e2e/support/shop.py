# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody's own service, under other names than the runbook's: its Compose project, versions of its image, and a registry they come from."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offsite import free_port, listens
from stack import ROOT, Container, Stack, as_root, command, wait_until

#: The program of every version: psql does its work, files beside it say what that is.
_PROGRAM = """#!/bin/bash
case $1 in
migrate) exec psql "$DATABASE_URL" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file /app/migrate.sql ;;
health) psql "$DATABASE_URL" --no-psqlrc --quiet --tuples-only --file /app/health.sql --set ON_ERROR_STOP=1 || exit 1 ;;
serve)
    echo "shop $(cat /app/version) begins"
    . /app/serve.sh
    trap 'exit 0' TERM
    while :; do sleep 0.2; done
    ;;
esac
"""

_COMPOSE = """services:
  web:
    image: %(image)s
    container_name: %(name)s-shop-web
    restart: unless-stopped
    init: true
    command: [/app/shop, serve]
    stop_grace_period: 1s
    networks: [shop]
    labels: {dbops-demo.stack: %(name)s}
    environment:
      DATABASE_URL: ${SHOP_DATABASE_URL}
    healthcheck:
      test: [CMD, /app/shop, health]
      interval: 1s
networks:
  shop:
    name: %(network)s
    external: true
"""


@dataclass(frozen=True)
class Version:
    """What one image of the shop does: SQL of its migration, SQL that has to succeed for it to be healthy, shell that runs as it starts."""

    tag: str
    migrate: str = "SELECT 1;"
    health: str = "SELECT id, text FROM messages LIMIT 1;"
    serve: str = ":"


V1 = Version("v1")


@dataclass
class Shop:
    """One Compose project in a folder of the SSH user's own, and its images."""

    stack: Stack
    folder: Path
    image: str = "${SHOP_IMAGE}"
    repository: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> str:
        return f"{self.stack.name}-shop"

    @property
    def web(self) -> Container:
        return Container(f"{self.stack.name}-shop-web")

    @property
    def variables(self) -> dict[str, Any]:
        return {"dbops_backends": [self.web.name], "dbops_runner": ["/app/shop", "migrate"], "dbops_deploy_pull": "missing"}

    def name_of(self, version: Version) -> str:
        return f"{self.repository or self.project}:{version.tag}"

    def build(self, version: Version) -> str:
        """Returns the image's name."""
        with tempfile.TemporaryDirectory() as context:
            files = {"shop": _PROGRAM, "migrate.sql": version.migrate, "health.sql": version.health, "serve.sh": version.serve}
            for name, text in {**files, "version": version.tag}.items():
                (Path(context) / name).write_text(text, encoding="utf-8")
            (Path(context) / "shop").chmod(0o755)
            recipe = f'FROM {self.stack.postgres_image}\nCOPY . /app/\nENTRYPOINT []\nCMD ["/app/shop", "serve"]\n'
            (Path(context) / "Dockerfile").write_text(recipe, encoding="utf-8")
            command("docker", "build", "--quiet", "--tag", self.name_of(version), context)
        return self.name_of(version)

    def write(self, name: str, text: str) -> Path:
        """A file in the project's folder, as the user of the service would have it."""
        path = self.folder / name
        self.stack.as_deploy(f"mkdir -p {path.parent} && cat > {path} <<'END'\n{text}\nEND")
        return path

    def read(self, name: str) -> str:
        return self.stack.as_deploy(f"cat {self.folder}/{name}").stdout

    def up(self, version: Version, **environment: str) -> None:
        """By hand, as it was before anybody deployed with us."""
        server = self.stack.production
        password = "".join(f"%{byte:02X}" for byte in server.env["POSTGRES_PASSWORD"].encode())
        url = f"postgresql://postgres:{password}@{server.name}:5432/{server.database}"
        names = {"image": self.image, "name": self.stack.name, "network": self.stack.network}
        self.files = self.files or {"compose.yml": _COMPOSE % names}
        for name, text in self.files.items():
            self.write(name, text % names if "%(" in text else text)
        if not environment:
            self.write(".env", f"# the shop\nSHOP_DATABASE_URL='{url}'\nSHOP_IMAGE='{self.build(version)}'\nSHOP_TAG={version.tag}")
        else:
            environment.setdefault("SHOP_DATABASE_URL", url)
            environment.setdefault("SHOP_IMAGE", self.build(version))
        self.compose("up", "--detach", "--wait", **environment)

    def compose(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = " ".join(f"{name}='{text}'" for name, text in environment.items())
        files = " ".join(f"--file {name}" for name in self.files if name.endswith(".yml"))
        return self.stack.as_deploy(f"cd {self.folder} && {given} docker compose --project-name {self.project} {files} {' '.join(words)}")

    @property
    def running(self) -> str:
        """The version that the container is, by its own file."""
        return self.web.exec("cat", "/app/version").stdout

    def down(self) -> None:
        found = command("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}").stdout.split()
        if found:
            command("docker", "rm", "--force", "--volumes", *found)
        images = command("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
        mine = [name for name in images if name.startswith((f"{self.project}:", f"{self.repository or self.project}:"))]
        if mine:
            command("docker", "image", "rm", "--force", *mine, check=False)
        as_root("rm", "-rf", str(self.folder))


@contextlib.contextmanager
def opened_shop(stack: Stack, **options: Any) -> Iterator[Shop]:
    made = Shop(stack, stack.folder / "opt" / "shop", **options)
    made.down()
    try:
        yield made
    finally:
        made.down()


def for_another_machine(image: str, architecture: str = "s390x") -> None:
    """Make an image say that it is for another kind of processor."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "image.tar"
        command("docker", "save", "--output", str(saved), image)
        with tarfile.open(saved) as archive:
            archive.extractall(folder, filter="data")
        manifest = json.loads((Path(folder) / "manifest.json").read_text())
        config = Path(folder) / manifest[0]["Config"]
        said = json.loads(config.read_text())
        said["architecture"] = architecture
        config.write_text(json.dumps(said))
        saved.unlink()
        command("docker", "image", "rm", image)
        command(
            "tar", "--create", "--file", str(saved), "--directory", folder, *(path.name for path in Path(folder).iterdir() if path != saved)
        )
        command("docker", "load", "--input", str(saved))


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """A registry on this machine, `127.0.0.1:port`, which engines talk to without TLS."""
    program = shutil.which("docker-registry") or str(ROOT / ".cache" / "registry" / "usr" / "bin" / "docker-registry")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="dbops-registry-") as folder:
        settings = Path(folder) / "config.yml"
        place = f"storage: {{filesystem: {{rootdirectory: {folder}/images}}, delete: {{enabled: true}}}}"
        settings.write_text(f"version: 0.1\nlog: {{level: error}}\n{place}\nhttp: {{addr: '127.0.0.1:{port}'}}\n", encoding="utf-8")
        process = subprocess.Popen(
            [program, "serve", str(settings)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: listens(port))
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=10)
