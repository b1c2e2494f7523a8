"""Measures what others published, with carom, and writes docs/science/published.json and docs/published.md.

    python benchmarks/published.py                       everything that is not recorded yet; about twenty minutes
    python benchmarks/published.py --again               everything
    python benchmarks/published.py --only pgd mnist/     again what is called so, or whose file begins so

The files are looked for in the folder that CAROM_PUBLISHED_DIR names.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from published_networks import MISSING, folder
from published_page import PAGE, RESULTS, page, results
from published_proofs import ON_MARGINS, PGD, QUICK, attacked, load_boxes, names, restarts, setting
from published_rows import ROWS, measure

from carom.files import replacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    asked = parser.parse_args()
    here = folder()
    if here is None:
        print(f"published numbers: skipped; {MISSING}")
        return
    torch.set_num_threads(1)
    boxes = load_boxes(here / "proofs")

    def proof(table: Mapping[str, Any], *, each_class: bool = False) -> dict[str, Any]:
        tried = attacked(table, boxes, each_class=each_class)
        return {
            "settings": _written(table),
            "restarts": restarts(table),
            "robust": len(tried.of("robust")),
            "open": len(tried.of("open")),
            "floats": sum(tried.verdicts[box] == "broken" for box in tried.floats),
            "eight_bit": sum(tried.verdicts[box] == "broken" for box in tried.eight_bit),
            "missed": tried.missed(),
        }

    todo: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {
        ("proofs", "PGD"): lambda: proof(PGD),
        ("proofs", "PGD on margins"): lambda: proof(ON_MARGINS, each_class=True),
    }
    for name in names():
        todo["proofs", name] = lambda name=name: proof(setting(name))  # type: ignore[misc]
    for row in ROWS:
        for number, figure in enumerate(row.figures):
            todo["rows", f"{row.file} {number}"] = lambda row=row, figure=figure: vars(  # type: ignore[misc]
                measure(here, row, figure)
            )
    rounds = {f"{row.file} {n}": figure.attack is not None for row in ROWS for n, figure in enumerate(row.figures)}
    quick_first = sorted(todo.items(), key=lambda item: rounds.get(item[0][1], item[0][1] not in QUICK))
    found = results()
    for number, ((part, label), work) in enumerate(quick_first, start=1):
        chosen = any(label == one or (label.startswith(one) and "/" in one) for one in asked.only)
        if label in found[part] and not asked.again and not chosen:
            continue
        began = time.perf_counter()
        found[part][label] = work()
        print(f"{number} of {len(todo)}: {label}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        ordered = {
            kind: {name: found[kind][name] for k, name in todo if k == kind and name in found[kind]} for kind in found
        }
        with replacing(RESULTS) as path:
            path.write_text(json.dumps(ordered, indent=1) + "\n")
    PAGE.write_text(page(results()))


def _written(table: Mapping[str, Any]) -> str:
    return "defaults" if len(table) == 1 else ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items())


if __name__ == "__main__":
    main()
