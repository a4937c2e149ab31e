"""Interpreters of plans: what turns images into views."""
