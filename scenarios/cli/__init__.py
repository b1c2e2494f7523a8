"""The command line: `main.py` lists the commands; `run.py`, `look.py`, `suites.py` and `upkeep.py` have them.

What a command does stands in the rest of the house; here is what only the command line needs: `console.py` prints,
`doctor.py` looks at the machine and the store, `train.py` makes files of single models.
"""
