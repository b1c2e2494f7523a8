"""What has to exist, each under a key; what of it is lacking, and what that costs."""
