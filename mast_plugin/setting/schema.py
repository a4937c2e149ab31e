"""What each key of a configuration must be, before anything is made of it.

Keys that are not listed are checked where they are read: augmentations, a method's options.
"""

from collections.abc import Mapping
from typing import Any

from mast_plugin.setting.backbone import STEMS
from mast_plugin.setting.check import (
    FILE_NAME,
    FLAG,
    NULL,
    PATH,
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

Rules = Mapping[str, Rule]

_NAMES = list_of(TEXT, "[a, b]")
_SEED = whole(0, 2**32 - 1)
_COUNT = whole(1)
_SHARE = whole(0) | number(0)
_PROTOCOLS = _NAMES | TEXT

PRETRAINING: Rules = {
    "name": FILE_NAME | NULL,
    "method": WORD,
    "method_kwargs": SECTION,
    "crop_size": whole(1, 4096) | NULL,
    "seed": _SEED,
    "backbone.name": TEXT,
    "backbone.kwargs": SECTION,
    "backbone.stem": one_of(*STEMS),
    "init_from": PATH_TEXT | NULL,
    "data.dataset": TEXT,
    "data.train_path": PATH_TEXT,
    "data.val_path": PATH_TEXT | NULL,
    "data.format": TEXT,
    "data.no_labels": FLAG,
    "data.fraction": one_of(-1) | number(0, 1),
    "data.num_workers": whole(0, 1024),
    "data.check": FLAG | one_of("auto"),
    "data.exif_orientation": FLAG,
    "data.bit_depth": whole(8, 32) | NULL,
    "optimizer.name": one_of("sgd", "lars", "adam", "adamw"),
    "optimizer.batch_size": whole(1, 1 << 20),
    "optimizer.lr": number(0),
    "optimizer.classifier_lr": number(0),
    "optimizer.weight_decay": number(0),
    "optimizer.exclude_bias_n_norm_wd": FLAG,
    "optimizer.kwargs": SECTION,
    "scheduler.name": one_of("warmup_cosine", "step", "none"),
    "scheduler.interval": one_of("step", "epoch"),
    "scheduler.warmup_epochs": number(0),
    "scheduler.warmup_start_lr": number(0),
    "scheduler.min_lr": number(0),
    "scheduler.lr_decay_steps": list_of(whole(0), "[60, 80]") | NULL,
    "momentum.base_tau": number(0, 1),
    "momentum.final_tau": number(0, 1),
    "momentum.classifier": FLAG,
    "knn_eval.enabled": FLAG,
    "knn_eval.k": _COUNT,
    "knn_eval.distance_func": one_of("euclidean", "cosine"),
    "evaluation.dataset": PATH_TEXT | NULL,
    "evaluation.score": FLAG,
    "checkpoint.enabled": FLAG,
    "checkpoint.dir": PATH_TEXT,
    "checkpoint.frequency": _COUNT,
    "checkpoint.keep_prev": FLAG,
    "resume_from_checkpoint": PATH_TEXT | NULL,
    "auto_resume.enabled": FLAG,
    "wandb.enabled": FLAG,
    "wandb.entity": TEXT | NULL,
    "wandb.project": TEXT | NULL,
    "wandb.offline": FLAG,
    "max_epochs": whole(1, 10**6),
    "accelerator": TEXT,
    "devices": TEXT | whole(-1) | list_of(whole(0), "[0, 1]"),
    "num_nodes": whole(1, 10**6),
    "strategy": TEXT,
    "precision": TEXT | one_of(16, 32, 64),
    "accumulate_grad_batches": _COUNT,
    "sync_batchnorm": FLAG,
    "performance.disable_channel_last": FLAG,
    "performance.compact_convolutions": FLAG,
    "dali.device": TEXT,
    "debug_augmentations": FLAG,
}

TRAINER: Rules = {
    "fast_dev_run": FLAG | whole(0),
    "max_steps": whole(-1),
    "min_epochs": whole(0) | NULL,
    "min_steps": whole(0) | NULL,
    "max_time": TEXT | SECTION | NULL,
    "limit_train_batches": _SHARE | NULL,
    "limit_val_batches": _SHARE | NULL,
    "overfit_batches": _SHARE,
    "val_check_interval": _SHARE | NULL,
    "check_val_every_n_epoch": _COUNT | NULL,
    "num_sanity_val_steps": whole(-1) | NULL,
    "log_every_n_steps": whole(0) | NULL,
    "enable_progress_bar": FLAG | NULL,
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

_MEASURED: Rules = {
    "dataset": PATH | NULL,
    "tasks": _NAMES | NULL,
    "protocols": _PROTOCOLS,
    "subspaces": _PROTOCOLS,
    "output": PATH | NULL,
    "report": FLAG,
    "num_workers": whole(0, 1024),
    "device": one_of("auto", "cpu", "cuda"),
}

EVALUATION: Rules = {
    **_MEASURED,
    "checkpoint": PATH,
    "config": PATH | NULL,
    "combinations": _NAMES,
    "epochs": SECTION,
    "epochs.lightning-linear": _COUNT,
    "epochs.finetune": _COUNT,
    "unmirrored": _NAMES,
    "backbone": SECTION,
    "backbone.name": TEXT | NULL,
    "backbone.kwargs": SECTION,
    "view": SECTION,
    "view.crop_size": whole(1, 4096) | NULL,
    "view.mean": list_of(number(0, 1), "[0.5, 0.5, 0.5]", length=3) | NULL,
    "view.std": list_of(number(1e-6, 1), "[0.2, 0.2, 0.2]", length=3) | NULL,
    "view.exif_orientation": FLAG | NULL,
    "view.bit_depth": whole(8, 32) | NULL,
    "cache": PATH | NULL | one_of(False),
    "overwrite": FLAG,
    "seed": _SEED,
    "batch_size": whole(1, 1 << 20),
}

COMPARISON: Rules = {
    **_MEASURED,
    "methods": list_of(FILE_NAME, "[a, b]"),
    "seeds": list_of(_SEED, "[0, 1]"),
    "ours": TEXT,
    "recipes": PATH | NULL,
    "overrides": SECTION | NULL,
    "search": SECTION | NULL,
    "protocols": _NAMES,
    "metric": TEXT,
    "output": PATH,
    "evaluation_seed": _SEED,
    "variants": SECTION,
}


def check_all(values: Mapping[str, Any], rules: Rules) -> None:
    """Check every key that there is a rule for and that is given, unless as missing (``???``).

    Args:
        values: plain values, nested; a rule's key has a dot for each level.
        rules: what they must be.

    Raises:
        ConfigurationError: naming the first key that the rule of does not hold.
    """
    for key, rule in rules.items():
        found: Any = values
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                break
            found = found[part]
        else:
            if found != "???":
                rule.check(key, found)
