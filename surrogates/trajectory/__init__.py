"""Weights along one training, and averages and subspaces of them."""
