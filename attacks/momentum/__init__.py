"""What the gradients of this and earlier steps make together."""
