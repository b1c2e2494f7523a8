"""What the others stand on, each on those before it.

`tasks/` are images and their classes; `architectures/` are networks; `preprocessing.py` stands between the two.
`models/` are what answers to images: a network behind its preprocessing, or somebody else's model. `training/` makes
weights.
"""

if __name__ != "carom.zoo":
    raise ImportError(f"import carom.zoo, not {__name__}: one class would load twice")
