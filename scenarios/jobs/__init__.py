"""What a worker does. A kind of job is one file: what crosses to the worker, what it does there, and how the driver
makes such jobs of what is lacking.

`job.py` is the contract, `inputs.py` names, loads and compares what jobs work on, `answers.py` is what a model says to
images. `kinds.py` lists the kinds in the order of a run: `train`, `build`, `measure` and `examine`, `craft`,
`controls` and `bring`, `evaluate`.
"""
