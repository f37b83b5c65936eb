# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that all modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the shared options, of the common results, and of the attributes."""

    DOCUMENTATION = r"""
options:
  container:
    description:
      - Name of the container in which the database server runs.
      - Give this, or O(compose_project) and O(compose_service).
    type: str
  compose_project:
    description: Compose project to which the database server's container belongs.
    type: str
  compose_service:
    description: Compose service of the database server.
    type: str
  database:
    description: Name of the database.
    type: str
    required: true
  user:
    description:
      - The role to connect as. It must own the database, and be a superuser for operations that replace a database.
      - The container's E(POSTGRES_USER) by default, else V(postgres).
    type: str
  password:
    description:
      - Password of O(user).
      - The container's E(POSTGRES_PASSWORD) by default, or the file that E(POSTGRES_PASSWORD_FILE) names.
    type: str
  port:
    description: The port on which the server listens inside its container.
    type: int
    default: 5432
  maintenance_database:
    description: The database from which others are created and renamed, and in which the operation lock lives.
    type: str
    default: postgres
  environment:
    description:
      - What the inventory says this database is.
      - A database counts as V(production) until the inventory, its own marker and its server's pinned identity agree that it is something else.
    type: str
    default: production
  server_id:
    description:
      - The identity that the server must have, its C(system_identifier), like an SSH host key.
      - An operation on a server with another identity is refused.
    type: str
  shared_server:
    description: Says that production and other databases really share one server, so that destructive operations on the others may run.
    type: bool
    default: false
  backup_dir:
    description:
      - Folder on the target host that holds the backups and the journal of this database, and of no other.
      - It is made with mode 0700 where only the last part is missing.
    type: path
    required: true
  backends:
    description:
      - Names, or patterns such as V(chat-backend-preview-*), of the containers of the backend that uses the database.
    type: list
    elements: str
    default: []
  runner_container:
    description: The backend container whose image and environment the migration runner uses. The newest of O(backends) by default.
    type: str
  branch:
    description:
      - The branch whose backend the migration runner uses, where each branch has a backend of its own, instead of O(runner_container).
      - It is what the star in O(backends) stands for, or the value of the label O(branch_label). A git branch's own name does as well,
        V(feature/Login) is V(feature-login).
    type: str
  branch_label:
    description: The label of the backends' containers that names their branch.
    type: str
  confirm:
    description:
      - Consent to one operation on one database, such as V(restore:chat).
      - Needed where the database counts as production and the operation replaces or adds data.
    type: str
  lock_wait:
    description: Seconds to wait for another operation on the same database to end. Zero refuses at once, naming who holds the lock.
    type: int
    default: 0
  docker_host:
    description: Address of the Docker engine, such as V(unix:///run/user/1000/docker.sock). The client's own default otherwise.
    type: str
  encryption:
    description:
      - Encryption of the backups' dumps with age (U(https://age-encryption.org)). The host needs public keys only; the private one when something is
        restored or proved. The manifest, with names and counts and sums, stays readable, so that sums can be checked without a key.
    type: dict
    suboptions:
      recipients:
        description: Public keys, such as V(age1...) or those of SSH, each of which can open them. Nothing is encrypted where there are none.
        type: list
        elements: str
        default: []
      identity:
        description: The private key's text, for a restore or a proof.
        type: str
      identity_file:
        description: A file on the target that has the private key.
        type: path
      program:
        description: age on the target.
        type: str
        default: age
      image:
        description: An image that has age, used instead where it is given.
        type: str
  following:
    description:
      - What this collection's action plugins ask of a module, so that it works in a process of its own, and tells how far it is. Not for tasks.
    type: dict
    suboptions:
      token:
        description: By which a run that was begun is found again.
        type: str
        required: true
      wait:
        description: Seconds that it is waited for, before the answer is that it works.
        type: float
        default: 0
      only_known:
        description: Whether to begin nothing where there is no such run.
        type: bool
        default: false
  metrics_dir:
    description:
      - Folder on the target for a file that Prometheus' node_exporter collects (its C(--collector.textfile.directory)), written anew after each run that
        may change something. Nothing is written where it is not given.
    type: path
  notify:
    description:
      - Who is told of a run that may change something, beside Ansible. A receiver that does not answer costs some seconds and a warning, never the run.
    type: dict
    suboptions:
      webhook:
        description:
          - An address that takes JSON, such as that of Slack, Mattermost, Discord or apprise's own server. C(text) is the message; C(event), C(operation),
            C(host), C(database), C(environment) and C(run_id) are for programs.
        type: str
      apprise:
        description:
          - Addresses as apprise's library knows them, such as C(mailto://...), told by the controller, which needs the Python library apprise. They are
            also told that the host could not be reached.
        type: list
        elements: str
        default: []
      events:
        description:
          - What they are told of. V(failure) (also where an operation was refused, or found the database busy), V(recovery) (it succeeded after it
            had failed), V(success).
        type: list
        elements: str
        choices: [failure, recovery, success]
        default: [failure, recovery]
      heartbeats:
        description:
          - By operation, such as V(backup) or V(verify_backups), the address that is told when it begins, has succeeded or has failed, and that raises the
            alarm itself where it hears nothing.
        type: dict
        default: {}
      heartbeat_style:
        description: Whether V(/start) and V(/fail) are put behind such an address, as healthchecks.io has it, or it is only told of successes (V(plain)).
        type: str
        choices: [healthchecks, plain]
        default: healthchecks
  play:
    description:
      - What the controller knows of this run. The roles of this collection fill it in.
      - With it, an operation that changes data is refused unless the run was limited to one environment.
    type: dict
    suboptions:
      host:
        description: Name of the host in the inventory.
        type: str
      limit:
        description: The limit of the run, as it was typed.
        type: str
      environments:
        description: The environments of all hosts that the run selected.
        type: list
        elements: str
      operator:
        description: Who started the run.
        type: str
      controller:
        description: The machine on which Ansible runs.
        type: str
      revision:
        description: Revision of the project from which the run was started.
        type: str
requirements:
  - Docker on the target host, with a user that may use it
  - psycopg2 on the target host
  - PostgreSQL 14 or newer in the container
author:
  - The dbops.postgres contributors (@dbops)
"""
