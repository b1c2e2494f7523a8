"""Training against what attackers make with public models (PubDef).

`pubdef.py` is the defence; `source_selection.py` chooses its sources by how they transfer, `adversarial_copies.py`
makes what it learns from, `against_copies.py` trains on it.
"""
