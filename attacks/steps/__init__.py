"""From a direction to the next point: a `StepRule` of `slots.py` a file. `steepest.py` is the default."""
