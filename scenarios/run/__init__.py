"""Do what a store lacks of a scenario.

`run.py` is the loop; `given.py` writes what is there before any job, `rows.py` what the run shows, `take.py` what jobs
did, and `progress.py` tells the user. `executors/` performs the jobs.
"""
