"""A stage of study.yaml: which variants it runs, with what of the study's frozen options."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mast_plugin.comparison.trial import Trial
from mast_plugin.comparison.variant import Variant
from mast_plugin.errors import ConfigurationError
from mast_plugin.setting.configuration import plain

HERE = Path(__file__).parent
Options = dict[str, Any]


def read_study() -> dict[str, Any]:
    """``study.yaml`` as plain values."""
    found: dict[str, Any] = plain(OmegaConf.load(HERE / "study.yaml"))
    return found


@dataclass(frozen=True)
class Stage:
    """Methods, each with every seed.

    Attributes:
        name: in ``study.yaml``.
        study: all of ``study.yaml``.
        data: folder of all sets.
        work: folder of the runs.
        seeds: of every method.
        methods: names of variants.
        sets: names of the downstream sets.
        given: overrides of the command line, which win over everything.
        chosen: what the stage's search has frozen, by method.
    """

    name: str
    study: Mapping[str, Any] = field(repr=False)
    data: Path
    work: Path
    seeds: list[int]
    methods: list[str]
    sets: list[str]
    given: Options
    chosen: Mapping[str, Options] = field(default_factory=dict)

    @property
    def options(self) -> Mapping[str, Any]:
        """The stage's own part of ``study.yaml``."""
        found: Mapping[str, Any] = self.study["stages"][self.name]
        return found

    @property
    def own(self) -> str:
        """Name of the pretraining set."""
        return str(self.options["pretraining"])

    @property
    def protocols(self) -> list[str]:
        """How the sets are scored."""
        return list(self.options.get("protocols", self.study["protocols"]))

    @property
    def shared(self) -> Options:
        """The overrides of every run."""
        return {
            "data.train_path": str(self.data / self.own / "train"),
            **self.study["pretraining"][self.own],
            **self.options.get("overrides", {}),
        }

    def variant(self, method: str, tried: Mapping[str, Any] | None = None) -> Variant:
        """A method as this stage runs it.

        Args:
            method: name of a variant of ``study.yaml``.
            tried: overrides of a search.

        Raises:
            ConfigurationError: no such variant, or its options have not been chosen yet.
        """
        known = self.study["variants"]
        if method not in known:
            raise ConfigurationError(f"{method} is no variant; there are {', '.join(known)}")
        entry = known[method]
        like = entry.get("like", method)
        own = entry.get("overrides", {})
        chosen = self._chosen(like)
        fixed = {**chosen, **own} if like != method else {**own, **chosen}
        overrides = {**self.shared, **fixed, **(tried or {}), **self.given}
        return Variant(method, entry["recipe"], overrides)

    def trial(self, variant: Variant, seed: int) -> Trial:
        """The run of a variant with a seed."""
        recipes = (HERE.parent / self.study["recipes"]).absolute()
        trial = Trial.plan(variant, seed, recipes, self.work)
        every = self.options.get("keep_every")
        if every is None:
            return trial
        kept = {"checkpoint.keep_prev": True, "checkpoint.frequency": every}
        return replace(trial, variant=trial.variant.changed(kept))

    def _chosen(self, method: str) -> Options:
        search = self.options.get("chosen")
        if search is None or method not in self.study["search"]:
            return {}
        if method not in self.chosen:
            raise ConfigurationError(
                f"the stage {self.name} takes the options of {method} from the stage {search}, "
                f"which has not chosen them yet: run --stages {search} first"
            )
        return dict(self.chosen[method])
