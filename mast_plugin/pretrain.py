"""Pretraining from a configuration, on either host: ``mast-pretrain`` and ``main_pretrain.py``."""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from mast_plugin.configuration import (
    absolute_config_path,
    refuse_unknown_options,
    resolve,
    with_crops,
    with_scaled_rates,
)
from mast_plugin.errors import ConfigurationError, MASTError
from mast_plugin.registration import register, register_resolvers
from mast_plugin.run import Run, keep_metrics, open_run, write_json


def main() -> None:
    """Run the command line; a configuration's path is taken from the working directory."""
    sys.argv[1:] = absolute_config_path(sys.argv[1:])
    register_resolvers()
    _hydra_main()


@hydra.main(version_base="1.2", config_path=None, config_name="mast")
def _hydra_main(cfg: DictConfig) -> None:
    try:
        print(pretrain(cfg))
    except MASTError as error:
        # A loader's worker wraps the error's sentence in its traceback; the sentence comes last.
        sentence = str(error).strip().splitlines()[-1].removeprefix(f"{type(error).__module__}.")
        print(f"mast-pretrain: {sentence}", file=sys.stderr)
        raise SystemExit(2) from None


@dataclass(frozen=True)
class Pretrained:
    """What a run ends with.

    Attributes:
        folder: checkpoints, ``metrics.csv``, ``args.json`` and, where tasks were scored,
            ``evaluation.json``.
        comparison: scores of the network before and after, or ``None`` without tasks.
        metrics: what the run logged last, by name.
    """

    folder: Path
    comparison: Any
    metrics: dict[str, float]

    def __str__(self) -> str:
        """The short table, and where everything is."""
        files = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        if self.comparison is not None:
            scores = f"Accuracy in %, untrained -> pretrained\n{self.comparison}\n"
        else:
            shown = {k: v for k, v in self.metrics.items() if k.startswith(("val_", "train_acc1"))}
            scores = "".join(f"{name}: {value:.2f}\n" for name, value in shown.items())
        return f"\n{scores}\n{self.folder} holds {files}"


def pretrain(cfg: DictConfig) -> Pretrained:
    """Pretrain as a configuration says.

    Args:
        cfg: as composed by Hydra; it is left as it is.

    Raises:
        MASTError: anything that keeps the run from starting, before the first step.
    """
    cfg = resolve(cfg)
    from mast_plugin import data
    from mast_plugin.host import load_host

    views = _views(cfg)
    images = data.training_images(cfg)
    cfg = with_crops(cfg, views.crop_sizes, views.num_crops, data.num_classes(cfg))
    host = load_host()
    register()
    _check_method(cfg, host)
    host.engine.seed_everything(cfg.seed, workers=True)
    run = open_run(cfg)
    trainer = _trainer(cfg, host, run)
    model = host.build(with_scaled_rates(cfg, trainer.num_devices * cfg.num_nodes))
    if not cfg.performance.disable_channel_last:
        import torch

        model = model.to(memory_format=torch.channels_last)
    scoring = _Scoring.open(cfg, trainer, host.backbone(model), views.centred)
    untrained = scoring and scoring.scores()
    if cfg.debug_augmentations:
        print(views.transform)
    keep_metrics(run.folder)
    training = data.training_loader(cfg, images, views.transform)
    validation = data.validation_loader(cfg, views.centred)
    with warnings.catch_warnings():
        # A run without validation images is a choice, not an oversight.
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`")
        resume_from = run.resume_from and str(run.resume_from)
        trainer.fit(model, training, validation, ckpt_path=resume_from)
    comparison = scoring and scoring.compare(untrained, run.folder)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return Pretrained(run.folder, comparison, metrics)


@dataclass(frozen=True)
class _Views:
    """The training transform, and what the host wants to know of it."""

    transform: Any
    crop_sizes: tuple[int, ...]
    num_crops: tuple[int, ...]
    centred: Any


def _views(cfg: DictConfig) -> _Views:
    """Routed views for MAST, plain ones for every built-in method."""
    from mast_plugin.data import normalisation
    from mast_plugin.options import MASTOptions
    from mast_plugin.plan import parse_pair, parse_views
    from mast_plugin.route import RoutePolicy
    from mast_plugin.views.torchvision import CentredView, PlainViews, RoutedViews

    blocks = OmegaConf.to_container(cfg.augmentations)
    statistics = normalisation(cfg.data.dataset)
    if cfg.method == "mast":
        options = MASTOptions.parse(cfg.method_kwargs)
        plan = parse_pair(blocks, **statistics)
        routes = RoutePolicy(options.full_route_prob, options.active_prob)
        transform: Any = RoutedViews(plan, routes)
        sizes, counts = (plan.crop_size,), (2,)
    else:
        specs = parse_views(blocks, **statistics)
        transform, plan = PlainViews(specs), specs[0].plan
        sizes = tuple(spec.plan.crop_size for spec in specs)
        counts = tuple(spec.num_crops for spec in specs)
    return _Views(transform, sizes, counts, CentredView(plan.crop_size, plan.mean, plan.std))


def _check_method(cfg: DictConfig, host: Any) -> None:
    methods = sorted(set(host.METHODS) - {"base", "linear"})
    if cfg.method not in methods:
        raise ConfigurationError(
            f"method is {cfg.method!r}; the installed solo-learn has {', '.join(methods)}"
        )
    if cfg.method != "mast":
        refuse_unknown_options(cfg, host.method_options(cfg.method))


def _trainer(cfg: DictConfig, host: Any, run: Run) -> Any:
    """The engine's Trainer with a CSV logger, wandb where asked for, and solo-learn's callback."""
    loggers, callbacks = host.engine.loggers, host.engine.callbacks
    root, name, version = run.folder.parent.parent, cfg.method, run.folder.name
    logger = [loggers.CSVLogger(str(root), name=name, version=version)]
    if cfg.wandb.enabled:
        options = OmegaConf.to_container(cfg.wandb)
        options.pop("enabled")
        logger.append(loggers.WandbLogger(name=cfg.name, **options))
    callback = [callbacks.LearningRateMonitor(logging_interval="epoch")]
    if cfg.checkpoint.enabled:
        logdir = str(run.folder.parent)
        kept = (cfg.checkpoint.frequency, cfg.checkpoint.keep_prev)
        callback.append(host.Checkpointer(cfg, logdir, *kept))
    options = host.trainer_options(OmegaConf.to_container(cfg))
    fixed = {"logger": logger, "callbacks": callback, "enable_checkpointing": False}
    try:
        return host.engine.Trainer(**options, **fixed)
    except host.engine.utilities.exceptions.MisconfigurationException as error:
        raise ConfigurationError(
            f"accelerator={cfg.accelerator} devices={cfg.devices} cannot be had here ({error}): "
            "accelerator=auto devices=auto takes what there is"
        ) from error


@dataclass(frozen=True)
class _Scoring:
    """Scores the network on the dataset's tasks, on rank 0."""

    backbone: Any
    table: Any
    view: Any
    workers: int
    trainer: Any

    @classmethod
    def open(cls, cfg: DictConfig, trainer: Any, backbone: Any, view: Any) -> "_Scoring | None":
        """Read the tasks before training, so that a table that does not fit is refused in time."""
        if cfg.evaluation.dataset is None or not trainer.is_global_zero:
            return None
        from mast_plugin.evaluation.tasks import read_tasks

        table = read_tasks(Path(cfg.evaluation.dataset) / "labels.csv")
        return cls(backbone, table, view, cfg.data.num_workers, trainer)

    def scores(self) -> Any:
        """Accuracy of the network as it is."""
        from mast_plugin.evaluation.table import score_tasks

        device = self.trainer.strategy.root_device
        return score_tasks(
            self.backbone, self.table, self.view, device=device, workers=self.workers
        )

    def compare(self, untrained: Any, folder: Path) -> Any:
        """Score again and write both to ``evaluation.json``."""
        from mast_plugin.evaluation.table import Comparison

        comparison = Comparison(untrained, self.scores())
        write_json(folder / "evaluation.json", comparison.as_dict())
        return comparison


if __name__ == "__main__":
    main()
