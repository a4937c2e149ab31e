"""Every key of base.yaml has an effect on the installed host; a new one fails until it has a check.

A check observes something that is built from a configuration, without the key and with it.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from mast_plugin import pretrain as entry
from mast_plugin.errors import MASTError
from mast_plugin.evaluation.scoring import Scoring
from mast_plugin.loading.choice import chosen_views
from mast_plugin.loading.data import training_loader, validation_loader
from mast_plugin.loading.image import Reading, load_image
from mast_plugin.pretraining import building, preparation
from mast_plugin.running.run import Run, open_run
from mast_plugin.setting.configuration import with_scaled_rates
from mast_plugin.setting.shipped import shipped_directory

DERIVED = {
    "init_from_sha256": "abc",
    "data.num_classes": 77,
    "data.num_large_crops": 7,
    "data.num_small_crops": 7,
}
"""Not the user's to choose: what is given is replaced by what is the case."""


def keys_of(section: Any, prefix: str = "") -> list[str]:
    found = []
    for key, value in section.items():
        nested = isinstance(value, dict) and value
        found += keys_of(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}"]
    return found


KEYS = keys_of(OmegaConf.to_container(OmegaConf.load(shipped_directory() / "base.yaml")))


# --- what is observed ----------------------------------------------------------------------------


class Ground(NamedTuple):
    """What observations stand on."""

    host: Any
    folder: Path


Observer = Callable[[Any, Ground], Any]


def prepared(cfg: Any) -> Any:
    return preparation.prepared(cfg)[0]


def model_of(cfg: Any, ground: Ground) -> Any:
    return ground.host.build(prepared(cfg))


def attribute(*path: str) -> Observer:
    """An attribute of the method, as the host took it over."""

    def observe(cfg: Any, ground: Ground) -> Any:
        found = model_of(cfg, ground)
        for name in path:
            found = getattr(found, name, None)
        return found

    return observe


def network(cfg: Any, ground: Ground) -> Any:
    net = ground.host.backbone(model_of(cfg, ground))
    first = getattr(net, "conv1", None)
    zeroed = sum(not p.any() for name, p in net.named_parameters() if name.endswith("weight"))
    return type(net).__name__, first and first.kernel_size, zeroed


def built_by_entry(cfg: Any, ground: Ground) -> Any:
    cfg = prepared(cfg)
    trainer = SimpleNamespace(num_devices=1)
    convolution = ground.host.backbone(building.build_model(cfg, ground.host, trainer)).conv1
    channels_last = convolution.weight.is_contiguous(memory_format=torch.channels_last)
    return channels_last, type(convolution).__name__


def started_weights(cfg: Any, ground: Ground) -> Any:
    cfg = prepared(cfg)
    model = ground.host.build(cfg)
    if cfg.init_from is not None:
        entry._start(cfg, ground.host, model, SimpleNamespace(is_global_zero=True), True)
    return ground.host.backbone(model).conv1.weight.sum().item()


def optimizer(cfg: Any, ground: Ground) -> Any:
    cfg = prepared(cfg)
    with_rates = with_scaled_rates(cfg, 1)
    with_rates.scheduler.name = "none"
    built = ground.host.build(with_rates).configure_optimizers()
    groups = [
        {k: v for k, v in group.items() if k != "params"} | {"count": len(group["params"])}
        for group in built.param_groups
    ]
    return type(built).__name__, groups


def schedule(cfg: Any, ground: Ground) -> Any:
    cfg = prepared(cfg)
    model = ground.host.build(cfg)
    model._trainer = SimpleNamespace(estimated_stepping_batches=cfg.max_epochs * 4)
    configured = model.configure_optimizers()
    if not isinstance(configured, tuple):
        return "constant"
    (optimizer_,), (entry_,) = configured
    entry_ = entry_ if isinstance(entry_, dict) else {"scheduler": entry_, "interval": "epoch"}
    rates = []
    for _ in range(cfg.max_epochs * 4):
        rates.append(optimizer_.param_groups[0]["lr"])
        entry_["scheduler"].step()
    return entry_["interval"], rates


def images(cfg: Any, ground: Ground) -> Any:
    cfg, views, found = preparation.prepared(cfg)
    loader = training_loader(cfg, found, views.transform)
    order = list(loader.sampler)[:8] if cfg.data.format != "dali" else None
    label = [loader.dataset[order[i]][2] for i in range(8)] if order else None
    return (
        type(loader).__name__,
        loader.batch_size,
        getattr(loader, "num_workers", None),
        order,
        label,
        len(found),
        validation_loader(cfg, views.centred) is not None,
        cfg.data.train_path,
    )


def views(cfg: Any, ground: Ground) -> Any:
    chosen = chosen_views(prepared(cfg))
    return chosen.crop_sizes, repr(chosen.transform)


def refused(cfg: Any, ground: Ground) -> Any:
    """What the run is refused with."""
    try:
        images(cfg, ground)
    except MASTError as error:
        return str(error)
    return None


def size_as_read(cfg: Any, ground: Ground) -> Any:
    return load_image(str(ground.folder / "lying.jpg"), Reading.of(prepared(cfg).data)).size


def run(cfg: Any, ground: Ground) -> Any:
    cfg = prepared(cfg)
    (ground.folder / "last-ep=0.ckpt").touch()
    again = open_run(cfg).folder
    again.mkdir(parents=True, exist_ok=True)
    return again, open_run(cfg)


def trainer(cfg: Any, ground: Ground) -> Any:
    cfg = prepared(cfg)
    try:
        built = building.build_trainer(cfg, ground.host, Run(ground.folder / "a" / "run", None))
    except MASTError as error:
        return str(error)
    kept = next((c for c in built.callbacks if type(c).__name__.endswith("Checkpointer")), None)
    return (
        built.max_epochs,
        built.num_devices,
        built.num_nodes,
        (type(built.strategy).__name__, getattr(built.strategy, "_start_method", None)),
        built.precision,
        built.accumulate_grad_batches,
        built.progress_bar_callback is None,
        built.log_every_n_steps,
        built.check_val_every_n_epoch,
        kept and (kept.frequency, kept.keep_all, kept.logdir),
    )


def loggers(cfg: Any, ground: Ground) -> Any:
    """With a stand-in for wandb's, which needs an account."""
    given: list[Any] = []
    genuine = ground.host.engine.loggers.WandbLogger

    class Logger(ground.host.engine.loggers.CSVLogger):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            given.append(options)
            super().__init__(str(ground.folder))

    ground.host.engine.loggers.WandbLogger = Logger
    try:
        building.build_trainer(prepared(cfg), ground.host, Run(ground.folder / "a" / "run", None))
    finally:
        ground.host.engine.loggers.WandbLogger = genuine
    return given


def scoring(cfg: Any, ground: Ground) -> Any:
    place = SimpleNamespace(is_global_zero=True)
    return Scoring.open(prepared(cfg), place, None, None) is not None


def printed(cfg: Any, ground: Ground) -> Any:
    import contextlib
    import io

    fit, entry._fit = entry._fit, lambda *_: None
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            entry.pretrain(cfg)
    finally:
        entry._fit = fit
    return out.getvalue()


# --- key: what is observed, the key with a value, what else is set on both sides ----------------

BYOL = ("method=byol", "+method_kwargs.pred_hidden_dim=8")
SGD = ("optimizer.name=sgd", "~optimizer.kwargs.fused")
CHECKS: dict[str, tuple[Observer, str, tuple[str, ...]]] = {
    "name": (run, "name=other", ()),
    "method": (attribute("__class__"), "method=barlow_twins", ()),
    "method_kwargs": (attribute("sim_loss_weight"), "+method_kwargs.sim_loss_weight=3", ()),
    "augmentations": (views, "augmentations=stl10", ()),
    "crop_size": (views, "crop_size=20", ()),
    "seed": (images, "seed=6", ()),
    "backbone.name": (attribute("features_dim"), "backbone.name=resnet50", ()),
    "backbone.kwargs": (network, "+backbone.kwargs.zero_init_residual=true", ()),
    "backbone.stem": (network, "backbone.stem=cifar", ()),
    "init_from": (started_weights, "init_from=START", ()),
    "data.dataset": (attribute("num_classes"), "data.dataset=imagenet100", ()),
    "data.train_path": (images, "data.train_path=OTHER", ()),
    "data.val_path": (images, "data.val_path=OTHER", ()),
    "data.format": (images, "data.format=dali", ()),
    "data.no_labels": (images, "data.no_labels=true", ()),
    "data.fraction": (images, "data.fraction=0.5", ()),
    "data.num_workers": (images, "data.num_workers=1", ()),
    "data.exif_orientation": (size_as_read, "data.exif_orientation=false", ()),
    "data.bit_depth": (refused, "data.bit_depth=12", ("data.train_path=DEEP", "data.check=true")),
    "data.check": (refused, "data.check=false", ("data.train_path=BROKEN",)),
    "optimizer.name": (optimizer, "optimizer.name=lars", ("~optimizer.kwargs.fused",)),
    "optimizer.batch_size": (images, "optimizer.batch_size=4", ()),
    "optimizer.lr": (optimizer, "optimizer.lr=0.7", SGD),
    "optimizer.classifier_lr": (optimizer, "optimizer.classifier_lr=0.7", SGD),
    "optimizer.weight_decay": (optimizer, "optimizer.weight_decay=0.7", SGD),
    "optimizer.exclude_bias_n_norm_wd": (optimizer, "optimizer.exclude_bias_n_norm_wd=true", SGD),
    "optimizer.kwargs": (optimizer, "+optimizer.kwargs.momentum=0.7", SGD),
    "scheduler.name": (schedule, "scheduler.name=none", SGD),
    "scheduler.warmup_epochs": (schedule, "scheduler.warmup_epochs=2", SGD),
    "scheduler.warmup_start_lr": (schedule, "scheduler.warmup_start_lr=1e-4", SGD),
    "scheduler.min_lr": (schedule, "scheduler.min_lr=1e-3", SGD),
    "scheduler.lr_decay_steps": (
        schedule,
        "scheduler.lr_decay_steps=[3]",
        (*SGD, "scheduler.name=step", "scheduler.lr_decay_steps=[2]"),
    ),
    "scheduler.interval": (schedule, "scheduler.interval=epoch", SGD),
    "momentum.base_tau": (attribute("momentum_updater", "cur_tau"), "momentum.base_tau=0.5", BYOL),
    "momentum.final_tau": (
        attribute("momentum_updater", "final_tau"),
        "momentum.final_tau=0.999",
        BYOL,
    ),
    "momentum.classifier": (
        attribute("momentum_classifier", "__class__"),
        "momentum.classifier=true",
        BYOL,
    ),
    "knn_eval.enabled": (attribute("knn", "__class__"), "knn_eval.enabled=true", ()),
    "knn_eval.k": (attribute("knn", "k"), "knn_eval.k=3", ("knn_eval.enabled=true",)),
    "knn_eval.distance_func": (
        attribute("knn", "distance_fx"),
        "knn_eval.distance_func=cosine",
        ("knn_eval.enabled=true",),
    ),
    "evaluation.dataset": (scoring, "evaluation.dataset=LABELLED", ()),
    "evaluation.score": (scoring, "evaluation.score=false", ("evaluation.dataset=LABELLED",)),
    "checkpoint.enabled": (trainer, "checkpoint.enabled=false", ()),
    "checkpoint.dir": (run, "checkpoint.dir=ELSEWHERE", ()),
    "checkpoint.frequency": (trainer, "checkpoint.frequency=3", ()),
    "checkpoint.keep_prev": (trainer, "checkpoint.keep_prev=true", ()),
    "resume_from_checkpoint": (run, "resume_from_checkpoint=LAST", ()),
    "auto_resume.enabled": (run, "auto_resume.enabled=true", ()),
    "wandb.enabled": (loggers, "wandb.enabled=true", ()),
    "wandb.entity": (loggers, "wandb.entity=we", ("wandb.enabled=true",)),
    "wandb.project": (loggers, "wandb.project=other", ("wandb.enabled=true",)),
    "wandb.offline": (loggers, "wandb.offline=true", ("wandb.enabled=true",)),
    "max_epochs": (trainer, "max_epochs=9", ()),
    "accelerator": (trainer, "accelerator=tpu", ()),
    "devices": (trainer, "devices=2", ("accelerator=cpu",)),
    "num_nodes": (trainer, "num_nodes=2", ("accelerator=cpu", "strategy=ddp")),
    "strategy": (trainer, "strategy=ddp_spawn", ("accelerator=cpu", "devices=2")),
    "precision": (trainer, "precision=bf16-mixed", ()),
    "accumulate_grad_batches": (trainer, "accumulate_grad_batches=2", ()),
    # Refused: several processes on CPUs cannot have it.
    "sync_batchnorm": (trainer, "sync_batchnorm=true", ("accelerator=cpu", "devices=2")),
    "enable_progress_bar": (trainer, "enable_progress_bar=true", ()),
    "log_every_n_steps": (trainer, "log_every_n_steps=7", ()),
    "check_val_every_n_epoch": (trainer, "check_val_every_n_epoch=2", ()),
    "performance.disable_channel_last": (
        built_by_entry,
        "performance.disable_channel_last=true",
        (),
    ),
    "performance.compact_convolutions": (
        built_by_entry,
        "performance.compact_convolutions=false",
        (),
    ),
    "dali.device": (refused, "dali.device=gpu", ("data.format=dali",)),
    "debug_augmentations": (printed, "debug_augmentations=true", ()),
}


def test_every_key_has_a_check():
    assert set(KEYS) == set(CHECKS) | set(DERIVED)


@pytest.fixture
def places(image_folder, labelled, tmp_path, host):
    """Files that values name, by the words above."""
    broken = tmp_path / "broken"
    for name in ("ant", "bee"):
        (broken / name).mkdir(parents=True)
        for path in (image_folder / name).iterdir():
            (broken / name / path.name).write_bytes(path.read_bytes())
    (broken / "ant" / "0.png").write_bytes(b"no image")
    deep = tmp_path / "deep"
    for name in ("ant", "bee"):
        (deep / name).mkdir(parents=True)
        for i in range(12):
            levels = np.arange(400, dtype=np.uint16).reshape(20, 20) * 10 + i
            Image.fromarray(levels).save(deep / name / f"{i}.png")
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "lying.jpg", exif=lying)
    (tmp_path / "last-ep=0.ckpt").touch()
    torch.manual_seed(1)
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "start.pth")
    other = tmp_path / "other"
    other.symlink_to(image_folder)
    return {
        "START": tmp_path / "start.pth",
        "OTHER": other,
        "ELSEWHERE": tmp_path / "elsewhere",
        "BROKEN": broken,
        "DEEP": deep,
        "LAST": tmp_path / "last-ep=0.ckpt",
        "LABELLED": labelled,
    }


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_an_effect(key, host, small, places, tmp_path):
    ground = Ground(host, tmp_path)
    if key in DERIVED:
        cfg = small("vicreg")
        OmegaConf.update(cfg, key, DERIVED[key], force_add=True)
        assert OmegaConf.select(prepared(cfg), key) != DERIVED[key]
        return
    observe, change, around = CHECKS[key]
    place = "max_epochs=3" if key != "max_epochs" else "max_epochs=1"

    def observed(*overrides: str) -> Any:
        spelt = [_with_places(each, places) for each in (place, *around, *overrides)]
        cfg = small("vicreg", *spelt)
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engines' own
            return observe(cfg, ground)

    assert observed(change) != observed()


def _with_places(override: str, places: dict[str, Path]) -> str:
    name, _, value = override.partition("=")
    return f"{name}='{places[value]}'" if value in places else override


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_online_knn_measures_the_distance_that_it_is_told(distance, host, small):
    """Images of one class lie in one direction, but far apart: only cosine sees it."""
    overrides = ("knn_eval.enabled=true", "knn_eval.k=1", f"knn_eval.distance_func={distance}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        knn = host.build(prepared(small("vicreg", *overrides))).knn
        known = torch.tensor([[100.0, 0.0], [0.0, 1.0], [0.0, 1.0], [100.0, 0.0], [0.0, 1.0]])
        labels = torch.tensor([0, 1, 1, 0, 1])
        knn(train_features=known, train_targets=labels)
        asked = torch.tensor([[1.0, 0.1], [60.0, 90.0]])
        knn(test_features=asked, test_targets=torch.tensor([0, 1]))
        top1, _ = knn.compute()
    assert top1 == (100.0 if distance == "cosine" else 0.0)


@pytest.mark.parametrize("name", ["mast", "vicreg"])
def test_the_online_knn_is_logged(name, host, small, image_folder):
    overrides = ("knn_eval.enabled=true", "knn_eval.distance_func=cosine", "data.check=false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = entry.pretrain(small(name, *overrides, f"data.val_path={image_folder}"))
    assert 0 <= result.metrics["val_knn_acc1"] <= 100
