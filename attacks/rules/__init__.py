"""Where and how often a step reads the gradient."""
