"""Pretraining from a configuration, on either host: ``mast-pretrain`` and ``main_pretrain.py``."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from mast_plugin.host.demand import whitening_explained
from mast_plugin.host.quiet import quiet_engine
from mast_plugin.host.unlabelled import embedder, withhold_accuracies
from mast_plugin.pretraining.building import build_model, build_trainer
from mast_plugin.pretraining.collapse import embedding_meter
from mast_plugin.pretraining.preparation import check_method, check_resumption, prepared
from mast_plugin.pretraining.pretrained import Pretrained
from mast_plugin.registration import register, register_resolvers
from mast_plugin.running.command import answer, is_first_process, say, spare_the_cores
from mast_plugin.running.ending import premature_end_explained
from mast_plugin.running.notice import notices
from mast_plugin.running.pace import smaller_size_advised
from mast_plugin.running.parentage import adopting, end_with_parent
from mast_plugin.running.resumption import misfit_explained
from mast_plugin.running.run import (
    Run,
    changed_configuration,
    claimed_run,
    is_finished,
    metrics_kept,
    other_configuration,
)
from mast_plugin.setting.backbone import require_views
from mast_plugin.setting.composition import guarded
from mast_plugin.setting.shipped import absolute_config_path


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


def pretrain(cfg: DictConfig) -> Pretrained:
    """Pretrain as a configuration says.

    Args:
        cfg: as composed by Hydra; it is left as it is.

    Raises:
        MASTError: anything that keeps the run from starting, before the first step; a loss that
            is not finite, or a full disk, at any time.
        Interruption: the command was asked to stop.
    """
    from mast_plugin.host import load_host
    from mast_plugin.loading import data

    cfg, views, images = prepared(cfg)
    host = load_host()
    register()
    check_method(cfg, host)
    data.announce(images)
    check_resumption(cfg)
    with claimed_run(cfg) as run:
        if is_finished(cfg, run):
            return Pretrained(run.folder, None, {}, found_finished=True)
        if cfg.auto_resume.enabled and is_first_process():
            say(other_configuration(cfg, run))
        if is_first_process():
            say(changed_configuration(cfg, run))
        with quiet_engine():
            return _run(cfg, views, images, host, run)


def _run(cfg: DictConfig, views: Any, images: Any, host: Any, run: Run) -> Pretrained:
    """Train, or go on training, in a folder that is this process's own."""
    from mast_plugin.evaluation.scoring import Scoring
    from mast_plugin.loading import data

    host.engine.seed_everything(cfg.seed, workers=True)
    trainer = build_trainer(cfg, host, run)
    model = build_model(cfg, host, trainer)
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


def _start(cfg: DictConfig, host: Any, model: Any, trainer: Any, is_fresh: bool) -> None:
    """Load ``init_from``; where a checkpoint replaces it, for the scores from before training."""
    from mast_plugin.pretraining.start import start

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


if __name__ == "__main__":
    main()
