"""Charts as reports draw them, read back from their SVG."""

import re
import xml.etree.ElementTree as ET

import altair as alt

from carom.scenarios.report.inline import inline

SVG = "{http://www.w3.org/2000/svg}"


def drawn(chart: alt.LayerChart, said: str = "what") -> ET.Element:
    """The figure as a page has it: XML, with words for who cannot see it."""
    root = ET.fromstring(inline(chart, said, "figure"))
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]
    return root


def places(root: ET.Element, tag: str) -> list[tuple[str, float, float, ET.Element]]:
    """Colour, x and y of every mark of one kind that says what it is, so none of legends, axes and words."""
    found = []

    def walk(element: ET.Element, x: float, y: float) -> None:
        moved = re.match(r"translate\(([-\d.e]+),([-\d.e]+)\)", element.get("transform", ""))
        if moved:
            x, y = x + float(moved[1]), y + float(moved[2])
        if element.tag == SVG + tag and element.find(f"{SVG}title") is not None:
            colour = element.get("fill") if element.get("fill") not in (None, "none") else element.get("stroke")
            found.append((re.sub(r"^var\(--(\w+)\)$", r"\1", str(colour)), x, y, element))
        for child in element:
            walk(child, x, y)

    walk(root, 0.0, 0.0)
    return found


def marks(root: ET.Element) -> list[tuple[str, float, float]]:
    """Colour, x and y of every point."""
    return [
        place[:3] for place in places(root, "path") if "transform" in place[3].attrib
    ]  # lines and areas stand still


def words(root: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
