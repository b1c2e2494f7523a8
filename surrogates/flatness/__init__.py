"""Trainings that look for flat minima, and epochs chosen by transfer."""
