"""Every option of a pretraining, with its default, its range and what it does.

The language is that of solo-learn's main branch, plus what this project adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mast_plugin.check import (
    ANYTHING,
    FILE_NAME,
    FLAG,
    NULL,
    PATH_TEXT,
    SECTION,
    TEXT,
    WORD,
    Rule,
    list_of,
    number,
    one_of,
    whole,
)
from mast_plugin.option import MISSING, option, section
from mast_plugin.setting.backbone import STEMS

SEED = whole(0, 2**32 - 1)
COUNT = whole(1)
_SHARE = whole(0) | number(0)


@dataclass(frozen=True)
class Backbone:
    """The network."""

    name: Any = option("resnet18", TEXT, "as solo-learn calls it")
    kwargs: Any = option({}, SECTION, "of its builder")
    stem: Any = option(
        "auto",
        one_of(*STEMS),
        "of a ResNet: cifar, imagenet, or by the views (below 64 px: cifar)",
    )


@dataclass(frozen=True)
class Data:
    """The images, and how they are loaded."""

    dataset: Any = option("custom", TEXT, "cifar10, cifar100, stl10, imagenet100, imagenet, custom")
    train_path: Any = option(
        MISSING, PATH_TEXT, "for custom and imagenet: a folder, a .csv table, tar shards"
    )
    val_path: Any = option(
        None, PATH_TEXT | NULL, "no validation without it, but for cifar and stl10"
    )
    format: Any = option(
        "image_folder", TEXT, "or dali, which decodes and augments faster; both read all three"
    )
    no_labels: Any = option(
        False,
        FLAG,
        "true for images without labels, at any depth of a folder: in place of accuracies, the "
        "embedding's spread and RankMe are logged",
    )
    fraction: Any = option(
        -1, one_of(-1) | number(0, 1), "share of the images in (0, 1), or -1 for all"
    )
    num_workers: Any = option(4, whole(0, 1024), "loading processes of each device")
    check: Any = option(
        "auto",
        FLAG | one_of("auto"),
        "decode every image before training: true, false, or up to 20,000 (of more, 1,000 that "
        "are evenly spread)",
    )
    exif_orientation: Any = option(True, FLAG, "turn photographs as their EXIF tag says")
    bit_depth: Any = option(
        None,
        whole(8, 32) | NULL,
        "of images with more than 8 bits a channel, such as 12; null: as stored",
    )
    num_classes: Any = option(None, None, "derived, as are the next two")
    num_large_crops: Any = option(None, None)
    num_small_crops: Any = option(None, None)


@dataclass(frozen=True)
class Optimizer:
    """What moves the weights."""

    name: Any = option("sgd", one_of("sgd", "lars", "adam", "adamw"), "sgd, lars, adam, adamw")
    batch_size: Any = option(256, whole(1, 1 << 20), "images of a step, on each device")
    lr: Any = option(0.3, number(0), "for 256 images: multiplied by the images of a step / 256")
    classifier_lr: Any = option(
        0.1, number(0), "of the online classifier; multiplied only with a val_path"
    )
    weight_decay: Any = option(1e-4, number(0), "of the weights; masks and uncertainty have none")
    exclude_bias_n_norm_wd: Any = option(False, FLAG, "no weight decay of biases and norms")
    kwargs: Any = option({}, SECTION, "of the optimizer, such as momentum")


@dataclass(frozen=True)
class Scheduler:
    """How the rates change."""

    name: Any = option(
        "warmup_cosine", one_of("warmup_cosine", "step", "none"), "warmup_cosine, step, none"
    )
    warmup_epochs: Any = option(10, number(0), "of rates that climb to their full value")
    warmup_start_lr: Any = option(3e-5, number(0), "where they start to climb")
    min_lr: Any = option(0.0, number(0), "where a cosine ends")
    lr_decay_steps: Any = option(
        None, list_of(whole(0), "[60, 80]") | NULL, "with step: epochs of a tenth of the rate"
    )
    interval: Any = option("step", one_of("step", "epoch"), "how often a cosine moves")


@dataclass(frozen=True)
class Momentum:
    """The momentum network of methods that have one."""

    base_tau: Any = option(0.99, number(0, 1), "share of itself that it keeps in a step, at first")
    final_tau: Any = option(1.0, number(0, 1), "and at the end")
    classifier: Any = option(False, FLAG, "an online classifier of its own")


@dataclass(frozen=True)
class KNNEvaluation:
    """The online k-NN."""

    enabled: Any = option(False, FLAG)
    k: Any = option(20, COUNT, "neighbours that vote")
    distance_func: Any = option("euclidean", one_of("euclidean", "cosine"), "euclidean, cosine")


@dataclass(frozen=True)
class Scored:
    """Tasks that are scored before and after the training."""

    dataset: Any = option(
        None, PATH_TEXT | NULL, "folder with labels.csv, whose tasks main_evaluate.py takes"
    )
    score: Any = option(True, FLAG, "score them before and after the training")


@dataclass(frozen=True)
class Checkpoints:
    """What is kept of a run."""

    enabled: Any = option(True, FLAG)
    dir: Any = option("trained_models", PATH_TEXT, "each run gets a folder of its own in it")
    frequency: Any = option(1, COUNT, "in epochs; the last one is always saved")
    keep_prev: Any = option(False, FLAG, "keep those of earlier epochs, too")


@dataclass(frozen=True)
class AutoResume:
    """Going on by itself."""

    enabled: Any = option(False, FLAG)


@dataclass(frozen=True)
class WandB:
    """Weights & Biases."""

    enabled: Any = option(False, FLAG)
    entity: Any = option(None, TEXT | NULL)
    project: Any = option("mast", TEXT | NULL)
    offline: Any = option(False, FLAG)


@dataclass(frozen=True)
class Performance:
    """What changes the speed and not the figures."""

    disable_channel_last: Any = option(False, FLAG)
    compact_convolutions: Any = option(
        True, FLAG, "on a CPU: no multiplying by the padding of tiny maps"
    )


@dataclass(frozen=True)
class DALI:
    """NVIDIA DALI."""

    device: Any = option("auto", TEXT, "cpu, gpu, or the GPU where there is one")


@dataclass(frozen=True)
class Pretraining:
    """A pretraining: what recipes build on."""

    name: Any = option(
        None, FILE_NAME | NULL, "of the run; <method>-<dataset> where nothing is given"
    )
    method: Any = option("mast", WORD, "or any method of the installed solo-learn")
    method_kwargs: Any = option(
        {}, SECTION, "the method's own options, such as method_kwargs.proj_output_dim=1024"
    )
    augmentations: Any = option(
        MISSING,
        ANYTHING,
        "a list of blocks of views (docs/augmentations.md), or a shipped one by its name: digits, "
        "digits15, cifar, stl10, imagenet",
    )
    crop_size: Any = option(
        None,
        whole(1, 4096) | NULL,
        "side of the views in pixels, in place of what augmentations say: a step takes 12 times "
        "as long at 224 as at 64",
    )
    seed: Any = option(5, SEED, "of everything that is drawn; the same seed gives the same run")
    backbone: Any = section(Backbone)
    init_from: Any = option(
        None,
        PATH_TEXT | NULL,
        "weights that the backbone starts from: a .ckpt, .pth or .safetensors",
    )
    init_from_sha256: Any = option(None, None, "of that file; derived")
    data: Any = section(Data)
    optimizer: Any = section(Optimizer)
    scheduler: Any = section(Scheduler)
    momentum: Any = section(Momentum, "of methods with a momentum network")
    knn_eval: Any = section(KNNEvaluation, "online, on the validation split")
    evaluation: Any = section(Scored)
    checkpoint: Any = section(Checkpoints)
    resume_from_checkpoint: Any = option(None, PATH_TEXT | NULL, "a .ckpt file to go on from")
    auto_resume: Any = section(
        AutoResume, "go on with the run of exactly this configuration, seed included"
    )
    wandb: Any = section(WandB)
    max_epochs: Any = option(MISSING, whole(1, 10**6), "passes over the images")
    accelerator: Any = option("auto", TEXT, "cpu, gpu, or what there is")
    devices: Any = option(
        "auto",
        TEXT | whole(-1) | list_of(whole(0), "[0, 1]"),
        "how many, or which, such as [0,1]",
    )
    num_nodes: Any = option(1, whole(1, 10**6), "machines")
    strategy: Any = option("auto", TEXT, "as the engine calls it, such as ddp")
    precision: Any = option(
        "32-true", TEXT | one_of(16, 32, 64), "bf16-mixed or 16-mixed are faster on a GPU"
    )
    accumulate_grad_batches: Any = option(1, COUNT, "batches of a step")
    sync_batchnorm: Any = option(False, FLAG, "over several GPUs")
    enable_progress_bar: Any = option(True, FLAG | NULL)
    log_every_n_steps: Any = option(50, whole(0) | NULL, "to metrics.csv")
    check_val_every_n_epoch: Any = option(1, COUNT | NULL)
    performance: Any = section(Performance)
    dali: Any = section(DALI, "with data.format=dali")
    debug_augmentations: Any = option(False, FLAG, "print the transform of the views")


TRAINER: Mapping[str, Rule] = {
    "fast_dev_run": FLAG | whole(0),
    "max_steps": whole(-1),
    "min_epochs": whole(0) | NULL,
    "min_steps": whole(0) | NULL,
    "max_time": TEXT | SECTION | NULL,
    "limit_train_batches": _SHARE | NULL,
    "limit_val_batches": _SHARE | NULL,
    "overfit_batches": _SHARE,
    "val_check_interval": _SHARE | NULL,
    "num_sanity_val_steps": whole(-1) | NULL,
    "enable_model_summary": FLAG | NULL,
    "gradient_clip_val": number(0) | NULL,
    "gradient_clip_algorithm": one_of("norm", "value", None),
    "deterministic": FLAG | one_of("warn", None),
    "benchmark": FLAG | NULL,
    "profiler": one_of("simple", "advanced", "pytorch", None),
    "detect_anomaly": FLAG,
    "use_distributed_sampler": FLAG,
    "inference_mode": FLAG,
}
"""Options of Lightning 2's Trainer that a configuration may carry beside ours."""
