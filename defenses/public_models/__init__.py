"""Training against what public models' attackers make (PubDef)."""
