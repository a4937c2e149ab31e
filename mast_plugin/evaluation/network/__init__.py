"""Checkpoints opened: which network, which weights, which view."""
