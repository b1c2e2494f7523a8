"""Surrogates made of a victim's answers."""
