"""Which device runs a network."""

from mast_plugin.errors import ConfigurationError


def chosen_device(name: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` is a GPU where there is one.

    Raises:
        ConfigurationError: there is no GPU, or no such device.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise ConfigurationError(f"device is {name!r}; it must be one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("device=cuda finds no GPU: choose device=auto or cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
