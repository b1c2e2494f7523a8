"""From an attack and clean images to 8-bit images that are verified to lie in the ball."""
