"""The tables of a store. Whoever changes them adds a step to migrations.py, which gives them their number."""

import sqlalchemy as sa

from carom.scenarios.axes import OF_SURROGATE
from carom.scenarios.cases import BY_WEIGHT

TABLES = sa.MetaData()

meta = sa.Table("meta", TABLES, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))

runs = sa.Table(
    "runs",
    TABLES,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("scenario", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),  # the scenario file
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # running | done | failed | interrupted | published
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("finished", sa.Text),
    sa.Column("environment", sa.Text, nullable=False),  # JSON: of its latest job, with all devices of the run
    sa.Column("stamp", sa.Text),  # of what the plan rests on, where that can be said without loading data and models
)

# One row for each trained or referenced model, image set and adversarial set that a plan names. `digest` is null until
# the artefact is there; `inputs` names the digests of what it was made from.
artifacts = sa.Table(
    "artifacts",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("inputs", sa.Text, nullable=False, server_default="{}"),
    sa.Column(
        "record", sa.Text, nullable=False, server_default="{}"
    ),  # how it came to be: history, passes, sizes, where
    sa.Column("bytes", sa.Integer),
    sa.Column("modified", sa.Integer),  # of the file, in ns: a file that did not change is not read again to check it
    sa.UniqueConstraint("kind", "key"),
)

image_sets = sa.Table(
    "image_sets",
    TABLES,
    sa.Column("artifact", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("split", sa.Text, nullable=False),
    sa.Column("classes", sa.Text, nullable=False),
    sa.Column("sources", sa.Text, nullable=False),
    sa.Column("labels", sa.LargeBinary, nullable=False),
    sa.Column("image_source", sa.LargeBinary, nullable=False),
    sa.Column("ids", sa.LargeBinary, nullable=False),
)

clean = sa.Table(
    "clean",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),  # never given twice: answers that are asked for anew get another
    sa.Column("victim", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("image_set", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("correct", sa.Integer, nullable=False),
    sa.Column("predictions", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("victim", "image_set"),
    sqlite_autoincrement=True,
)

cells = sa.Table(
    "cells",
    TABLES,
    sa.Column("adversarial_set", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("victim", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),  # images that the victim got right clean
    sa.Column("k", sa.Integer, nullable=False),  # of those, how many the attack won
    sa.Column("clean", sa.Integer, sa.ForeignKey("clean.id"), nullable=False),  # the predictions it is packed against
    sa.Column("changes", sa.LargeBinary, nullable=False),  # adversarial xor clean predictions, compressed
    sa.Index("cells_by_victim", "victim"),  # to drop what rests on a model that was trained anew
    sa.Index("cells_counted", "adversarial_set", "victim", "n", "k"),  # to read a million rates without the predictions
    sqlite_with_rowid=False,
)

# What one run shows: its models and sets with the names and axes its file gave them, and its cells.
run_models = sa.Table(
    "run_models",
    TABLES,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("artifact", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("axes", sa.Text, nullable=False),
)

run_sets = sa.Table(
    "run_sets",
    TABLES,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("artifact", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("image_set", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("surrogate", sa.Text),  # label; null for a surrogate-free control
    # what the surrogate is; null where that is not known, or does not apply. Texts: a seed may be any whole number
    *(sa.Column(f"{axis}_s", sa.Text) for axis in OF_SURROGATE),
    sa.Column("reads", sa.Text),  # surrogate | victim | both: whose answers it was made from; null for a control
    sa.Column("asked", sa.Text),  # label of the one victim whose answers it was made from
    sa.Column("decoy", sa.Boolean, nullable=False),  # made for another class than the attack's; no attack
    sa.Column("attack", sa.Text, nullable=False),
    sa.Column("norm", sa.Text, nullable=False),
    sa.Column("eps", sa.Text, nullable=False),
    sa.Column("attack_seed", sa.Integer, nullable=False),
    sa.Column("targeted", sa.Boolean, nullable=False),
)

run_cells = sa.Table(
    "run_cells",
    TABLES,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("adversarial_set", sa.Integer, primary_key=True),
    sa.Column("victim", sa.Integer, primary_key=True),
    sa.Column("case", sa.Integer),  # 0..8; null where a model's axes are not known or there is no surrogate
    sa.Column("failure", sa.Text),  # why there is no outcome
    sqlite_with_rowid=False,
)

# A run writes its models and sets down in the order of its plan, so that is the order of their rowids. The ids of
# artefacts are no such order: what an earlier run made has an earlier one.
PLANNED_MODELS: sa.ColumnElement[int] = sa.literal_column("run_models.rowid")
PLANNED_SETS: sa.ColumnElement[int] = sa.literal_column("run_sets.rowid")

# What one run says of its surrogates beside their transfer: what they rest on, cost and look like.
run_surrogates = sa.Table(
    "run_surrogates",
    TABLES,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("victim", sa.Text, primary_key=True),  # label of the one victim that it is built for; "" for all
    sa.Column("builder", sa.Text, nullable=False),
    sa.Column("members", sa.Text, nullable=False),  # JSON: rows of the models whose weight sets are read
    sa.Column("rests_on", sa.Text, nullable=False),  # JSON: rows of all models that were made for it
    sa.Column("measures", sa.Integer),  # row of what was measured of it
    sa.Column("active", sa.Integer, nullable=False),  # classifiers that are read at a step
    sa.Column("schedule", sa.Text, nullable=False),  # light | full
    sa.Column("networks", sa.Integer),  # of an ensemble of one architecture as trained, or of one network: its size
    sa.Column("axes", sa.Text, nullable=False),  # JSON
)

# What one run says of its victims where some are defended: what they rest on, and numbers that say whether their
# gradients are masked and how large they are.
run_victims = sa.Table(
    "run_victims",
    TABLES,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("victim", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("rests_on", sa.Text, nullable=False),  # JSON: rows of all models that were made for it, it among them
    sa.Column("measures", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("budget", sa.Text, nullable=False),  # of the attacks behind the numbers
)

# Rates that others published, as their files say them; of runs whose status is "published", which have no cells.
published = sa.Table(
    "published",
    TABLES,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("training", sa.Text, nullable=False),  # of the victim; "" for the usual one
    sa.Column("attack", sa.Text, nullable=False),
    sa.Column("math", sa.Boolean, nullable=False),
    *(sa.Column(f"{axis}_{side}", sa.Text, nullable=False) for side in "sv" for axis in BY_WEIGHT),
    *(sa.Column(name, sa.Float, nullable=False) for name in ("asr", "asr_0", "asr_1")),
    sa.Column("clean_f1", sa.Float),  # of the victim on the source of the images
    sqlite_with_rowid=False,
)

# Every planned cell, with its outcome where there is one.
planned_cells = run_cells.outerjoin(
    cells, (cells.c.adversarial_set == run_cells.c.adversarial_set) & (cells.c.victim == run_cells.c.victim)
)

attempts = sa.Table(
    "attempts",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("job", sa.Text, nullable=False),  # train | craft | evaluate
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("finished", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("inside", sa.Float, nullable=False),  # seconds in forward and backward passes
    sa.Column("passes", sa.Integer, nullable=False),
    sa.Column("failure", sa.Text),
    sa.Column("environment", sa.Text),  # JSON: host, device, threads, versions; null in attempts of before schema 3
)
