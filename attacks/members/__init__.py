"""How several networks make one gradient."""
