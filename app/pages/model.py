"""My model: what an attacker who knows so much achieves against one victim."""

from carom.app.shell import parts, views
from carom.app.shell.frame import Opened, header, show


def page(opened: Opened) -> float:
    """One victim."""
    header(opened, "My model")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    views.explained(opened, view)
    return seconds


show(page)
