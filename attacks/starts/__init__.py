"""Where the first step begins."""
