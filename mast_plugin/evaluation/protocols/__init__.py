"""How features are judged: one file for each protocol."""
