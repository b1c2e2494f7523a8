"""Networks as they are: one, or several trained apart."""
