"""What has to exist for a scenario, each under a key; what of it a store lacks, and what that costs.

In the order of reading: `models` and `surrogates`, `images` and `sets`, `brought` for sets that were made elsewhere,
`outside` for models that exist already, and `plan`, which puts them together with their cells. `measures` says what is
looked at besides. Then `lacking` holds a plan against a store, and `cost` says what that would take,
by the `prices` of models that exist already.
"""
