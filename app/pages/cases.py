"""Cases: attack success by mismatch of attacker and victim, what each mismatch costs, and whether controls held."""

from carom.app import parts, views
from carom.app.frame import Opened, header, show

FIRST = (
    "cases",
    "published",
    "effects",
    "controls",
    "cases-by-attack",
    "by-attack",
    "by-surrogate",
    "by-victim",
    "cases-by-task",
    "published-by-attack",
    "published-by-training",
    "published-by-architecture",
)


def page(opened: Opened) -> float:
    """ASR by case, effects, controls; published results beside one's own."""
    header(opened, "Cases")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if not views.explained(opened, view):
        for shown in view.tables:
            if shown.name in FIRST:
                parts.table(shown)
    return seconds


show(page)
