"""What a scenario file asks. In the order of reading: `text`, `scenario`, `read`, and what `read` puts together.

`text` finds a preset or a file. `scenario` has the classes of what is asked. `read` makes them of a TOML text, by way
of `models`, `attacks` and `sets`, which read its tables with the typed readers of `fields`. `labels` names what the
file did not name, and `refuse` says what cannot be.
"""
