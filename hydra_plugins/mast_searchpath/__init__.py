"""Lets every Hydra program beside solo-learn find MAST's configurations and MAST itself.

Hydra imports this module in each of its programs in the environment, so nothing heavy is imported
here before it is needed.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class MASTSearchPath(SearchPathPlugin):  # type: ignore[misc]
    """Appends the shipped configurations; a program's own come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the configurations, and register ``mast`` if the program uses solo-learn."""
        from mast_plugin.configuration import shipped_directory
        from mast_plugin.registration import register, register_resolvers

        search_path.append(provider="mast", path=f"file://{shipped_directory()}")
        register_resolvers()
        if "solo.methods" in sys.modules:
            register()
