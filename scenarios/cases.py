"""The cases C0 to C8: what an attacker's model and a victim have in common.

DUMB (Alecci, Conti, Marchiori, Martinelli, Pajola: "Your Attack Is Too DUMB", RAID 2023) names eight cases by three
conditions of training: data source, model architecture, balance of the classes. carom adds C0, the very same weights,
which DUMB counts as C1: a white box is not a transfer, so it enters no mismatch effect.
"""

from dataclasses import dataclass

from .axes import CONDITIONS

CONTROL = -1
UNDECLARED = 99  # after C8 in every table
WEIGHTS = dict(zip(CONDITIONS, (4, 1, 2), strict=True))  # what a mismatch adds to the number of the case
BY_WEIGHT = tuple(sorted(CONDITIONS, key=WEIGHTS.__getitem__, reverse=True))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case.

    Attributes:
        number: 0 to 8, -1 for sets that no surrogate made, 99 where a model's training was not declared.
        name: As tables show it.
        mismatch: The conditions that differ, in short.
        description: One line for help and captions.
    """

    number: int
    name: str
    mismatch: str
    description: str


_DIFFER = (
    ("none", "another seed of the same source, balance and architecture"),
    ("B", "only the balance of the classes differs"),
    ("M", "only the architecture differs"),
    ("B+M", "balance and architecture differ, the source is the same"),
    ("D", "only the data source differs"),
    ("D+B", "source and balance differ, the architecture is the same"),
    ("D+M", "source and architecture differ, the balance is the same"),
    ("D+B+M", "source, balance and architecture differ"),
)

CASES: tuple[Case, ...] = (
    Case(number=0, name="C0", mismatch="same weights", description="white box: the victim is the surrogate itself"),
    *(
        Case(number=i, name=f"C{i}", mismatch=mismatch, description=description)
        for i, (mismatch, description) in enumerate(_DIFFER, start=1)
    ),
)

SURROGATE_FREE = Case(
    number=CONTROL, name="control", mismatch="no surrogate", description="images changed without any model"
)

UNKNOWN_CASE = Case(
    number=UNDECLARED,
    name="C?",
    mismatch="unknown",
    description="source, balance or architecture of a referenced model was not declared",
)


def case(same_weights: bool, source_match: bool, balance_match: bool, architecture_match: bool) -> int:
    """The number of the case: 0 for the same weights, else 1 + [balance differs] + 2 [architecture] + 4 [source].

    Raises:
        ValueError: The same weights, yet a condition differs.
    """
    matches = (source_match, balance_match, architecture_match)
    if same_weights:
        if not all(matches):
            raise ValueError(f"one model cannot differ from itself: same_weights with matches {matches}")
        return 0
    return 1 + sum(weight for weight, match in zip(WEIGHTS.values(), matches, strict=True) if not match)


def case_of(number: int) -> Case:
    """The case of a number: -1 to 8, or 99.

    Raises:
        ValueError: No such case.
    """
    if number == CONTROL:
        return SURROGATE_FREE
    if number == UNDECLARED:
        return UNKNOWN_CASE
    if not 0 <= number < len(CASES):
        raise ValueError(f"case {number}: expected 0 to {len(CASES) - 1}, or {CONTROL} for sets without a surrogate")
    return CASES[number]
