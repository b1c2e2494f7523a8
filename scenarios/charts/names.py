"""Names of models as figures write them: short, and still distinct."""

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"=|^s?\d+$")  # settings, numbers of images, seeds


def short(names: Iterable[str], length: int = 38) -> dict[str, str]:
    """Each name without the parts that all of them have, cut in the middle to `length`; still distinct.

    Parts stand between "/", ":", "," and parentheses, as in "pgd-at:original/uniform/lenet/standard(epochs=3)/s1". Who
    differs from such a name only by having nothing before the colon is "plain". Settings, numbers of images and of the
    seed are left out where the names stay distinct without them.
    """
    distinct = list(dict.fromkeys(names))
    parts = {name: [p for p in re.split(r"[/(),:]+", name) if p] for name in distinct}
    shared = set.intersection(*map(set, parts.values())) if len(distinct) > 1 else set()
    if shared or len(distinct) == 1:
        told = [tuple(p for p in parts[name] if p not in shared and not _NUMBER.search(p)) for name in distinct]
        if "/" in distinct[0] and all(told) and len(set(told)) == len(distinct):
            shared = shared | {p for of in parts.values() for p in of if _NUMBER.search(p)}
    bare = {name.partition(":")[2] for name in distinct if ":" in name}
    found: dict[str, str] = {}
    for i, name in enumerate(distinct, start=1):
        own = " ".join(p for p in parts[name] if p not in shared) if shared else name
        own = own or ("plain" if name in bare else next(iter(parts[name]), ""))
        if own in found.values():
            own = name
        own = _cut(own, length)
        found[name] = f"{i}: {own}" if own in found.values() else own
    return found


def _cut(words: str, length: int) -> str:
    head = length * 3 // 5
    return words if len(words) <= length else f"{words[:head]}…{words[head + 1 - length :]}"
