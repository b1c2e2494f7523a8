"""Text as it stands, in elements that read markdown."""

import re

# What markdown lets one escape is escaped. Streamlit's :shortcodes: and its arrows (-> to →) are found after that, so
# an invisible word joiner (U+2060) breaks them.
PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
SHORTCODE = re.compile(r":(?!(?<=\d\d:)\d\d:\d\d)(?=[\w+-]+(:|/))")  # not the first colon of 12:30:05
ARROWS = re.compile(r"(?<=[<>=~-])(?=[<>=-])")
JOINER = "\u2060"


def plain(text: object) -> str:
    """Markdown that shows this text literally, on one line."""
    line = " ".join(str(text).split())
    line = ARROWS.sub(JOINER, SHORTCODE.sub(f":{JOINER}", line))
    return PUNCTUATION.sub(r"\\\1", line)


def code(text: object) -> str:
    """Markdown that shows this text as code, on one line; a backtick becomes an apostrophe."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"
