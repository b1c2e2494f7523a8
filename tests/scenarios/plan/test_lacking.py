"""What a store lacks of a plan, asked of the store no more often than there are questions."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.scenarios.conftest import TINY

from carom.scenarios.plan.cost import estimate
from carom.scenarios.spec.read import parse_scenario


# 8 surrogates x 2 attacks and 6 controls, on 8 victims; and each of the 16 on its own surrogate
@pytest.mark.parametrize(
    ("more", "cells"),
    [("", "0 to do of 192"), ("\n[[victims]]\nseed = 3\n", "176 to do of 368")],
    ids=["done", "one more seed of the victims"],
)
def test_an_estimate_asks_a_store_each_question_once(tiny_npz: Path, tiny_store: Path, more: str, cells: str) -> None:
    asked: Counter[str] = Counter()

    def count(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked[f"{statement} {parameters}"] += 1

    scenario = parse_scenario(TINY.replace("NPZ", str(tiny_npz)) + more, where="tiny.toml")
    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        told = estimate(scenario, tiny_store, 1)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
    assert told["cells"] == cells
    questions = [statement for statement in asked if "FROM artifacts" in statement or "FROM cells" in statement]
    assert len(questions) >= 3
    assert max(asked[statement] for statement in questions) == 1, asked
