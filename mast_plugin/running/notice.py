"""What a configuration holds that will not do what it seems to, said before the training."""

from omegaconf import DictConfig


def notices(cfg: DictConfig, *, validates: bool) -> str:
    """Lines on options that change nothing, or less than they say.

    Args:
        cfg: resolved configuration.
        validates: whether there are validation images.
    """
    lines = []
    schedule = cfg.scheduler
    if schedule.name == "warmup_cosine" and schedule.warmup_epochs > cfg.max_epochs:
        lines.append(
            "the rate never reaches optimizer.lr, as scheduler.warmup_epochs="
            f"{schedule.warmup_epochs} is more than max_epochs={cfg.max_epochs}"
        )
    if cfg.knn_eval.enabled and not validates:
        lines.append("knn_eval changes nothing without labelled validation images (data.val_path)")
    return "\n".join(lines)
