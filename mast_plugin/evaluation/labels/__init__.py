"""Labelled data: folders and tables, the tasks in them, and their splits."""
