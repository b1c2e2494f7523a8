"""Attacks that ask a victim, and the oracle that counts what they ask."""
