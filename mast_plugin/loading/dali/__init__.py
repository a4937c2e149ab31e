"""Loading through NVIDIA DALI; nothing here is imported before ``data.format=dali`` asks for it."""

from __future__ import annotations

import importlib.util

from mast_plugin.errors import ConfigurationError


def require_dali() -> None:
    """Refuse to go on without DALI, or without numba, which compiles what DALI lacks.

    Raises:
        ConfigurationError: one of the two is not installed.
    """
    has_dali = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali")
    if not (has_dali and importlib.util.find_spec("numba")):
        missing = "numba" if has_dali else "NVIDIA DALI"
        raise ConfigurationError(
            f"data.format=dali needs {missing}: pip install 'mast-plugin[dali]' (CUDA 13, or no "
            "GPU) or 'mast-plugin[dali-cuda120]', or choose data.format=image_folder"
        )
