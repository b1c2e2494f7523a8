"""What an attack sees: gradients, logits and features of networks that are ready to be read, every pass counted."""
