"""Which views a configuration asks for: routed ones for MAST, plain ones for any other method."""

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from mast_plugin.core.options import MASTOptions
from mast_plugin.loading.named import normalisation
from mast_plugin.setting.configuration import plain
from mast_plugin.views.plan import parse_pair, parse_views
from mast_plugin.views.torchvision import CentredView, PlainViews, RoutedViews


@dataclass(frozen=True)
class ChosenViews:
    """The views of a run.

    Attributes:
        transform: image to the views of a training batch.
        centred: image to the one view of evaluation, of the first block's size.
        crop_sizes: in pixels, per block.
        num_crops: views per block.
    """

    transform: Any
    centred: CentredView
    crop_sizes: tuple[int, ...]
    num_crops: tuple[int, ...]


def chosen_views(cfg: DictConfig) -> ChosenViews:
    """Read a resolved configuration's views.

    Raises:
        ConfigurationError: an unknown or impossible augmentation or route.
    """
    blocks, statistics = plain(cfg.augmentations), normalisation(cfg.data.dataset)
    specs = parse_views(blocks, **statistics)
    transform: RoutedViews | PlainViews = PlainViews(specs)
    if cfg.method == "mast":
        routes = MASTOptions.parse(cfg.method_kwargs).routes
        transform = RoutedViews(parse_pair(blocks, **statistics), routes)
    first = specs[0].plan
    return ChosenViews(
        transform,
        CentredView(first.crop_size, first.mean, first.std),
        tuple(spec.plan.crop_size for spec in specs),
        tuple(spec.num_crops for spec in specs),
    )
