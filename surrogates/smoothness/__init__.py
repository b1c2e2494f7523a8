"""Trainings that smooth the network in its inputs."""
