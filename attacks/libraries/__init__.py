"""Attacks of other libraries behind carom's contract."""
