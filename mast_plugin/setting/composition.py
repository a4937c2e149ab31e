"""What a configuration file may tell Hydra: nothing by which it could run code.

Hydra instantiates and imports what the section ``hydra`` of a composed configuration names
(callbacks, handlers of logs), before a program sees any of it. A recipe would thus be as dangerous
as a script. Here it is not: what names code is refused, unless it stands on the command line.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from mast_plugin.errors import ConfigurationError, MASTError, shown
from mast_plugin.files.document import first_line
from mast_plugin.setting.argument import has_dashes, in_quotes, merging, readable
from mast_plugin.setting.shipped import shipped_recipes

_LOGS = ("job_logging", "hydra_logging")
_PLUGINS = ("launcher", "sweeper")
_PLUGIN = re.compile(r"(hydra\._internal\.core_plugins|hydra_plugins)\.[\w.]+")
_COMMANDS = ("setup", "teardown", "python", "srun_args", "additional_parameters")
"""What SLURM's launcher hands to a shell."""
_OF_LOGS = {
    "()": ("colorlog.ColoredFormatter",),
    "class": ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"),
    "stream": ("ext://sys.stdout", "ext://sys.stderr"),
}
_NO_OPTION = "{} is no option: options are typed as key=value, without spaces and dashes"
_OWN = re.compile(r"\$\{hydra[.:][\w.:]*\}")
"""A reference to a place that is looked at, too."""


@contextmanager
def guarded(program: str) -> Iterator[None]:
    """Check each configuration between Hydra's composing it and Hydra's acting on it.

    Hydra has no hook there, hence the wrapping of its loader. What keeps a file from being composed
    is said in one sentence as well, where Hydra itself would print a traceback or the grammar of
    its own. The command line is taken as it is typed, see :mod:`mast_plugin.setting.argument`.

    Args:
        program: the command's name, which stands before an error; ``--help`` prints its page.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    if {"-h", "--help"} & set(sys.argv[1:]):
        from mast_plugin.setting.manual import page

        print(page(program))
        raise SystemExit(0)
    if dashed := next(filter(has_dashes, sys.argv[1:]), None):
        print(f"{program}: {_NO_OPTION.format(dashed)}", file=sys.stderr)
        raise SystemExit(2)
    load = ConfigLoaderImpl.load_configuration

    def load_checked(
        self: Any, config_name: str | None, overrides: list[str], *args: Any, **options: Any
    ) -> DictConfig:
        try:
            overrides = merging(overrides, self.repository.group_exists)
            cfg = load(self, config_name, overrides, *args, **options)
            refuse_code(cfg, overrides)
        except (HydraException, MASTError) as error:
            reason = _reason(error, config_name)
        except Exception as error:
            reason = f"{config_name} cannot be used: {first_line(error)}"
            if any(each.startswith("augmentations=[") for each in overrides):
                reason = "augmentations takes the name of a shipped list; your own goes into a file"
        else:
            return cfg
        print(f"{program}: {reason}", file=sys.stderr)
        raise SystemExit(2)

    sweeps = any(each in ("-m", "--multirun") or "hydra.mode=" in each for each in sys.argv[1:])
    sys.argv[1:] = [readable(each, sweep=sweeps) for each in sys.argv[1:]]
    ConfigLoaderImpl.load_configuration = load_checked  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


def _reason(error: HydraException | MASTError, config_name: str | None) -> str:
    """What keeps a configuration from being composed, with the mend."""
    if isinstance(error, OverrideParseException):
        typed = error.override.removeprefix("++")
        if "=" not in typed:
            return _NO_OPTION.format(typed)
        return (
            f"{typed} cannot be read: if it is a text, type {in_quotes(typed)}, "
            "and inside of a list or a section put such texts in double quotes"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file == config_name:
        name = str(config_name).removesuffix(".yaml")
        known = shipped_recipes()
        alike = [each for each in known if each.rpartition("/")[2] == name] or known
        return (
            f"there is no {name}.yaml where it was asked for; the shipped recipes are given "
            f"without --config-path, as --config-name {', '.join(alike)}"
        )
    said = " ".join(str(error).partition("Config search path:")[0].split())
    if several := re.match(r"Ambiguous value for argument '\+*(([^=]*)=(.*?))' 1\.", said):
        typed, key, values = several.groups()
        return f"{typed} is several values: type {key}=[{values}] for a list, or run each with -m"
    return f"{config_name} cannot be used: {said}"


def refuse_code(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse a configuration that has Hydra run code.

    Args:
        cfg: composed, with its section ``hydra``.
        overrides: of the command line, whose author is the user: what they set is taken.

    Raises:
        ConfigurationError: naming the first place.
    """
    hydra = OmegaConf.to_container(cfg, resolve=False).get("hydra")  # type: ignore[union-attr]
    given = [re.split("[=@]", override.lstrip("+~"))[0] for override in overrides]
    for place, value in _leaves(hydra, ("hydra",)):
        path = ".".join(place)
        if _names_code(place, value) and not any(f"{path}.".startswith(f"{g}.") for g in given):
            raise ConfigurationError(
                f"its {path} ({shown(value)}) could run code, which a file may not: if you want "
                "that, give it on the command line"
            )


def _names_code(place: tuple[str, ...], value: object) -> bool:
    section, key = place[1] if len(place) > 1 else "", place[-1]
    if key == "_target_":
        is_plugin = section in _PLUGINS and len(place) == 3
        return not (is_plugin and isinstance(value, str) and bool(_PLUGIN.fullmatch(value)))
    if section == "callbacks" or place[1:3] == ("job", "env_set"):
        return True
    if section in _LOGS and key in _OF_LOGS:
        return value not in _OF_LOGS[key]
    if section not in (*_LOGS, *_PLUGINS):
        return False
    elsewhere = isinstance(value, str) and re.search(r"\$\{|ext://", _OWN.sub("", value))
    return bool(elsewhere) or (section in _PLUGINS and key in _COMMANDS)


def _leaves(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is set, with the keys that lead to it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, (*place, str(key)))
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, place)
    elif value is not None:
        yield place, value
