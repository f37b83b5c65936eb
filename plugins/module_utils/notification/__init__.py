# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is told of a run beside Ansible: a webhook, and a service that waits for heartbeats.

Uses: text.
The modules' shared face comes here.
"""
