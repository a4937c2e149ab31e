"""Loading through NVIDIA DALI; nothing here is imported before ``data.format=dali`` asks for it."""

from __future__ import annotations

import importlib.util

from mast_plugin.errors import ConfigurationError


def require_dali() -> None:
    """Refuse to go on without DALI.

    Raises:
        ConfigurationError: DALI is not installed.
    """
    if importlib.util.find_spec("nvidia") is None or not importlib.util.find_spec("nvidia.dali"):
        raise ConfigurationError(
            "data.format=dali needs NVIDIA DALI: pip install 'mast-plugin[dali]' (CUDA 13, or no "
            "GPU) or 'mast-plugin[dali-cuda120]', or choose data.format=image_folder"
        )
