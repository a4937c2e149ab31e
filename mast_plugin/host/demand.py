"""What built-in methods ask of their options without checking it, said in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from mast_plugin.errors import ConfigurationError

# The defaults of both hosts.
_DINO_WARMUP = 50
_WHITENING_SIZE = 256
_WHITENING_EPS = 0.0


def refuse_unfit_options(cfg: DictConfig) -> None:
    """Refuse options that a method would stop at with an error that names none of them.

    Args:
        cfg: resolved configuration.

    Raises:
        ConfigurationError: naming the option.
    """
    if cfg.method == "dino":
        warmup = cfg.method_kwargs.get("warmup_teacher_temperature_epochs", _DINO_WARMUP)
        if warmup > cfg.max_epochs:
            raise ConfigurationError(
                f"method_kwargs.warmup_teacher_temperature_epochs is {warmup}, more than "
                f"max_epochs={cfg.max_epochs}: give at most {cfg.max_epochs}"
            )
    if cfg.method == "wmse":
        _refuse_unfit_whitening(cfg)


def _refuse_unfit_whitening(cfg: DictConfig) -> None:
    """Refuse parts of a batch that do not make it up, or that have too few images to whiten."""
    given, batch = cfg.method_kwargs, cfg.optimizer.batch_size
    size = given.get("whitening_size", _WHITENING_SIZE)
    if batch % size:
        raise ConfigurationError(
            f"method_kwargs.whitening_size is {size}, which does not divide "
            f"optimizer.batch_size={batch}: give one that does, such as {batch}"
        )
    dimensions = given.get("proj_output_dim", 0)  # the main branch has no default for it
    if size <= dimensions and given.get("whitening_eps", _WHITENING_EPS) == 0:
        raise ConfigurationError(
            f"method_kwargs.whitening_size is {size}, and to whiten {dimensions} dimensions "
            f"(proj_output_dim) takes more images: give a larger one, or fewer dimensions, or "
            "method_kwargs.whitening_eps=1e-3"
        )


@contextmanager
def whitening_explained(method: str) -> Iterator[None]:
    """Name the option that keeps a covariance from being singular, where one is.

    Raises:
        ConfigurationError: in place of torch's error, for a method that whitens.
    """
    try:
        yield
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        if method != "wmse":
            raise
        raise ConfigurationError(
            "the embeddings of a batch cannot be whitened, as some are alike: raise "
            "method_kwargs.whitening_eps, such as to 1e-3, or method_kwargs.whitening_size"
        ) from error
