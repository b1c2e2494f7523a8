"""From a direction to the next point."""
