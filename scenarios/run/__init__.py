"""Doing what is lacking: jobs, workers, progress."""
