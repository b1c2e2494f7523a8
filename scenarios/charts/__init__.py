"""The figures that the explorer and the report both draw, in Altair; `theme.py` first: how all figures look.

Imported only where something is drawn, as Altair takes a while to load. `picture.py` makes PNG of attacked images.
"""
