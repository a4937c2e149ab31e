"""Vectors of images, by a checkpoint: ``mast-embed`` and ``main_embed.py``."""

import hydra
from omegaconf import DictConfig

from mast_plugin.deployment.embedded_file import Written, embed_to_file
from mast_plugin.registration import register_resolvers
from mast_plugin.running.command import answer, spare_the_cores
from mast_plugin.setting.composition import guarded
from mast_plugin.setting.shipped import shipped_directory

__all__ = ["Written", "embed_to_file", "main"]


def main() -> None:
    """Run the command line."""
    spare_the_cores()
    register_resolvers()
    with guarded("mast-embed"):
        _hydra_main()


@hydra.main(version_base="1.2", config_path=str(shipped_directory("embed")), config_name="embed")
def _hydra_main(cfg: DictConfig) -> None:
    answer("mast-embed", lambda: embed_to_file(cfg))


if __name__ == "__main__":
    main()
