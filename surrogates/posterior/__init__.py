"""Draws from the posterior over weights."""
