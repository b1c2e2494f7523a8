"""Where the first step begins: a `Start` of `slots.py` a file. `clean.py` is the default."""
