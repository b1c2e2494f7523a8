"""Models that carom did not train: of libraries, from files, from Python, and behind an address.

`declared.py` is what all of them share; each other file is one kind: what names it, and how it is loaded, with the
libraries that it needs imported where they are used. `references.py` beside this folder reads a name and asks the kind.
"""
