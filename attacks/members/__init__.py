"""How several networks make one gradient: a `MemberRule` of `slots.py` a file. `mean.py` is the default."""
