"""A shipped configuration's method, as step.py and scaling.py time it."""

from typing import Any

import torch
from hydra import compose, initialize_config_dir

from mast_plugin.host import load_host
from mast_plugin.setting.configuration import resolve, with_crops
from mast_plugin.setting.shipped import shipped_directory


def built(name: str, *, width: int, size: int, entry: str | None = None) -> Any:
    """Build the method.

    Args:
        name: of the configuration.
        width: of the projector's layers and the embedding.
        size: of the views, in pixels.
        entry: which script the method is told that it runs under, where it is not ours.
    """
    with initialize_config_dir(str(shipped_directory()), version_base="1.2"):
        cfg = compose(
            name,
            overrides=[
                "data.train_path=unused",
                "evaluation.dataset=null",
                f"method_kwargs.proj_hidden_dim={width}",
                f"method_kwargs.proj_output_dim={width}",
                "scheduler.name=none",
            ],
        )
    cfg = with_crops(resolve(cfg), [size], [2], num_classes=10)
    if entry is not None:
        cfg.entry = entry
    torch.manual_seed(0)
    method = load_host().build(cfg).to(memory_format=torch.channels_last)
    method.log_dict = method.log = lambda *_, **__: None  # logging needs a Trainer
    return method
