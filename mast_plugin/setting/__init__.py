"""What can be set: every option, its range and default, and the way to it."""
