"""The one training loop and its recipes."""
