"""All of a run that can be checked before anything is built or written."""

from typing import Any

from omegaconf import DictConfig

from mast_plugin.errors import ConfigurationError
from mast_plugin.host.demand import refuse_unfit_options
from mast_plugin.host.schedule import refuse_misfit
from mast_plugin.running.resumption import read_checkpoint
from mast_plugin.running.run import (
    Run,
    is_finished,
    open_run,
)
from mast_plugin.setting.configuration import (
    refuse_unknown_options,
    resolve,
    with_crops,
)


def planned_run(cfg: DictConfig) -> Run:
    """Where a run would write, and what it would go on from; nothing is started.

    Raises:
        MASTError: the configuration or the data cannot be used.
    """
    return open_run(prepared(cfg)[0])


def prepared(cfg: DictConfig) -> tuple[DictConfig, Any, Any]:
    """The complete configuration, the views and the training images.

    Raises:
        MASTError: the configuration or the data cannot be used.
    """
    cfg = resolve(cfg)
    from mast_plugin.loading import data
    from mast_plugin.loading.choice import chosen_views
    from mast_plugin.pretraining.start import with_start

    views = chosen_views(cfg)
    images = data.training_images(cfg)
    classes = data.num_classes(cfg, images)
    cfg = with_start(cfg)
    return with_crops(cfg, views.crop_sizes, views.num_crops, classes), views, images


def check_method(cfg: DictConfig, host: Any) -> None:
    """Refuse a method, a backbone or an option that the installed solo-learn does not have.

    Raises:
        ConfigurationError: naming what there is.
    """
    from mast_plugin.evaluation.network.architecture import host_names

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


def check_resumption(cfg: DictConfig) -> None:
    """Refuse a checkpoint that no run can go on from before anything is built or written."""
    run = open_run(cfg)
    if run.resume_from and not is_finished(cfg, run):
        refuse_misfit(read_checkpoint(run.resume_from), run.resume_from, cfg)
