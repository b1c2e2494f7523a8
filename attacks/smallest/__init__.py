"""Attacks that look for the smallest change instead of filling a budget, one a file."""
