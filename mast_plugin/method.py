"""MAST as a method of solo-learn: the host's base, our head, our loss.

Importing this module imports solo-learn; :func:`mast_plugin.register` does so when asked.
"""

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from mast_plugin.core.distributed import gather, require_equal_batches
from mast_plugin.core.head import SubspaceHead
from mast_plugin.core.lars import unscaled
from mast_plugin.core.loss import SCALARS, MASTTerms, mast_loss
from mast_plugin.core.meter import SubspaceMeter
from mast_plugin.core.options import MASTOptions, taken_over
from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError
from mast_plugin.host import load_host
from mast_plugin.loading.named import normalisation
from mast_plugin.setting.backbone import fitted
from mast_plugin.setting.configuration import plain
from mast_plugin.setting.entry import started_by_ours
from mast_plugin.setting.view_size import resized
from mast_plugin.views.difference import difference_of
from mast_plugin.views.pair import RoutedPair
from mast_plugin.views.plan import NO_VIEWS, parse_pair
from mast_plugin.views.torchvision import CentredView, RoutedViews

_host = load_host()

# What we log is of the joined batch, the same on every process: Lightning need not exchange it, and
# this combination spares its advice to do so.
_SAME_EVERYWHERE = {"sync_dist": True, "rank_zero_only": True}


class MAST(_host.Method):  # type: ignore[misc, name-defined]
    """Masked Augmentation Subspace Training (Huang et al., ICLR 2023; see docs/method.md).

    Batches are ``[index, pair, label]``: index and label (N,), int64, and the pairs of N images as
    one :class:`~mast_plugin.views.pair.RoutedPair`.

    Args:
        cfg: the main branch's configuration. ``augmentations`` holds the K routed types
            (:mod:`mast_plugin.views.plan`), ``method_kwargs`` the options
            (:class:`~mast_plugin.core.options.MASTOptions`).

    Raises:
        ConfigurationError: an unknown or impossible option, augmentation or device list.
    """

    def __init__(self, cfg: DictConfig) -> None:
        if cfg.get("augmentations") is None:
            raise ConfigurationError(NO_VIEWS)
        if cfg.get("crop_size") is not None:  # under another script than ours, which resolves it
            cfg.augmentations = resized(plain(cfg.augmentations), cfg.crop_size)
        self.plan = parse_pair(
            plain(cfg.augmentations),
            **normalisation(cfg.data.dataset),
        )
        self.options = MASTOptions.parse(cfg.get("method_kwargs") or {})
        _refuse_unscalable_devices(cfg)
        changed = ("augmentations", "debug_augmentations")
        self._given = {key: cfg[key] for key in changed if key in cfg}
        super().__init__(cfg)
        options = self.options
        predicts = options.equivariance_weight > 0
        types = difference_of(self.plan).types if predicts else ()
        self.head = SubspaceHead(
            features_dim=self.features_dim,
            hidden_dim=options.proj_hidden_dim,
            embedding_dim=options.proj_output_dim,
            num_types=len(self.plan.types),
            subspace_share=options.subspace_share,
            mask_spread=options.mask_spread,
            masks=options.masks,
            mask_start=options.mask_start,
            uncertainty=options.uncertainty,
            difference_types=types,
            equivariance_on=options.equivariance_on,
        )
        self.subspaces = SubspaceMeter(self.plan.types)

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """Fill in the host's defaults; its base class calls this on the main branch."""
        cfg = super(MAST, MAST).add_and_assert_specific_cfg(cfg)
        if not started_by_ours(cfg):  # ours has fitted it already
            sizes = [block.crop_size for block in cfg.augmentations]
            cfg.backbone = fitted(plain(cfg.backbone), sizes)
        _host.complete_views(cfg)
        return cfg

    @property
    def routes(self) -> RoutePolicy:
        """How routes are drawn."""
        return self.options.routes

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the projector's, and one each for masks and uncertainty.

        Masks and uncertainty keep a rate of their own, without weight decay (which would pull
        every mask towards one half) and without LARS (which ties a step to a parameter's norm).
        """
        groups = [
            *super().learnable_params,
            {"name": "projector", "params": list(self.head.projector.parameters())},
        ]
        for name in ("reader", "predictor"):
            if (part := getattr(self.head, name)) is not None:
                groups.append({"name": name, "params": list(part.parameters())})
        own = {
            "masks": (self.head.mask_parameters, self.options.mask_lr),
            "uncertainty": (self.head.uncertainty_parameters, self.options.uncertainty_lr),
        }
        for name, (parameters, rate) in own.items():
            if parameters:
                group = {"name": name, "params": parameters, "lr": rate, "weight_decay": 0.0}
                groups.append(unscaled(group))
        return groups

    def setup(self, stage: str) -> None:
        """Give the data our views where solo-learn's own script built its loaders.

        Training takes the routed ones, validation the centred one of their size. The configuration
        gets back what :meth:`add_and_assert_specific_cfg` changed for that script, before the
        script's checkpoints store it.

        Raises:
            ConfigurationError: that script was asked to load through DALI.
        """
        if stage != "fit":
            return
        line = taken_over(self.cfg.get("method_kwargs") or {})
        if line and self.trainer.is_global_zero:
            print(line)
        if started_by_ours(self.cfg):
            return
        if self.cfg.data.format == "dali":
            raise ConfigurationError(
                "solo-learn's own script cannot load MAST's routed views through DALI: run "
                "mast-pretrain (or this project's main_pretrain.py) with data.format=dali, or "
                "choose data.format=image_folder"
            )
        views = RoutedViews(self.plan, self.routes)
        centred = CentredView(self.plan.crop_size, self.plan.mean, self.plan.std)
        _host.foreign_transforms(self.trainer, views, centred)
        self.cfg.update(self._given)
        if self.cfg.get("debug_augmentations") and self.trainer.is_global_zero:
            print(views)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the host's ``logits`` and ``feats`` (N, F) and the embedding ``z`` (N, D)."""
        outputs: dict[str, Tensor] = super().forward(images)
        outputs["z"] = self.head(outputs["feats"])
        return outputs

    def training_step(self, batch: list[Any], batch_idx: int) -> Tensor:
        """Return the loss of one batch, the online classifier's included.

        Raises:
            ConfigurationError: the batch holds views without their route and difference.
            DataError: the processes' batches differ in size.
        """
        index, pair, label = batch
        if not isinstance(pair, RoutedPair):
            raise ConfigurationError(
                "MAST needs batches of two views, their route and their difference (RoutedPair), "
                f"not a {type(pair).__name__} of {len(pair)} tensors: load the data with "
                "mast_plugin.views.torchvision.RoutedViews"
            )
        # Our own loaders drop the last, short batch: an epoch's first one stands for all.
        if batch_idx == 0 or not started_by_ours(self.cfg):
            require_equal_batches(len(pair.route), pair.route.device)
        views = [pair.first, pair.second]
        outputs = super().training_step([index, views, label], batch_idx)
        route = gather(pair.route)
        terms = self._terms(outputs["feats"], outputs["z"], route, pair.difference)
        self.subspaces.update(
            route.sum(0), error=terms.type_error, log_variance=terms.type_log_variance
        )
        values = {name: getattr(terms, name).detach() for name in SCALARS}
        logged = {f"mast/{name}": value for name, value in values.items()}
        self.log_dict(logged, on_epoch=True, **_SAME_EVERYWHERE)
        loss: Tensor = outputs["loss"] + terms.loss
        classifier = outputs["loss"].detach()
        values |= {"online classifier": classifier, "total": loss.detach()}
        self.loss_terms = {name: values[name] for name in values if name != "loss"}
        return loss

    def _terms(
        self, feats: list[Tensor], z: list[Tensor], route: Tensor, difference: Tensor
    ) -> MASTTerms:
        """Loss terms of the batch joined over all processes; the same on each of them.

        ``route`` is joined already, ``feats``, ``z`` and ``difference`` are this process's.
        """
        log_variance = self.head.log_variance(*feats)
        z1, z2 = map(gather, z)
        predicted = self.head.predicted_difference(z1, z2, route)
        from_features = self.head.predicted_from_features(*feats)
        if from_features is not None:
            predicted = gather(from_features)
        given = {}
        if predicted is not None:
            given = {"predicted": predicted, "difference": gather(difference)}
            given["difference_types"] = self.head.difference_types
        return mast_loss(
            z1,
            z2,
            masks=self.head.masks,
            route=route,
            log_variance=None if log_variance is None else gather(log_variance),
            options=self.options.of_loss,
            **given,
        )

    def on_train_epoch_end(self) -> None:
        """Log size, effective dimension, overlap, error and log-variance of every subspace."""
        with torch.no_grad():
            self.log_dict(self.subspaces.compute(self.head.masks), **_SAME_EVERYWHERE)


def _refuse_unscalable_devices(cfg: DictConfig) -> None:
    """Refuse the device lists from which the main branch's script scales the rate wrongly.

    That script multiplies the learning rate by ``len(cfg.devices)``, which for ``auto`` is four.
    """
    devices = cfg.get("devices")
    if isinstance(devices, str) and len(devices) > 1 and not started_by_ours(cfg):
        raise ConfigurationError(
            f"solo-learn's own script would scale the learning rate by the length of the text "
            f'{devices!r}: write devices as a list such as [0,1], or as "1"'
        )


# Whatever imports this module: a host that was imported by it has not been given the method yet.
_host.METHODS.setdefault("mast", MAST)
