"""Registers ``mast`` as soon as a program imports ``solo.methods``, whatever reads its options.

``mast_plugin.pth``, which is installed beside the packages, puts a finder of one line into every
interpreter of the environment; it comes here for two modules of solo-learn alone.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def found(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Find a module so that MAST is at home in it when it has been executed.

    Args:
        name: ``solo.methods``, which holds the registry of methods, or ``solo.args.pretrain``.
        path: of its package.
    """
    spec = PathFinder.find_spec(name, path)
    if spec is not None and spec.loader is not None:
        execute = spec.loader.exec_module

        def execute_and_follow_up(module: ModuleType) -> None:
            execute(module)
            if name == "solo.methods":
                _register()
            elif hasattr(module, "parse_cfg"):
                module.parse_cfg = _checking(module.parse_cfg)  # type: ignore[attr-defined]

        spec.loader.exec_module = execute_and_follow_up  # type: ignore[method-assign]
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


def _checking(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The main branch's reading of a configuration, which counts views before MAST sees any."""

    @functools.wraps(parse)
    def checked(cfg: Any) -> Any:
        if cfg.get("method") == "mast" and not cfg.get("augmentations"):
            from mast_plugin.views.plan import NO_VIEWS

            print(f"mast: {NO_VIEWS}", file=sys.stderr)
            raise SystemExit(2)
        return parse(cfg)

    return checked
