# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: status_overview
short_description: Sum up what was found of many databases
version_added: 0.1.0
author: The dbops.postgres contributors
description:
  - Turns what M(dbops.postgres.database_status) returned on each host into a table for a terminal, and into what the page of role
    P(dbops.postgres.status#role) shows, worst first.
positional: hosts, fail_on
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  hosts:
    description: The hosts that the overview is about. One that was not looked at is red.
    type: list
    elements: str
    required: true
  fail_on:
    description: From which light on a host counts as failing.
    type: str
    choices: [red, yellow, never]
    default: red
"""

EXAMPLES = r"""
- name: Show the table
  ansible.builtin.debug:
    msg: "{{ (hostvars | dbops.postgres.status_overview(ansible_play_hosts_all)).text }}"
"""

RETURN = r"""
_value:
  description: RV(ignore:text) for a terminal, RV(ignore:headline), RV(ignore:light), RV(ignore:counts), RV(ignore:rows), RV(ignore:failing), RV(ignore:stats).
  type: dict
"""

import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.looks._overview import overview

#: What role status registers on each host.
RESULT = "__dbops_status_result"


def status_overview(hostvars: t.Mapping[str, t.Any], hosts: t.Sequence[str], fail_on: str = "red") -> dict[str, t.Any]:
    return overview({str(host): hostvars.get(host, {}).get(RESULT) for host in hosts}, fail_on)


class FilterModule:
    """Ansible's filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status_overview": status_overview}
