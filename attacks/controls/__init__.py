"""Perturbations that no surrogate made: noise, blur and filters."""
