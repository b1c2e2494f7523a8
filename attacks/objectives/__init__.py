"""What is raised: a loss of the logits, or of features."""
