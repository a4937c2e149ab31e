"""Registers ``mast`` as soon as a program imports ``solo.methods``, whatever reads its options.

``mast_plugin.pth``, which is installed beside the packages, puts a finder of one line into every
interpreter of the environment; it comes here for ``solo.methods`` alone.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def found(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Find a module so that MAST is registered when it has been executed.

    Args:
        name: of the module that holds solo-learn's registry.
        path: of its package.
    """
    spec = PathFinder.find_spec(name, path)
    if spec is not None and spec.loader is not None:
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            _register()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
    return spec


def _register() -> None:
    """Register MAST; what keeps it from being had must not keep other methods from running."""
    if "mast_plugin.method" in sys.modules:
        return  # it is what imports solo-learn, and registers itself when it is complete
    try:
        from mast_plugin.registration import register

        register()
    except Exception as error:
        print(f"mast-plugin: solo-learn will not know the method mast: {error}", file=sys.stderr)
