"""Pretraining from a configuration, on either host: ``mast-pretrain`` and ``main_pretrain.py``."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from mast_plugin.backbone import require_views
from mast_plugin.collapse import SPREAD, SPREAD_NOTE, embedding_meter
from mast_plugin.command import answer, is_first_process, say, spare_the_cores
from mast_plugin.composition import guarded
from mast_plugin.configuration import (
    absolute_config_path,
    plain,
    refuse_unknown_options,
    resolve,
    with_crops,
    with_scaled_rates,
)
from mast_plugin.cost import recorder
from mast_plugin.divergence import divergence_guard
from mast_plugin.ending import premature_end_explained
from mast_plugin.errors import ConfigurationError
from mast_plugin.explanation import explained
from mast_plugin.host.checkpoint import streaming_io
from mast_plugin.host.demand import refuse_unfit_options, whitening_explained
from mast_plugin.host.quiet import quiet_engine
from mast_plugin.host.schedule import refuse_misfit, stretching
from mast_plugin.host.unlabelled import embedder, withhold_accuracies
from mast_plugin.interruption import stopping
from mast_plugin.notice import notices
from mast_plugin.pace import pace_teller, smaller_size_advised
from mast_plugin.parentage import adopting, end_with_parent
from mast_plugin.registration import register, register_resolvers
from mast_plugin.repetition import reseeding
from mast_plugin.resumption import misfit_explained, read_checkpoint
from mast_plugin.run import (
    Run,
    claimed_run,
    is_finished,
    metrics_kept,
    open_run,
    other_configuration,
)


def main() -> None:
    """Run the command line; a configuration's path is taken from the working directory."""
    spare_the_cores()
    end_with_parent()
    sys.argv[1:] = absolute_config_path(sys.argv[1:])
    register_resolvers()
    with guarded("mast-pretrain"):
        _hydra_main()


@hydra.main(version_base="1.2", config_path=None, config_name="mast")
def _hydra_main(cfg: DictConfig) -> None:
    answer("mast-pretrain", lambda: pretrain(cfg))


@dataclass(frozen=True)
class Pretrained:
    """What a run ends with.

    Attributes:
        folder: checkpoints, ``metrics.csv``, ``args.json``; where tasks were scored,
            ``evaluation.json``; of MAST, ``routes.png``.
        comparison: scores of the network before and after, or ``None`` without tasks.
        metrics: what the run logged last, by name.
        found_finished: an earlier session had done all of it, and nothing was changed.
        began_as: what the network was before: ``untrained``, or the weights of ``init_from``.
    """

    folder: Path
    comparison: Any
    metrics: dict[str, float]
    found_finished: bool = False
    began_as: str = "untrained"

    def __str__(self) -> str:
        """The short table, and where everything is."""
        files = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        if self.found_finished:
            scores = "This run is finished: there was nothing to do, and nothing was changed.\n"
        elif self.comparison is not None:
            scores = f"Accuracy in %\n{self.comparison.text(self.began_as)}\n"
        else:
            names = ("val_", "train_acc1", *SPREAD)
            shown = {k: v for k, v in _each_once(self.metrics).items() if k.startswith(names)}
            scores = "".join(f"{name}: {value:.2f}\n" for name, value in shown.items())
            scores += SPREAD_NOTE if SPREAD[-1] in shown else ""
        return f"\n{scores}\n{self.folder} holds {files}"


def _each_once(metrics: dict[str, float]) -> dict[str, float]:
    """Without a metric's doubles: engines log one by step and by epoch under further names."""
    doubles = {f"{name}{kind}" for name in metrics for kind in ("_step", "_epoch")}
    return {name: value for name, value in metrics.items() if name not in doubles}


def pretrain(cfg: DictConfig) -> Pretrained:
    """Pretrain as a configuration says.

    Args:
        cfg: as composed by Hydra; it is left as it is.

    Raises:
        MASTError: anything that keeps the run from starting, before the first step; a loss that
            is not finite, or a full disk, at any time.
        Interruption: the command was asked to stop.
    """
    from mast_plugin import data
    from mast_plugin.host import load_host

    cfg, views, images = _prepared(cfg)
    host = load_host()
    register()
    _check_method(cfg, host)
    data.announce(images)
    _check_resumption(cfg)
    with claimed_run(cfg) as run:
        if is_finished(cfg, run):
            return Pretrained(run.folder, None, {}, found_finished=True)
        if cfg.auto_resume.enabled and is_first_process():
            say(other_configuration(cfg, run))
        with quiet_engine():
            return _run(cfg, views, images, host, run)


def _check_resumption(cfg: DictConfig) -> None:
    """Refuse a checkpoint that no run can go on from before anything is built or written."""
    run = open_run(cfg)
    if run.resume_from and not is_finished(cfg, run):
        refuse_misfit(read_checkpoint(run.resume_from), run.resume_from, cfg)


def _run(cfg: DictConfig, views: Any, images: Any, host: Any, run: Run) -> Pretrained:
    """Train, or go on training, in a folder that is this process's own."""
    from mast_plugin import data
    from mast_plugin.evaluation.scoring import Scoring

    host.engine.seed_everything(cfg.seed, workers=True)
    trainer = _trainer(cfg, host, run)
    model = _model(cfg, host, trainer)
    require_views(cfg.backbone.name, host.backbone(model), views.crop_sizes)
    if cfg.init_from is not None:
        _start(cfg, host, model, trainer, is_fresh=run.resume_from is None)
    withheld = withhold_accuracies(model, cfg)
    if cfg.data.no_labels:
        part = embedder(model, host.backbone(model))
        trainer.callbacks.append(embedding_meter(host.engine, part, withheld))
    scoring = Scoring.open(cfg, trainer, host.backbone(model), views.centred)
    untrained = scoring.scores() if scoring else ()
    if cfg.debug_augmentations:
        print(views.transform)
    place = {"num_processes": trainer.world_size, "rank": trainer.global_rank}
    if trainer.is_global_zero:
        say(smaller_size_advised(trainer.strategy.root_device, max(views.crop_sizes)))
    training = data.training_loader(cfg, images, views.transform, **place)
    validation = data.validation_loader(cfg, views.centred)
    if validation is not None:
        data.announce(validation.dataset)
    if trainer.is_global_zero:
        say(notices(cfg, validates=validation is not None))
    with premature_end_explained(run, cfg, trainer):
        with whitening_explained(cfg.method):
            _fit(trainer, model, training, validation, run)
        comparison = scoring.compare(untrained, run.folder) if scoring else None
        if cfg.method == "mast" and trainer.is_global_zero:
            _draw(model, images, run.folder)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    began_as = "untrained" if cfg.init_from is None else "init_from"
    return Pretrained(run.folder, comparison, metrics, began_as=began_as)


def planned_run(cfg: DictConfig) -> Run:
    """Where :func:`pretrain` would write, and what it would go on from; nothing is started.

    Raises:
        MASTError: the configuration or the data cannot be used.
    """
    return open_run(_prepared(cfg)[0])


def _prepared(cfg: DictConfig) -> tuple[DictConfig, Any, Any]:
    """The complete configuration, the views and the training images."""
    cfg = resolve(cfg)
    from mast_plugin import data
    from mast_plugin.start import with_start
    from mast_plugin.views.choice import chosen_views

    views = chosen_views(cfg)
    images = data.training_images(cfg)
    classes = data.num_classes(cfg, images)
    cfg = with_start(cfg)
    return with_crops(cfg, views.crop_sizes, views.num_crops, classes), views, images


def _model(cfg: DictConfig, host: Any, trainer: Any) -> Any:
    import torch

    from mast_plugin.small_map import compact

    rates = with_scaled_rates(cfg, trainer.num_devices * cfg.num_nodes)
    with explained(
        f"{cfg.method} with the backbone {cfg.backbone.name} cannot be built",
        "mend backbone or method_kwargs",
    ):
        model = host.build(rates)
    if cfg.performance.compact_convolutions:
        compact(model)
    if cfg.performance.disable_channel_last:
        return model
    return model.to(memory_format=torch.channels_last)


def _start(cfg: DictConfig, host: Any, model: Any, trainer: Any, is_fresh: bool) -> None:
    """Load ``init_from``; where a checkpoint replaces it, for the scores from before training."""
    from mast_plugin.start import start

    networks = [host.backbone(model), host.momentum_backbone(model)]
    said = start(cfg, [network for network in networks if network is not None])
    if trainer.is_global_zero and is_fresh:
        print(said, flush=True)


def _fit(trainer: Any, model: Any, training: Any, validation: Any, run: Run) -> None:
    with ExitStack() as stack:
        if trainer.is_global_zero:
            stack.enter_context(metrics_kept(run.folder))
        stack.enter_context(adopting())  # of the processes of other devices
        resume_from = run.resume_from and str(run.resume_from)
        with misfit_explained(run.resume_from):
            trainer.fit(model, training, validation, ckpt_path=resume_from)
    if trainer.interrupted:
        raise KeyboardInterrupt  # Lightning 1 keeps it to itself, as if the run were complete


def _draw(model: Any, images: Any, folder: Path) -> None:
    """Draw views of the first image under several routes, beside the masks as they were learned."""
    from mast_plugin.report.routes import draw_routes

    image, _ = images[0]
    draw_routes(image, model.plan, model.routes, model.head.masks, folder / "routes.png")


def _check_method(cfg: DictConfig, host: Any) -> None:
    from mast_plugin.evaluation.architecture import host_names

    methods = sorted(set(host.METHODS) - {"base", "linear"})
    if cfg.method not in methods:
        raise ConfigurationError(
            f"method is {cfg.method!r}; the installed solo-learn has {', '.join(methods)}"
        )
    if cfg.backbone.name not in (names := host_names(host)):
        raise ConfigurationError(
            f"backbone.name is {cfg.backbone.name!r}; the installed solo-learn has "
            f"{', '.join(names)}"
        )
    if cfg.method != "mast":
        refuse_unknown_options(cfg, host.method_options(cfg.method))
        refuse_unfit_options(cfg)


def _trainer(cfg: DictConfig, host: Any, run: Run) -> Any:
    """The engine's Trainer with a CSV logger, wandb where asked for, and solo-learn's callback."""
    loggers, callbacks = host.engine.loggers, host.engine.callbacks
    root, name, version = run.folder.parent.parent, cfg.method, run.folder.name
    logger = [loggers.CSVLogger(str(root), name=name, version=version)]
    if cfg.wandb.enabled:
        options = plain(cfg.wandb)
        options.pop("enabled")
        mend = "pip install 'mast-plugin[wandb]' and wandb login, or set wandb.offline=true"
        with explained("wandb.enabled=true cannot be had", mend):
            logger.append(loggers.WandbLogger(name=cfg.name, **options))
            _ = logger[-1].experiment  # logs in, which would otherwise fail in the engine's hands
    views = cfg.data.num_large_crops + cfg.data.num_small_crops
    cost = recorder(host.engine, run.folder, batch_size=cfg.optimizer.batch_size, views=views)
    callback = [callbacks.LearningRateMonitor(logging_interval="epoch"), cost]
    # What is not finite must be found before it can be saved.
    callback += [reseeding(host.engine, cfg.seed), stopping(host.engine), stretching(host.engine)]
    callback += [pace_teller(host.engine)]
    callback += [divergence_guard(host.engine, cfg.method)]
    if cfg.checkpoint.enabled:
        logdir = str(run.folder.parent)
        kept = (cfg.checkpoint.frequency, cfg.checkpoint.keep_prev)
        callback.append(host.Checkpointer(cfg, logdir, *kept))
    fixed = {"logger": logger, "callbacks": callback, "enable_checkpointing": False}
    fixed["plugins"] = [streaming_io(host.engine)]
    # Where the engine looks, on SLURM, for a state that it has saved by itself: not beside others'.
    fixed["default_root_dir"] = str(run.folder)
    with explained(
        f"accelerator={cfg.accelerator} devices={cfg.devices} precision={cfg.precision} cannot be "
        "had here",
        "accelerator=auto devices=auto precision=32-true takes what there is",
    ):
        trainer = host.engine.Trainer(**host.trainer_options(plain(cfg)), **fixed)
    _refuse_sync_batchnorm_on_cpus(cfg, trainer)
    return trainer


def _refuse_sync_batchnorm_on_cpus(cfg: DictConfig, trainer: Any) -> None:
    if cfg.sync_batchnorm and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise ConfigurationError(
            f"sync_batchnorm=true needs GPUs, but {trainer.world_size} processes would train on "
            "CPUs: set sync_batchnorm=false, so that each normalises its own part of a batch"
        )


if __name__ == "__main__":
    main()
