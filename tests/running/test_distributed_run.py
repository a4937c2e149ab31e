"""A whole run of two processes that torchrun started, as on a cluster's node."""

import csv
import sys
from pathlib import Path

import pytest

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.pretrain import pretrain

from ..launch import launch

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main_pretrain.py"


@pytest.fixture(scope="module")
def finished(cut_down, tmp_path_factory):
    """The run's folder and what both processes printed."""
    place = tmp_path_factory.mktemp("torchrun")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    options = ["max_epochs=1", "accelerator=cpu", "devices=2", "strategy=ddp"]
    command = [*torchrun, str(MAIN), "--config-name", "mast.yaml", *cut_down, *options]
    (printed,) = launch([command], place)
    (folder,) = (place / "trained_models" / "mast").iterdir()
    return folder, printed


def test_two_processes_train_together_into_one_folder(finished):
    folder, printed = finished
    assert "Starting with 2 processes" in printed
    assert len(list(folder.glob("*ep=0.ckpt"))) == 1
    with (folder / "cost.csv").open() as file:
        (epoch,) = csv.DictReader(file)
    assert epoch["images"] == "16"  # of 24, two batches of eight make one step


def test_nobody_is_advised_to_exchange_what_is_joined_already(finished):
    assert "sync_dist=True" not in finished[1]


def test_one_process_says_where_everything_is(finished):
    folder, printed = finished
    assert printed.count(f"{folder.name} holds ") == 1


# --- what two processes cannot do, said before the second is started ------------------------------

TWO = ("accelerator=cpu", "devices=2", "strategy=ddp")


def test_fewer_images_for_each_process_than_a_batch_are_refused(small):
    with pytest.raises(DataError, match="12 images for each of 2 processes, fewer"):
        pretrain(small("mast", *TWO, "optimizer.batch_size=13"))


def test_torch_s_synchronised_batch_norm_is_refused_on_cpus(small):
    with pytest.raises(ConfigurationError, match="2 processes would train on CPUs"):
        pretrain(small("mast", *TWO, "sync_batchnorm=true"))
