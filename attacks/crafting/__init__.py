"""From an attack and clean images to 8-bit images that are verified to lie in the ball.

`craft.py` is what others call. It goes chunk by chunk (`chunks.py`), rounds (`rounding.py`), verifies (`verifying.py`)
and adds up what a set cost (`crafted.py`).
"""
