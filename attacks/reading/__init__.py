"""What an attack sees: gradients, answers and features of networks that are ready to be read, every pass counted.

`gradients.py` is the `Reader` that attacks are handed. It stands on `features.py`, that on `answers.py`, and that on
`counting.py`. `networks.py` makes classifiers ready, `partners.py` is the pool of images to mix in.
"""
