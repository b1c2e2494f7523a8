"""What is kept: tables, files, predictions, and how they are read."""
