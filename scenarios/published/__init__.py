"""Results that others published."""
