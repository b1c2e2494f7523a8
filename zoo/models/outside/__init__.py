"""Victims from outside: models in other libraries' formats, and models that only answer over a network.

`declared.py` is what all of them share; each other file is one kind, with the libraries that it needs imported where
they are used.
"""
