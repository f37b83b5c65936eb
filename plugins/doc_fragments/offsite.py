# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The offsite repository, as the modules take it that send backups there or have them come back."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of the option; its specification is in ``operations._offsite_options``."""

    DOCUMENTATION = r"""
options:
  offsite:
    description:
      - The restic repository in which copies of the backups are kept (U(https://restic.readthedocs.io)).
      - restic has to be on the host, in version 0.14 or newer, or in an image.
    type: dict
    suboptions:
      repository:
        description:
          - Its address, in restic's own words, such as V(s3:https://s3.example.com/bucket/backups), V(rest:https://backup.example.com/chat),
            V(sftp:backup@example.com:/backups) or the path of a folder.
        type: str
      host:
        description: Under which name the copies of this database are filed there. The host's name in the inventory by default.
        type: str
      password:
        description: The repository's password. It travels in the environment of restic, never in its arguments.
        type: str
      password_file:
        description: A file on the host that holds the password, instead of O(offsite.password).
        type: path
      environment:
        description: What the storage wants to know, by the names that restic knows, such as E(AWS_ACCESS_KEY_ID).
        type: dict
        default: {}
      options:
        description: Extended options of restic, each V(name=value), such as V(s3.storage-class=STANDARD_IA) or V(s3.region=eu-central-1).
        type: list
        elements: str
        default: []
      upload_limit:
        description: How many KiB a second may be sent. V(0) is without limit.
        type: int
        default: 0
      download_limit:
        description: How many KiB a second may be fetched. V(0) is without limit.
        type: int
        default: 0
      program:
        description: restic on the host, as a name on the SSH user's E(PATH) or as a path.
        type: str
        default: restic
      image:
        description:
          - An image that has restic, such as V(restic/restic:0.18.0). It has to be on the host. Given, restic runs in a container of it, in the host's network.
          - SFTP needs keys and known hosts, which a container does not have, and so restic on the host.
        type: str
"""
