"""Changes of the images before a classifier: `wrapped.py` is how, each other file is one."""
