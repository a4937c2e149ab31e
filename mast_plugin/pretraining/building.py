"""The model and the engine's Trainer of a run, from its complete configuration."""

from typing import Any

from omegaconf import DictConfig

from mast_plugin.errors import ConfigurationError
from mast_plugin.host.checkpoint import streaming_io
from mast_plugin.host.schedule import stretching
from mast_plugin.loading.repetition import reseeding
from mast_plugin.running.cost import recorder
from mast_plugin.running.divergence import divergence_guard
from mast_plugin.running.interruption import stopping
from mast_plugin.running.pace import pace_teller
from mast_plugin.running.run import (
    Run,
)
from mast_plugin.setting.configuration import (
    plain,
    with_scaled_rates,
)
from mast_plugin.setting.explanation import explained


def build_model(cfg: DictConfig, host: Any, trainer: Any) -> Any:
    """The method with its network, as the host builds it, at the rates of all devices together."""
    import torch

    from mast_plugin.running.small_map import compact

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


def build_trainer(cfg: DictConfig, host: Any, run: Run) -> Any:
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
