"""Which script a run was started by: this project's, or one of solo-learn's own.

Under its own script the host builds the loaders, scales the learning rate and completes the
configuration in its way; our method then does less, or does it again.
"""

from omegaconf import DictConfig

_KEY, _OURS = "entry", "mast_plugin"


def mark_as_ours(cfg: DictConfig) -> None:
    """Note, in place, that nobody but this project works with the configuration."""
    cfg[_KEY] = _OURS


def started_by_ours(cfg: DictConfig) -> bool:
    """Whether this project's own entry started the run that a configuration belongs to."""
    return bool(cfg.get(_KEY) == _OURS)
