"""What a scenario file asks."""
