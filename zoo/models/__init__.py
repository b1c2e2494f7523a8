"""Classifiers: carom's own, files, libraries and services."""
