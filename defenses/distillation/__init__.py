"""Robust students of teachers and supernets."""
