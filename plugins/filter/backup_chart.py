# Copyright (c) 2026, The dbops.postgres contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: backup_chart
short_description: Draw size and duration of the last backups
version_added: 0.2.0
author: The dbops.postgres contributors
description:
  - Draws what M(dbops.postgres.database_status) returns as RV(dbops.postgres.database_status#module:state), the part C(backups.history), as two small charts.
  - It needs the Python library pygal on the controller; without it there is no chart.
options:
  _input:
    description: For each backup, oldest first, when it was made, how large it is in bytes, and how many seconds it took.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the charts of production's backups
  ansible.builtin.copy:
    content: "{{ looked.state.backups.history | dbops.postgres.backup_chart }}"
    dest: backups.svg
    mode: "0644"
"""

RETURN = r"""
_value:
  description: SVG, to be put into a page; empty where there are less than two backups, or no pygal.
  type: str
"""

import re
import typing as t

from ansible_collections.dbops.postgres.plugins.module_utils.text._measure import duration_text, size_text

#: pygal's advertisement and the settings of its scripts, of neither of which a page that opens from the disk has any use.
_NOT_DRAWN = re.compile(r"<!--.*?-->|<script\b.*?</script>|<desc\b.*?</desc>", re.DOTALL)


def backup_chart(history: t.Sequence[t.Mapping[str, t.Any]] | None) -> str:
    try:
        import pygal
        from pygal.style import Style
    except ImportError:
        return ""
    items = [item for item in history or () if isinstance(item, t.Mapping)]
    if len(items) < 2:
        return ""
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="var(--quiet)",
        foreground_strong="var(--ink)",
        foreground_subtle="var(--line)",
        colors=("var(--chart)",),
        opacity="1",
        font_family="inherit",
        label_font_size=18,
        major_label_font_size=18,
        value_font_size=18,
        title_font_size=22,
        transition="none",
    )
    charts = [
        _chart(pygal, style, "Size of the backups", items, "size", size_text),
        _chart(pygal, style, "Duration", items, "seconds", duration_text),
    ]
    return "".join(charts)


def _chart(
    pygal: t.Any, style: t.Any, title: str, items: t.Sequence[t.Mapping[str, t.Any]], key: str, tell: t.Callable[[float], str]
) -> str:
    drawn = pygal.Bar(
        style=style, js=(), title=title, width=620, height=260, margin=8, show_legend=False, include_x_axis=True, value_formatter=tell,
        y_labels_major_count=3, show_minor_y_labels=False, show_minor_x_labels=False, truncate_label=-1, disable_xml_declaration=True,
    )  # fmt: skip
    drawn.x_labels = [str(item.get("created", ""))[5:10] for item in items]
    drawn.x_labels_major = sorted({drawn.x_labels[0], drawn.x_labels[-1]})
    drawn.add(title, [{"value": float(item.get(key) or 0), "label": str(item.get("id", ""))} for item in items])
    return _NOT_DRAWN.sub("", drawn.render(is_unicode=True))


class FilterModule:
    """Ansible's filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"backup_chart": backup_chart}
