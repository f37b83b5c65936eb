# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on the target by itself: jobs as systemd timers or lines of cron, and this collection with an Ansible of its own.

Uses: engine, text.
Who sets up or removes a schedule comes here.
"""
