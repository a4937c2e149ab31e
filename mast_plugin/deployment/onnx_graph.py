"""A network as an ONNX graph with a dynamic batch, and its features by onnxruntime."""

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError
from mast_plugin.files.document import first_line

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Fixed(nn.Module):
    """A network whose further keywords are chosen: images (N, 3, H, W) to vectors (N, F)."""

    def __init__(self, model: nn.Module, chosen: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self._chosen = model, dict(chosen)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of images; masks are constants of the graph."""
        vectors: Tensor = self.model(images, **self._chosen)
        return vectors.flatten(1)


def require_onnx() -> None:
    """Refuse where a package is missing.

    Raises:
        ConfigurationError: naming it.
    """
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(
                f"format=onnx needs {name}: pip install 'mast-plugin[export]', or choose another "
                "format"
            )


def write_onnx(network: Fixed, transform: ImageTransform, path: Path) -> None:
    """Write a graph: ``images`` (N, 3, size, size) to ``features`` (N, F), N dynamic.

    Raises:
        ConfigurationError: the network has something that torch cannot export.
    """
    images = torch.zeros(2, 3, transform.size, transform.size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's and onnxscript's, of each other
            torch.onnx.export(
                network.eval(),
                (images,),
                str(path),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                external_data=False,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of any kind, from deep inside of torch
        raise ConfigurationError(
            f"the network cannot be written as ONNX ({first_line(error)}): choose another format"
        ) from error


def onnx_features(path: Path) -> Callable[[Tensor], Tensor]:
    """A graph's features on the CPU, by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def features(images: Tensor) -> Tensor:
        (found,) = session.run(["features"], {"images": images.numpy()})
        return torch.from_numpy(found)

    return features
