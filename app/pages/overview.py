"""Overview: what a run found, in sentences, and what to take along."""

from carom.app.shell import parts, views
from carom.app.shell.frame import Opened, header, show


def page(opened: Opened) -> float:
    """What was found."""
    header(opened, "Overview")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    views.explained(opened, view)
    return seconds


show(page)
