# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How properties are tested: the same examples in every run, and no time limit, since the machine may be busy."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("dbops", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("dbops")
