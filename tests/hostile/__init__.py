"""Hostile input: cases drawn from a seed, and what the project must make of every one of them.

Shared by tests/doors/test_fuzz.py, which runs some hundreds, and benchmarks/reliability/fuzz.py,
which runs as many as it is told to.
"""
