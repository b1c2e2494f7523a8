"""What a worker does, one file a kind."""
