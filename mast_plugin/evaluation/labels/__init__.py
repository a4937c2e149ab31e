"""What is told apart: folders, tables and tasks with labels, and splits of them."""
