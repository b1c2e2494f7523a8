"""Tables of published results, and these beside a run of one's own."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from carom.scenarios.cases import BY_WEIGHT, CASES, case_of
from carom.scenarios.published.dumb import IMAGES, means_by_case, published_by_case, read_published
from carom.scenarios.store.database import Store

from .table import INTERVAL, Form, Table

KINDS = {True: "math", False: "non-math"}
SAME_WEIGHTS = "C1 is the same weights here, which carom calls C0; there is no second seed, so nothing is carom's C1."
WHOSE = "Published columns are of undefended victims; hardened ones are in the published run's own tables."
TWO_DENOMINATORS = (
    f"wrong filter: rows across sources (C5 to C8) whose denominators are all {IMAGES} images of both classes, so that "
    "clean errors count as successes; rows within a source leave these out. The two are not comparable as they stand."
)
ADJUSTED = (
    "adjusted, approximate: (ASR - e) / (1 - e) in rows of the wrong filter, e = 1 - clean F1 of the victim on the "
    "images' source, as if every image that is wrong clean stays wrong; – where the files do not say the F1."
)


def published_tables(store: Store, run: str) -> list[Table]:
    """The tables of a published run.

    Raises:
        InputError: No published run of this id.
    """
    rows = read_published(store, run)
    rows = rows.assign(attacks=rows["math"].map(KINDS))
    rows = rows.sort_values("math", ascending=False, kind="stable")
    usual = rows[rows["training"] == ""]
    shown, whose = (usual, "") if len(usual) else (rows, ", hardened victims")
    tables = [
        _cases(shown, (), f"{run}: published attack success by case{whose}"),
        _effects(shown),
        _controls(rows),
        _wide(shown, ("attack",), "published-by-attack", "By attack"),
        _architectures(shown),
    ]
    if shown["task"].nunique() > 1:
        tables.insert(1, replace(_cases(shown, ("task",), f"By task{whose}"), notes=[SAME_WEIGHTS]))
    if rows["training"].nunique() > 1:
        named = rows.assign(training=rows["training"].replace("", "usual"))
        tables.insert(3, _wide(named, ("attacks", "training"), "published-by-training", "By training of the victim"))
    return tables


def show_published_rows(store: Store, run: str) -> Table:
    """Every row, for exports."""
    return Table(name="rows", title="Rows", frame=read_published(store, run), forms={})


def _cases(rows: pd.DataFrame, by: Sequence[str], title: str) -> Table:
    table = means_by_case(rows, (*by, "attacks")).rename(columns={"case": "case_number"})
    table["case"] = [f"C{n}" for n in table["case_number"]]
    table["mismatch"] = [CASES[0 if n == 1 else n].mismatch for n in table["case_number"]]
    table["ASR"], table["wrong filter"] = table["asr"], table["wrong_filter"]
    forms: dict[str, Form] = {column: "text" for column in (*by, "attacks", "case", "mismatch")}
    forms |= {"rows": "count", "ASR": "percent", "wrong filter": "count", "adjusted": "percent"}
    return Table(
        name="-".join(("cases", *(f"by-{column}" for column in by))),
        title=title,
        frame=table,
        forms=forms,
        notes=[
            "ASR: mean over rows, each one attack, surrogate and victim; math: attacks that compute, non-math: filters "
            "and noise, whose rows do not depend on the surrogate, so that each counts many times.",
            "One training of each model and 300 images of a source: published without intervals.",
            SAME_WEIGHTS,
            TWO_DENOMINATORS,
            ADJUSTED,
        ],
    )


def _wide(rows: pd.DataFrame, by: Sequence[str], name: str, title: str) -> Table:
    """One row for each level, its mean in each case."""
    table = means_by_case(rows, by)
    wide = table.assign(case="C" + table["case"].astype(str)).pivot_table(
        index=list(by), columns="case", values="asr", sort=False
    )
    cases = sorted(wide.columns)
    counted = rows.groupby(list(by), sort=False).size().rename("rows")
    wide = wide[cases].join(counted).reset_index()
    wide.columns.name = None
    return Table(
        name=name,
        title=f"{title}: mean ASR in each case, as published",
        frame=wide,
        forms={**{c: "text" for c in by}, "rows": "count", **{c: "percent" for c in cases}},
        notes=[SAME_WEIGHTS, "C5 to C8 are not to be compared with C1 to C4 where the controls warn."],
    )


def _architectures(rows: pd.DataFrame) -> Table:
    groups = rows.groupby(["attacks", "architecture_s", "architecture_v"], sort=False)
    table = groups.agg(rows=("asr", "size"), ASR=("asr", "mean")).reset_index()
    return Table(
        name="published-by-architecture",
        title="By architecture of surrogate and victim",
        frame=table.rename(columns={"architecture_s": "surrogate", "architecture_v": "victim"}),
        forms={"attacks": "text", "surrogate": "text", "victim": "text", "rows": "count", "ASR": "percent"},
        notes=["Where both are the same, the rows of the same weights are among them. ASR as published."],
    )


def _effects(rows: pd.DataFrame) -> Table:
    table = []
    tasks = list(dict.fromkeys(rows["task"]))
    for task in ["all", *tasks] if len(tasks) > 1 else tasks:
        of_task = rows if task == "all" else rows[rows["task"] == task]
        for kind, some in of_task.groupby("attacks", sort=False):
            for axis in BY_WEIGHT:
                same = some[f"{axis}_s"] == some[f"{axis}_v"]
                match, mismatch = some[same], some[~same]
                table.append(
                    {
                        "task": task,
                        "attacks": kind,
                        "mismatch in": axis,
                        "rows": len(some),
                        "ASR match": match["asr"].mean(),
                        "ASR mismatch": mismatch["asr"].mean(),
                        "effect": mismatch["asr"].mean() - match["asr"].mean(),
                        "adjusted effect": mismatch["adjusted"].mean(skipna=False)
                        - match["adjusted"].mean(skipna=False),
                    }
                )
    return Table(
        name="effects",
        title="Effect of a mismatch on ASR, in points: differences of plain means",
        frame=pd.DataFrame(table),
        forms={
            "task": "text",
            "attacks": "text",
            "mismatch in": "text",
            "rows": "count",
            "ASR match": "percent",
            "ASR mismatch": "percent",
            "effect": "points",
            "adjusted effect": "points",
        },
        notes=[
            "effect: mean of all rows that mismatch minus mean of all that match, in this condition alone; the rows of "
            "the same weights are among those that match.",
            "adjusted effect: the same of the adjusted rates; the effect of the source is to be read there. Filters "
            "know no surrogate, so what they show of source is not about surrogates.",
            ADJUSTED,
        ],
    )


def _controls(rows: pd.DataFrame) -> Table:
    """Whether the clean filter was the same within a source and across."""
    pairs = rows.drop_duplicates(["task", "training", "source_s", "source_v", "architecture_v", "balance_v"])
    across, within = pairs[pairs["source_s"] != pairs["source_v"]], pairs[pairs["source_s"] == pairs["source_v"]]
    wrong, known = int(across["wrong_filter"].sum()), int(rows["clean_f1"].notna().sum())
    came = (
        f"{IMAGES} and {IMAGES} for {wrong} of {len(across)} victims on images of another source"
        f"{_range(within)}; {int(rows['wrong_filter'].sum()):,} of {len(rows):,} rows"
    )
    frame = pd.DataFrame(
        [
            {
                "control": "clean filter",
                "status": "warned" if wrong else "passed",
                "expected": "images that the victim gets wrong clean are left out of the denominators of both classes",
                "came": came,
            },
            {
                "control": "clean F1",
                "status": "passed" if known == len(rows) else "warned",
                "expected": "of every victim on the source of the images, to adjust what the filter left in",
                "came": f"{known:,} of {len(rows):,} rows",
            },
        ]
    )
    return Table(
        name="controls",
        title="Controls",
        frame=frame,
        forms={"control": "text", "status": "text", "expected": "text", "came": "text"},
        notes=[
            "Denominators are not published: they are the smallest ones that all rates of a victim on these images fit."
        ],
    )


def _range(pairs: pd.DataFrame) -> str:
    if not len(pairs) or pairs[["n_0", "n_1"]].isna().any(axis=None):
        return ""
    of = [f"{int(pairs[n].min())} to {int(pairs[n].max())}" for n in ("n_0", "n_1")]
    return f", {of[0]} and {of[1]} on images of its own"


def show_beside(store: Store, run: str, cases: Table) -> Table | None:
    """One's own cases with those of every published run of the store beside them; None where it has none.

    Args:
        store: Where they are.
        run: One's own, for the title.
        cases: Its table of cases.
    """
    theirs = published_by_case(store)
    if not len(theirs):
        return None
    table = cases.frame[cases.frame["case_number"].isin([c.number for c in CASES])]
    by = [c for c in cases.forms if c in table and cases.is_text(c) and c not in ("case", "mismatch", INTERVAL)]
    table = table[[*by, "case_number", "case", "mismatch", "n", "ASR"]].reset_index(drop=True)
    # one's own C0 and their C1 are the same weights; they have nothing like one's own C1
    counterpart = table["case_number"].map({0: 1} | {c.number: c.number for c in CASES[2:]})
    table["their case"] = ["–" if pd.isna(n) else case_of(int(n)).name for n in counterpart]
    forms: dict[str, Form] = {**{c: "text" for c in by}, "case": "text", "mismatch": "text", "n": "count"}
    forms |= {"ASR": "percent", "their case": "text"}
    for (name, is_math), rows in theirs.groupby(["run", "math"], sort=False):
        for column in ["asr", "adjusted"] if rows["wrong_filter"].any() else ["asr"]:
            title = " ".join((str(name), KINDS[bool(is_math)], *(["adjusted"] if column == "adjusted" else [])))
            table[title] = counterpart.map(dict(zip(rows["case"], rows[column], strict=True)))
            forms[title] = "percent"
    return Table(
        name="published",
        title=f"{run} beside published results",
        frame=table,
        forms=forms,
        notes=[
            "Other tasks, networks, attacks and strengths, so only the order of the cases can be compared. ASR is k / "
            "n of pooled images; published columns are means over rows of one attack, surrogate and victim.",
            "their case: the same weights are C1 there and C0 here; another seed, C1 here, is not there.",
            WHOSE,
            *([TWO_DENOMINATORS, ADJUSTED] if theirs["wrong_filter"].any() else []),
        ],
    )
