"""The axes of a model: what two models can differ in, in the order of labels and tables. Imports nothing."""

CONDITIONS = ("source", "balance", "architecture")  # of a training; surrogate and victim match in each, or do not
TRAINING = ("source", "samples", "balance", "architecture", "recipe")
AXES = (*TRAINING, "defense")
LEVELS = (*TRAINING, "n")  # what a scenario gives a training by names; n is how many images it has
# What the attacker's model of an adversarial set is, in the order in which a suite says it. Each is a column of the
# store: another one needs a step in its migrations.
OF_SURROGATE = (*LEVELS, "defense", "group", "pool", "builder", "seed")
