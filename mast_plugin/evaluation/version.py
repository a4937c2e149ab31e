"""Versions of what every evaluation is made with, so that nothing stale is ever read again.

Each protocol has a version of its own beside its code. Kept features and kept evaluations are made
again where a version differs; ``tests/evaluation/test_version.py`` fails where numbers change and
it does not.
"""

LOADING = 2
"""Raised whenever :mod:`mast_plugin.loading.image` makes other pixels of a file than before."""

VIEWS = 1
"""Raised whenever :mod:`mast_plugin.views` makes another view of the same pixels and draws."""
