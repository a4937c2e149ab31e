import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from mast_plugin.loading.dataset import embedded_dataset
from mast_plugin.loading.scene import Specification
from mast_plugin.registration import register_resolvers
from mast_plugin.setting.shipped import shipped_directory

# The tests' images and networks are tiny: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHECKOUT = Path(__file__).parents[1]

_SLOW_FIXTURES = {"host", "trained"}
"""Who asks for one of these imports solo-learn and its engine, or trains."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ``make quick`` leaves out; others say so by themselves."""
    for item in items:
        if _SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of eight noisy images, 20 x 24 px."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (root / name).mkdir()
        for index in range(8):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def cut_down(image_folder: Path) -> list[str]:
    """Overrides that make any shipped configuration two small steps an epoch on those images."""
    return [
        f"data.train_path={image_folder}",
        "evaluation.dataset=null",
        "optimizer.batch_size=8",
        "log_every_n_steps=1",
        "data.num_workers=0",
        "method_kwargs.proj_hidden_dim=16",
        "method_kwargs.proj_output_dim=24",
        "+limit_train_batches=2",
        "enable_progress_bar=false",
    ]


@pytest.fixture
def small(cut_down: list[str], tmp_path: Path):
    """Compose a shipped configuration, cut down to two steps on the image folder."""

    def compose_small(name: str = "mast", *overrides: str) -> DictConfig:
        register_resolvers()
        with initialize_config_dir(str(shipped_directory()), version_base="1.2"):
            return compose(
                name,
                overrides=[
                    *cut_down,
                    f"checkpoint.dir={tmp_path / 'runs'}",
                    "max_epochs=1",
                    "+enable_model_summary=false",
                    *overrides,
                ],
            )

    return compose_small


@pytest.fixture(scope="session")
def host():
    """The installed solo-learn, with MAST registered."""
    from mast_plugin import register
    from mast_plugin.host import load_host

    with warnings.catch_warnings():
        # torchmetrics and the engines deprecate parts of each other while they are imported.
        warnings.simplefilter("ignore")
        register()
        return load_host()


@pytest.fixture(scope="session")
def trained(cut_down, host, tmp_path_factory):
    """Two steps of a method; returns the folder of its run. A method is trained once."""
    folders: dict[str, Path] = {}

    def run(name: str, *overrides: str) -> Path:
        key = " ".join((name, *overrides))
        if key not in folders:
            from mast_plugin.pretrain import pretrain

            register_resolvers()
            place = f"checkpoint.dir={tmp_path_factory.mktemp('runs')}"
            fixed = [*cut_down, place, "max_epochs=1", "+enable_model_summary=false"]
            fixed += ["data.check=false", "optimizer.name=sgd", "~optimizer.kwargs.fused"]
            with (
                initialize_config_dir(str(shipped_directory()), version_base="1.2"),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")  # the engine's, of a whole run
                folders[key] = pretrain(compose(name, overrides=[*fixed, *overrides])).folder
        return folders[key]

    return run


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> Path:
    """A small table of digits."""
    specification = Specification(train=160, val=60)
    return Path(
        embedded_dataset(root=tmp_path_factory.mktemp("cache"), specification=specification)
    )


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of its own; its size in MiB is given, again if it is to change."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size: int, *, again: bool = False) -> Path:
        options = f"{'remount,' * again}size={size}m"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("file systems cannot be mounted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)
