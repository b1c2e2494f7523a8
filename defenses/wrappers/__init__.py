"""Changes of the images before a classifier."""
