# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks what a job was given, and writes it to where Ansible reads it: nothing of it is ever part of a shell line.

Read from the environment: LIMIT, SSH_KEY, and every variable whose name begins with ``dbops_`` (small letters).
Written: RUNNER_TEMP/ssh_key and RUNNER_TEMP/variables.json, both mode 0600; ANSIBLE_PRIVATE_KEY_FILE for the following steps.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: Beside ansible.cfg, which names it.
KNOWN_HOSTS = Path("known_hosts")


def problems(env: Mapping[str, str], known_hosts: Path) -> list[str]:
    """What has to be there before anything may run."""
    keys = known_hosts.read_text(encoding="utf-8").splitlines() if known_hosts.is_file() else []
    found = []
    if not env.get("LIMIT", "").strip():
        found.append("LIMIT is empty: name the environment to work on.")
    if not env.get("SSH_KEY", "").strip():
        found.append("The secret SSH_KEY is empty: this job's environment does not have it.")
    if not [line for line in keys if line.strip() and not line.lstrip().startswith("#")]:
        found.append(f"{known_hosts} holds no host key: add the servers' keys, since their checking is never turned off.")
    if env.get("dbops_password"):
        found.append("dbops_password is a secret: give it as DBOPS_PASSWORD, which the inventory looks up.")
    return found


def variables(env: Mapping[str, str]) -> dict[str, str]:
    """What was filled in."""
    return {name: value for name, value in sorted(env.items()) if name.startswith("dbops_") and value}


def write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")


def main(env: Mapping[str, str]) -> int:
    found = problems(env, KNOWN_HOSTS)
    for problem in found:
        print(f"::error::{problem}")
    if found:
        return 1
    folder = Path(env["RUNNER_TEMP"])
    key = folder / "ssh_key"
    write_private(key, env["SSH_KEY"].strip() + "\n")  # ssh insists on the line's end, which forms cut off
    write_private(folder / "variables.json", json.dumps(variables(env)))
    with Path(env["GITHUB_ENV"]).open("a", encoding="utf-8") as following:
        following.write(f"ANSIBLE_PRIVATE_KEY_FILE={key}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
