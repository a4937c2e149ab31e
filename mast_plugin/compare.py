"""Comparing methods under one protocol: ``mast-compare`` and ``main_compare.py``."""

import hydra
from omegaconf import DictConfig

from mast_plugin.comparison.compared import Compared, compare
from mast_plugin.comparison.preparation import complete
from mast_plugin.files.storage import full_disk_explained
from mast_plugin.registration import register_resolvers
from mast_plugin.running.command import answer, spare_the_cores
from mast_plugin.setting.composition import guarded
from mast_plugin.setting.shipped import shipped_directory

__all__ = ["Compared", "compare", "compare_and_report", "main"]


def main() -> None:
    """Run the command line."""
    spare_the_cores()
    register_resolvers()
    with guarded("mast-compare"):
        _hydra_main()


@hydra.main(
    version_base="1.2", config_path=str(shipped_directory("evaluate")), config_name="compare"
)
def _hydra_main(cfg: DictConfig) -> None:
    answer("mast-compare", lambda: compare_and_report(cfg))


def compare_and_report(cfg: DictConfig) -> Compared:
    """Compare methods and, with ``report=true``, write ``report.html`` beside the tables.

    Args:
        cfg: the keys of ``scripts/evaluate/compare.yaml``; it is left as it is.

    Raises:
        MASTError: see :func:`~mast_plugin.comparison.compared.compare`.
    """
    compared = compare(cfg)
    if complete(cfg).report:
        from mast_plugin.report.comparison_report import report_comparison

        with full_disk_explained(compared.folder):
            report_comparison(compared)
    return compared


if __name__ == "__main__":
    main()
