"""The subspaces of a pretrained network, as one module that can be taken away."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mast_plugin.check import refuse_loading
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.architecture import host_backbone, load_exactly
from mast_plugin.evaluation.network.plain import plain_backbone
from mast_plugin.files.document import first_line
from mast_plugin.files.tensor_file import read_tensors, write_tensors

FORMAT = "mast_plugin.SubspaceFeatures 1"
Names = Sequence[str] | str | None


@dataclass(frozen=True)
class BackboneName:
    """How a backbone is built again.

    Attributes:
        name: ``backbone.name``.
        kwargs: of its builder.
        stem: of a ResNet, ``cifar`` or ``imagenet``.
    """

    name: str
    kwargs: dict[str, Any]
    stem: str

    def built(self) -> nn.Module:
        """A network with weights that are drawn at random; by solo-learn if nobody else has it."""
        refuse_loading(self.kwargs, "backbone.kwargs", "the file itself")
        with torch.random.fork_rng(devices=[]):
            network = plain_backbone(self.name, self.kwargs, self.stem)
            return network or host_backbone(self.name, self.kwargs, self.stem)


class SubspaceFeatures(nn.Module):
    """Images to their embedding, or to a part of it that some augmentations do, or do not, change.

    The paper's (arXiv 2303.03679) are the one embedding and a mask for each augmentation type,
    under which the embedding is invariant to the type. This project's choices are the product of
    several masks, under which a pair is compared (docs/method.md), and to use what a mask leaves
    out, where the type's parameters can be told from the embedding, as in AugSelf.

    Args:
        backbone: images (N, 3, H, W) to features (N, F).
        projector: features (N, F) to embeddings (N, D).
        masks: (K, D) in (0, 1], one for each type; ``None`` for a network without masks.
        types: names of the K augmentation types.
        made_as: how the backbone is built again, for :meth:`save`.

    Raises:
        ConfigurationError: there is not one name for each mask.
    """

    masks: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        masks: Tensor | None = None,
        types: Sequence[str] = (),
        *,
        made_as: BackboneName | None = None,
    ) -> None:
        super().__init__()
        count = 0 if masks is None else len(masks)
        if len(set(types)) != count or len(types) != count:
            raise ConfigurationError(
                f"there are {count} masks and {len(types)} names of types ({', '.join(types)}): "
                "give one name for each mask"
            )
        self.backbone, self.projector, self.types = backbone, projector, tuple(types)
        self.made_as = made_as
        self.register_buffer("masks", torch.empty(0, 0) if masks is None else masks.clone())

    def forward(self, images: Tensor, invariant_to: Names = None, free_of: Names = None) -> Tensor:
        """Embed images.

        Args:
            images: (N, 3, H, W), as the transform makes them.
            invariant_to: augmentation types that shall change nothing: the embedding is multiplied
                by their masks.
            free_of: the opposite: it is multiplied by what each of these types' masks leaves out,
                the dimensions that are free to tell what such an augmentation did.

        Returns:
            (N, D): the whole embedding where neither is given.

        Raises:
            ConfigurationError: a type of which there is no mask, or one that is in both.
        """
        weights = self.weights(invariant_to, free_of)
        embeddings: Tensor = self.projector(self.backbone(images).flatten(1))
        return embeddings if weights is None else embeddings * weights

    def weights(self, invariant_to: Names = None, free_of: Names = None) -> Tensor | None:
        """What the embedding is multiplied by, (D,) in [0, 1]; ``None`` for the whole of it.

        Raises:
            ConfigurationError: as :meth:`forward`.
        """
        inside = self._numbers("invariant_to", invariant_to)
        outside = self._numbers("free_of", free_of)
        if both := [self.types[number] for number in inside if number in outside]:
            raise ConfigurationError(
                f"{both[0]} is in invariant_to and in free_of: it can be in one of them"
            )
        if not inside and not outside:
            return None
        return torch.cat([self.masks[inside], 1 - self.masks[outside]]).prod(0)

    def _numbers(self, key: str, names: Names) -> list[int]:
        wanted = [names] if isinstance(names, str) else list(names or ())
        if wanted and not self.types:
            raise ConfigurationError(
                f"{key} needs masks, and this network has none: give a MAST checkpoint, or leave "
                f"{key} out"
            )
        for name in wanted:
            if name not in self.types:
                raise ConfigurationError(
                    f"{key} names {name!r}, of which there is no mask: choose from "
                    f"{', '.join(self.types)}"
                )
        return [self.types.index(name) for name in wanted]

    def extra_repr(self) -> str:
        """The types, for print()."""
        return f"types={self.types}"

    def save(self, path: str | os.PathLike[str], transform: ImageTransform) -> None:
        """Write a .safetensors file, which :func:`~mast_plugin.load_model` loads.

        The names of the types stand in its metadata under ``types``, a list in JSON.

        Args:
            path: of the file, replaced when the new one is whole.
            transform: of the network's view.

        Raises:
            ConfigurationError: the network cannot be built from a file.
            OSError: the file cannot be written.
        """
        state = self.state_dict()
        if self.made_as is None or not _is_plain(self.projector):
            raise ConfigurationError(
                f"{path} cannot be written, as its network could not be built from it: load it "
                "by load_model, from a checkpoint with a projector of linear layers"
            )
        noted = {
            "format": FORMAT,
            "types": json.dumps(self.types),
            "backbone": json.dumps(asdict(self.made_as)),
            "transform": json.dumps(asdict(transform)),
        }
        write_tensors(Path(path), state, noted)


def metadata(path: Path) -> dict[str, str] | None:
    """What a file of :meth:`SubspaceFeatures.save` says of itself; ``None`` for any other file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            noted = dict(file.metadata() or {})
    except Exception:  # whoever reads it as weights says what is wrong with it
        return None
    return noted if noted.get("format", "").startswith(FORMAT.rpartition(" ")[0]) else None


def read(path: Path, noted: Mapping[str, str]) -> tuple[SubspaceFeatures, ImageTransform]:
    """Load a file of :meth:`SubspaceFeatures.save`.

    Args:
        path: the file.
        noted: its :func:`metadata`.

    Raises:
        ConfigurationError: it is damaged, of a later version, or does not fit its own network.
    """
    if noted["format"] != FORMAT:
        raise ConfigurationError(
            f"{path} is of a format that this version does not know ({noted['format']}): "
            "install a later mast-plugin"
        )
    state = read_tensors(path)
    try:
        types, given = json.loads(noted["types"]), json.loads(noted["transform"])
        known = {each.name for each in fields(ImageTransform) if each.init}
        view: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in given.items()
        }
        transform = ImageTransform(**{key: view[key] for key in known})
        made_as = BackboneName(**json.loads(noted["backbone"]))
        masks = state["masks"] if types else None
        projector = _projector(state)
        backbone = made_as.built()
        model = SubspaceFeatures(backbone, projector, masks, types, made_as=made_as)
    except Exception as error:  # whatever somebody wrote into its metadata
        raise ConfigurationError(
            f"{path} cannot be read ({first_line(error)}): save it again"
        ) from error
    load_exactly(model, state, str(path), "save it again")
    return model.eval(), transform


def _projector(state: Mapping[str, Tensor]) -> nn.Sequential:
    """Layers that have the projector's weights; between them, what has none, are rectifiers."""
    parts: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first == "projector":
            layer, _, leaf = rest.partition(".")
            parts.setdefault(int(layer), {})[leaf] = value
    layers: list[nn.Module] = []
    for number in range(1 + min(max(parts), 3 * len(parts))):
        own = parts.get(number, {})
        if not own:
            layers.append(nn.ReLU())
        elif "running_mean" in own:
            layers.append(nn.BatchNorm1d(len(own["running_mean"]), affine="weight" in own))
        else:
            rows, columns = own["weight"].shape
            layers.append(nn.Linear(columns, rows, bias="bias" in own))
    return nn.Sequential(*layers)


def _is_plain(projector: nn.Module) -> bool:
    """Whether a projector is what :func:`_projector` makes of its weights."""
    if not isinstance(projector, nn.Sequential) or not len(projector):
        return False
    state = {f"projector.{name}": value for name, value in projector.state_dict().items()}
    try:
        return repr(_projector(state)) == repr(projector).replace("inplace=True", "")
    except (ValueError, KeyError):
        return False
