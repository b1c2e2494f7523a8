"""What answers to images.

`classifier.py` is a network behind its preprocessing, `prepare.py` makes it ready to be attacked, `checkpoints.py` puts
its weights into files. `victims.py` is what can only be asked. `references.py` reads what a user names a model by;
`outside/` has a file for each kind of model that carom did not train.
"""
