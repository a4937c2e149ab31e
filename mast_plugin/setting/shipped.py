"""The shipped configurations: where they lie, which there are, and how a path finds them."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def shipped_directory(stage: str = "pretrain") -> Path:
    """Return the folder of the shipped configurations: beside the package, or inside a wheel's.

    Args:
        stage: ``pretrain``, ``evaluate`` or ``embed``.
    """
    package = Path(__file__).parents[1]
    inside = package / f"{stage}_configs"
    return inside if inside.is_dir() else package.parent / "scripts" / stage


def shipped_recipes() -> list[str]:
    """Names of the shipped recipes of pretraining, as ``--config-name`` takes them."""
    root = shipped_directory()
    names = [path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml")]
    parts = (
        "base",
        "recipe",
        "shared",
        "method_kwargs",
        "augmentations",
    )  # what recipes are made of
    recipes = [name for name in names if not set(name.split("/")) & set(parts)]
    return sorted(recipes, key=lambda name: (name.count("/"), name))


def shipped_variants() -> dict[str, Any]:
    """What a name in ``methods`` of a comparison stands for."""
    found = OmegaConf.to_container(OmegaConf.load(shipped_directory("evaluate") / "variants.yaml"))
    assert isinstance(found, dict)
    return dict(found["variants"])


def absolute_config_path(arguments: list[str]) -> list[str]:
    """Make ``--config-path`` absolute, so that it means the same from wherever a run starts.

    A relative path is looked up from the working directory, as users of solo-learn's scripts
    expect, and then among the shipped configurations, with or without ``scripts/pretrain/``.
    ``--config-dir`` alone becomes ``--config-path``: Hydra would look there last.
    """
    flags = [argument.partition("=")[0] for argument in arguments]
    alone = not {"--config-path", "-cp"} & set(flags)
    longer = {"--config-dir": "--config-path", "-cd": "-cp"} if alone else {}
    arguments = [
        longer.get(flag, flag) + argument.removeprefix(flag)
        for flag, argument in zip(flags, arguments, strict=True)
    ]
    result = list(arguments)
    for i, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag not in ("--config-path", "-cp", "--config-dir", "-cd"):
            continue
        position = i if value else i + 1
        if position < len(arguments):
            path = str(_existing(Path(value or arguments[position])))
            result[position] = f"{flag}={path}" if value else path
    return result


def _existing(path: Path) -> Path:
    parts = path.parts[2:] if path.parts[:2] == ("scripts", "pretrain") else path.parts
    candidates = (path.absolute(), shipped_directory().joinpath(*parts))
    return next((candidate for candidate in candidates if candidate.is_dir()), candidates[0])
