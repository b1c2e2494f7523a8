"""What is chosen stands in the page's address, so that a view can be shared."""

from collections.abc import Callable, Sequence

import streamlit as st

from .help import help_of
from .plain import plain


def pick(
    ask: Callable[..., str | None], label: str, options: Sequence[str], name: str, default: str, **more: object
) -> str:
    """A choice that stands in the address as `name`: what the address says wins when it changed, else the widget.

    What the address asks for and is not here is said, until something else is chosen.

    Args:
        ask: Such as `st.selectbox`.
        label: Of the widget.
        options: What can be chosen.
        name: In the address; one name means the same on every page, and is carried from page to page.
        default: Where neither address nor user said anything that can be chosen.
        more: For `ask`; without a `help` it is what the glossary says of the label.
    """
    more.setdefault("help", help_of(label, "pick"))
    key, written, kept = f"pick-{name}", f"address-{name}", f"kept-{name}"
    asked, unknown = st.query_params.get(name), f"unknown-{name}"
    if asked is not None and asked != st.session_state.get(written):
        st.session_state[unknown] = None if asked in options else asked
        st.session_state[key] = asked if asked in options else default
    elif st.session_state.get(key) not in options:  # a page that did not ask for it lost the widget, not the choice
        last = st.session_state.get(kept)
        st.session_state[key] = last if last in options else default
    chosen = ask(label, list(options), key=key, **more) or default
    if chosen != default:
        st.session_state[unknown] = None
    if (missing := st.session_state.get(unknown)) is not None:
        says = more.get("format_func")
        shown = plain(says(chosen) if callable(says) else chosen)
        st.warning(f"The address asks for {label.lower()} {plain(missing)}, which is not here; shown is {shown}.")
    st.query_params[name] = st.session_state[written] = st.session_state[kept] = chosen
    return chosen


def pick_several(
    ask: Callable[..., list[str]],
    label: str,
    options: Sequence[str],
    name: str,
    default: Sequence[str],
    most: int,
    **more: object,
) -> list[str]:
    """As `pick`, of several at once, which stand in the address as often as there are any.

    Args:
        ask: Such as `st.multiselect`.
        label: Of the widget.
        options: What can be chosen.
        name: In the address.
        default: Where neither address nor user said anything that can be chosen; at least one.
        most: At most so many.
        more: For `ask`.
    """
    key, written, kept, unknown = f"several-{name}", f"address-{name}", f"kept-{name}", f"unknown-{name}"
    asked = st.query_params.get_all(name)
    if anew := bool(asked) and asked != st.session_state.get(written):
        there = [each for each in asked if each in options]
        st.session_state[unknown] = [each for each in asked if each not in there[:most]]
        st.session_state[key] = there[:most] or list(default)
    elif not (st.session_state.get(key) and set(st.session_state[key]) <= set(options)):
        last = [each for each in st.session_state.get(kept) or [] if each in options]
        st.session_state[key] = last or list(default)
    more.setdefault("help", help_of(label, "pick"))
    chosen = ask(label, list(options), key=key, max_selections=most, **more) or list(default)[:1]
    if not anew and chosen != st.session_state.get(kept):
        st.session_state[unknown] = []
    if missing := st.session_state.get(unknown):
        why = f"of which {most} can be shown" if set(missing) <= set(options) else "which are not all here"
        left = ", ".join(plain(each) for each in missing)
        st.warning(f"The address asks for {label.lower()}, {why}; left out: {left}.")
    st.query_params[name] = chosen
    st.session_state[written] = st.session_state[kept] = chosen
    return chosen


def write(ask: Callable[..., str | None], label: str, name: str, **more: object) -> str:
    """A text that stands in the address as `name`, unless it is empty.

    Args:
        ask: Such as `st.text_input`.
        label: Of the widget.
        name: In the address.
        more: For `ask`.
    """
    key, written = f"write-{name}", f"address-{name}"
    asked = st.query_params.get(name)
    if asked is not None and asked != st.session_state.get(written):
        st.session_state[key] = asked
    text = (ask(label, key=key, **more) or "").strip()
    st.session_state[written] = text
    if text:
        st.query_params[name] = text
    elif asked is not None:
        del st.query_params[name]
    return text
