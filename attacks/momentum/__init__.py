"""What the gradients of this and earlier steps make together: an `Accumulation` of `slots.py` a file."""
