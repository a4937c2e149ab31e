"""What surrounds a command: its folder and owner, checkpoints, progress, interruption, end."""
