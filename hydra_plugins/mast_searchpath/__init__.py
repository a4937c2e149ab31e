"""Lets every Hydra program beside solo-learn find MAST's configurations and MAST itself.

Hydra imports this module in each of its programs in the environment, so nothing heavy is imported
here before it is needed.
"""

import sys
from itertools import pairwise

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

_OUR_COMMAND = "pkg://mast_plugin"
"""What Hydra takes for the folder of our own command where nobody named one."""


class ShippedBeside(FileConfigSource):  # type: ignore[misc]
    """The shipped configurations beside a folder that a program or a user asked for.

    It offers what recipes are built on, and recipes by their folder, such as ``cifar/mast``. A bare
    ``--config-name`` asks for a recipe of that folder: where it is missing there, another one of
    its name must not stand in.
    """

    @staticmethod
    def scheme() -> str:
        """What stands before ``://`` in a search path."""
        return "mast"

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a configuration that may be used here."""
        name = config_path.removesuffix(".yaml")
        return name != _asked_name(sys.argv[1:]) and bool(super().is_config(config_path))

    def __repr__(self) -> str:
        """How Hydra lists the source where a configuration was not found."""
        return f"{super().__repr__()} (recipes by their folder, as in --config-name cifar/mast)"


def _asked_name(arguments: list[str]) -> str | None:
    """The bare name that ``--config-name`` gives, or our command's default in ``--config-path``."""
    given = {}
    for argument, following in pairwise([*arguments, ""]):
        flag, equals, value = argument.partition("=")
        given[flag] = value if equals else following
    default = "mast" if {"--config-path", "-cp"} & set(given) else None
    name = given.get("--config-name", given.get("-cn", default))
    return name.removesuffix(".yaml") if name else None


class MASTSearchPath(SearchPathPlugin):  # type: ignore[misc]
    """Appends the shipped configurations; a program's own come first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the configurations, and register ``mast`` if the program uses solo-learn."""
        from mast_plugin.registration import register, register_resolvers
        from mast_plugin.setting.shipped import shipped_directory

        main = {each.path for each in search_path.get_path() if each.provider == "main"}
        asked = main - {_OUR_COMMAND}
        scheme = ShippedBeside.scheme() if asked else "file"
        search_path.append(provider="mast", path=f"{scheme}://{shipped_directory()}")
        register_resolvers()
        if "solo.methods" in sys.modules:
            register()
