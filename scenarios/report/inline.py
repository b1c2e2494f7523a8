"""A figure inside a page: in the colours of its light and dark theme, and marks say what they are."""

import xml.etree.ElementTree as ET

import altair as alt

from carom.scenarios.charts import theme

SVG = "http://www.w3.org/2000/svg"
MARKS = (f"{{{SVG}}}path", f"{{{SVG}}}line")
COLOURS = {theme.INK: "--ink", theme.FAINT: "--faint", theme.LINE: "--line"}
COLOURS |= {colour.lower(): f"--s{i}" for i, colour in enumerate(theme.PALETTE)}
NEEDLESS = ("role", "cursor", "pointer-events")


def inline(figure: alt.LayerChart, alternative: str, name: str) -> str:
    """The figure as an SVG element that fills what holds it.

    Args:
        figure: From `carom.scenarios.charts`.
        alternative: What it says, for who cannot see it.
        name: Distinct on the page; its gradients are named after it.
    """
    ET.register_namespace("", SVG)
    root = ET.fromstring(theme.svg(figure))
    for paper in root.findall(f"{{{SVG}}}rect"):  # the page has its own
        root.remove(paper)
    for parent in list(root.iter()):
        for child in list(parent):
            if "0" in (child.get("opacity"), child.get("fill-opacity")):
                parent.remove(child)
    for element in root.iter():
        said = element.get("aria-label")
        if said and element.tag in MARKS:  # of a mark; axes and legends are groups, words say themselves
            ET.SubElement(element, f"{{{SVG}}}title").text = said
        for attribute in [a for a in element.attrib if a.startswith("aria-") or a in NEEDLESS]:
            del element.attrib[attribute]
        for attribute, value in element.attrib.items():
            if attribute == "id":
                element.set(attribute, f"{name}-{value}")
            elif attribute in ("fill", "stroke"):
                element.set(attribute, _of_page(value, name))
    for attribute in ("width", "height"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", "".join(c if c.isprintable() else " " for c in alternative))
    return ET.tostring(root, encoding="unicode")


def _of_page(paint: str, name: str) -> str:
    """A colour as the page's own, if it has it; a gradient as the one of this drawing."""
    colour = COLOURS.get(paint.lower())
    return f"var({colour})" if colour else paint.replace("url(#", f"url(#{name}-")
