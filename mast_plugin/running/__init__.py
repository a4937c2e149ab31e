"""A command while it runs: its folder, its end, what it says, what it goes on from."""
