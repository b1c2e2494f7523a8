"""Attacks that ask a victim, one a file, and `oracle.py`, which counts what they ask."""
