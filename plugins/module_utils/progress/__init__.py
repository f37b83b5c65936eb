# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a run is, in words and numbers, and how it goes on in a process of its own where nobody is connected any more.

Uses: text.
The modules' shared face comes here, and whatever does work that takes long.
"""
