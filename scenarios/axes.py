"""The axes of a model: what two models can differ in, in the order of labels and tables. Imports nothing."""

CONDITIONS = ("source", "balance", "architecture")  # of a training; surrogate and victim match in each, or do not
TRAINING = ("source", "samples", "balance", "architecture", "recipe")
AXES = (*TRAINING, "defense")
