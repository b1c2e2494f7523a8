"""Elastic networks: many sub-networks in one set of weights.

`space.py` says which sub-networks there are, `layers.py` has layers of which a part may be used, `family.py` what the
families share; `resnet.py` and `mobile.py` are the families.
"""
