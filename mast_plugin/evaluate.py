"""Evaluating a checkpoint: ``mast-evaluate`` and ``main_evaluate.py``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from mast_plugin.evaluation.evaluated import Evaluated, checked, evaluate
from mast_plugin.files.storage import full_disk_explained
from mast_plugin.registration import register_resolvers
from mast_plugin.running.command import answer, spare_the_cores
from mast_plugin.setting.composition import guarded
from mast_plugin.setting.shipped import shipped_directory

__all__ = ["Evaluated", "checked", "evaluate", "evaluate_and_report", "main"]


def main() -> None:
    """Run the command line."""
    spare_the_cores()
    register_resolvers()
    with guarded("mast-evaluate"):
        _hydra_main()


@hydra.main(
    version_base="1.2", config_path=str(shipped_directory("evaluate")), config_name="evaluate"
)
def _hydra_main(cfg: DictConfig) -> None:
    answer("mast-evaluate", lambda: evaluate_and_report(cfg))


def evaluate_and_report(cfg: DictConfig) -> Evaluated:
    """Evaluate a checkpoint and, with ``report=true``, write ``report.html`` beside the numbers.

    Args:
        cfg: the keys of ``scripts/evaluate/evaluate.yaml``; it is left as it is.

    Raises:
        MASTError: see :func:`~mast_plugin.evaluation.evaluated.evaluate`.
    """
    cfg = checked(cfg)
    evaluated = evaluate(cfg)
    if cfg.report:
        from mast_plugin.report.run_report import report_run

        with full_disk_explained(evaluated.folder):
            report_run(Path(cfg.checkpoint).parent, evaluated)
    return evaluated


if __name__ == "__main__":
    main()
