"""One picture of the method: views of one image under several routes, with the masks."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mast_plugin.analysis.relation import dimension_order
from mast_plugin.core.loss import pair_weights
from mast_plugin.core.route import RoutePolicy
from mast_plugin.files.storage import whole_file
from mast_plugin.views.pair import RoutedPair
from mast_plugin.views.plan import Plan
from mast_plugin.views.torchvision import CentredView, RoutedViews

_ROWS = 5
_SEED = 0


def draw_routes(
    image: Image.Image, plan: Plan, policy: RoutePolicy, masks: Tensor, path: Path
) -> None:
    """Draw pairs of views under different routes and, beside each, where the pair is compared.

    The same seed always draws the same routes and views; torch's global generator is left as it
    was.

    Args:
        image: RGB, of any size.
        plan: the K augmentation types.
        policy: gives the routes; half of those shown leave something out, whatever its
            ``full_prob``, as a picture of complete routes alone would show nothing.
        masks: (K, D) in (0, 1].
        path: a .png or .svg file; its folder exists.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    masks = masks.detach().cpu().float()
    pairs = _pairs(image, plan, policy)
    order = dimension_order(masks.double().numpy())
    figure = pyplot.figure(figsize=(10, 1.15 * (len(pairs) + 2)), layout="constrained")
    grid = figure.add_gridspec(
        len(pairs) + 1, 4, width_ratios=(1, 1, 1, 6), height_ratios=[1] * len(pairs) + [1.6]
    )
    original = CentredView(plan.crop_size, plan.mean, plan.std)(image)
    for row, pair in enumerate(pairs):
        for column, view in enumerate((original, pair.first, pair.second)):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(_displayable(view, plan))
            if row == 0:
                axes.set_title(("image", "view 1", "view 2")[column], fontsize=9)
            axes.axis("off")
        axes = figure.add_subplot(grid[row, 3])
        active = [kind for kind, on in zip(plan.types, pair.route.tolist(), strict=True) if on]
        weights = pair_weights(masks, pair.route.unsqueeze(0))[0, order]
        _strip(axes, weights / weights.max(), f"compared for {', '.join(active)}")
    axes = figure.add_subplot(grid[len(pairs), 3])
    drawn = axes.imshow(masks[:, order].numpy(), aspect="auto", cmap="viridis", vmin=0, vmax=1)
    axes.set_yticks(range(len(plan.types)), plan.types, fontsize=7)
    axes.set_xlabel(f"{masks.shape[1]} embedding dimensions, alike ones side by side", fontsize=8)
    axes.set_xticks([])
    axes.set_title("masks", fontsize=9)
    figure.colorbar(drawn, ax=axes, pad=0.01)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=150)
    pyplot.close(figure)


def _pairs(image: Image.Image, plan: Plan, policy: RoutePolicy) -> list[RoutedPair]:
    """One pair with every type, then pairs whose routes leave some out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        complete = RoutedViews(plan, RoutePolicy(1.0, policy.active_prob))
        partial = RoutedViews(plan, RoutePolicy(0.0, min(policy.active_prob, 0.6), policy.scheme))
        pairs = [complete(image)]
        for _ in range(100):
            candidate = partial(image)
            if not any(torch.equal(candidate.route, pair.route) for pair in pairs):
                pairs.append(candidate)
            if len(pairs) == min(_ROWS, 2 ** len(plan.types) - 1):
                break
    return pairs


def _displayable(view: Tensor, plan: Plan) -> Any:
    std, mean = (torch.tensor(values).view(3, 1, 1) for values in (plan.std, plan.mean))
    return (view * std + mean).clamp(0, 1).permute(1, 2, 0).numpy()


def _strip(axes: Any, weights: Tensor, title: str) -> None:
    axes.imshow(weights.unsqueeze(0).numpy(), aspect="auto", cmap="viridis", vmin=0, vmax=1)
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
