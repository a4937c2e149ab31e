"""What a name in a comparison stands for: a recipe, and what is changed in it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from mast_plugin.check import SECTION, TEXT
from mast_plugin.errors import ConfigurationError, shown
from mast_plugin.files.document import first_line
from mast_plugin.setting.shipped import absolute_config_path, shipped_directory

_FALLBACK = "vicreg"
_SIZES = ("proj_hidden_dim", "proj_output_dim", "pred_hidden_dim", "proj_size")
_SIZE = 512
MOST_RUNS = 1000


@dataclass(frozen=True)
class Variant:
    """A method as it is compared.

    Attributes:
        name: in the comparison's tables.
        recipe: name of its configuration.
        overrides: key, with dots, to value; of the recipe.
    """

    name: str
    recipe: str
    overrides: Mapping[str, Any]

    def changed(self, overrides: Mapping[str, Any]) -> "Variant":
        """The same with further overrides, which win."""
        return Variant(self.name, self.recipe, {**self.overrides, **overrides})

    @property
    def arguments(self) -> list[str]:
        """The overrides in Hydra's notation; a key that the recipe lacks is added."""
        return [f"++{key}={_value(value)}" for key, value in self.overrides.items()]


def read_variant(name: str, known: Mapping[str, Any]) -> Variant:
    """Look a name up, among the configured variants and then among solo-learn's methods.

    Args:
        name: as given in ``methods``.
        known: variant to its recipe and overrides.

    Raises:
        ConfigurationError: no such variant or method, or one that has no recipe.
    """
    if name in known:
        entry = known[name]
        SECTION.check(f"variants.{name}", entry)
        for key, rule in (("recipe", TEXT), ("overrides", SECTION)):
            rule.check(f"variants.{name}.{key}", {"overrides": {}, **entry}.get(key))
        return Variant(name, entry["recipe"], entry.get("overrides", {}))
    from mast_plugin.host import load_host

    host = load_host()
    builtin = set(host.METHODS) - {"base", "linear"}
    if name not in builtin:
        raise ConfigurationError(
            f"methods names {name!r}, which is neither a variant ({', '.join(known)}) nor a method "
            f"of the installed solo-learn ({', '.join(sorted(builtin))}): add it to variants"
        )
    options = host.method_options(name)
    sizes = {f"method_kwargs.{option}": _SIZE for option in _SIZES if option in options}
    return Variant(name, _FALLBACK, {"method": name, **sizes})


def grid(search: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of a search's values, as overrides; one empty one without a search.

    Raises:
        ConfigurationError: a key without values, or more than ``MOST_RUNS`` combinations.
    """
    for key, values in search.items():
        if not isinstance(values, list) or not values:
            raise ConfigurationError(f"search.{key} is {shown(values)}; it must list values to try")
    refuse_many(prod(map(len, search.values())), "search")
    return [dict(zip(search, values, strict=True)) for values in product(*search.values())]


def refuse_many(runs: int, key: str) -> None:
    """Refuse more runs than anybody can mean.

    Raises:
        ConfigurationError: more than ``MOST_RUNS``.
    """
    if runs > MOST_RUNS:
        raise ConfigurationError(f"{key} asks for {runs} runs; give at most {MOST_RUNS}")


def _value(value: Any) -> str:
    """A value in Hydra's notation: JSON, but for the keys of dictionaries."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def recipe_folder(folder: str | None) -> Path:
    """Where the recipes are, absolute.

    Raises:
        ConfigurationError: no such folder, here or among the shipped ones.
    """
    if folder is None:
        return shipped_directory()
    path = Path(absolute_config_path(["--config-path", folder])[1])
    if not path.is_dir():
        raise ConfigurationError(
            f"recipes={folder} is no folder, here or among the shipped ones: give one that holds "
            "a recipe of every method, or null for the embedded dataset"
        )
    return path


def composed(variant: Variant, folder: Path) -> DictConfig:
    """Compose a variant's configuration, as its own run will.

    Raises:
        ConfigurationError: there is no such recipe, or an override does not fit it.
    """
    try:
        if not (folder / f"{variant.recipe}.yaml").is_file():  # Hydra would look elsewhere, too
            raise ConfigurationError(f"there is no {variant.recipe}.yaml")
        with _own_hydra(folder):
            return compose(variant.recipe, variant.arguments)
    except Exception as error:  # of Hydra, and of what reads the recipe for it
        raise ConfigurationError(
            f"the recipe of {variant.name} cannot be composed: {first_line(error)}; recipes are "
            f"looked for in {folder}"
        ) from error


@contextmanager
def _own_hydra(folder: Path) -> Iterator[None]:
    """Hydra from a folder, whatever Hydra program this runs in."""
    outer, current = GlobalHydra.instance(), GlobalHydra.instance().hydra
    outer.clear()
    try:
        with initialize_config_dir(str(folder), version_base="1.2"):
            yield
    finally:
        outer.clear()
        outer.hydra = current
