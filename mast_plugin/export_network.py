"""A checkpoint for other programs: ``mast-export`` and ``main_export.py``."""

import hydra
from omegaconf import DictConfig

from mast_plugin.deployment.exported import Exported, export
from mast_plugin.registration import register_resolvers
from mast_plugin.running.command import answer, spare_the_cores
from mast_plugin.setting.composition import guarded
from mast_plugin.setting.shipped import shipped_directory

__all__ = ["Exported", "export", "main"]


def main() -> None:
    """Run the command line."""
    spare_the_cores()
    register_resolvers()
    with guarded("mast-export"):
        _hydra_main()


@hydra.main(version_base="1.2", config_path=str(shipped_directory("embed")), config_name="export")
def _hydra_main(cfg: DictConfig) -> None:
    answer("mast-export", lambda: export(cfg))


if __name__ == "__main__":
    main()
