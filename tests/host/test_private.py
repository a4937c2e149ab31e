"""What is used of other projects without being promised by them; each test says what has moved.

setup.cfg bounds the versions. Before a bound is raised, these must pass.
"""

import ast
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from mast_plugin.host import host_kind
from mast_plugin.running.resumption import _RESTORING


def test_hydras_loader_composes_where_our_guard_stands():
    """setting/composition.py wraps it, as Hydra has no hook there."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    parameters = list(inspect.signature(ConfigLoaderImpl.load_configuration).parameters)
    assert parameters[:3] == ["self", "config_name", "overrides"], version("hydra-core")
    assert "self.repository" in inspect.getsource(ConfigLoaderImpl), version("hydra-core")


def test_hydras_files_are_a_source_that_can_be_narrowed():
    """hydra_plugins/mast_searchpath derives from it."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource

    assert list(inspect.signature(FileConfigSource.is_config).parameters) == ["self", "config_path"]
    assert FileConfigSource.scheme() == "file"


def test_hydras_scripts_are_run_from_the_module_we_are_named_by():
    """The search path plugin tells our own command by the folder that Hydra makes up for it."""
    source = inspect.getsource(importlib.import_module("hydra._internal.utils"))
    assert "pkg://" in source, version("hydra-core")


def test_the_engine_restores_by_functions_of_the_known_names(host):
    """running/resumption.py tells a checkpoint that does not fit by them."""
    folder = Path(host.engine.__file__).parent
    (file,) = folder.rglob("checkpoint_connector.py")
    names = [
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    restoring = [name for name in names if name.startswith(_RESTORING)]
    assert {"restore_model", "restore_optimizers", "restore_lr_schedulers"} <= set(restoring), names


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning"
)  # of lightning-bolts
@pytest.mark.filterwarnings("ignore:The feature")
def test_the_hosts_schedule_says_a_rate_in_closed_form(host):
    """host/schedule.py stretches a run's schedule by it."""
    home = {"mainline": "solo.utils.lr_scheduler", "release": "pl_bolts.optimizers.lr_scheduler"}
    kind = importlib.import_module(home[host_kind()]).LinearWarmupCosineAnnealingLR
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = kind(optimizer, warmup_epochs=2, max_epochs=10)
    assert len(schedule._get_closed_form_lr()) == len(schedule._last_lr) == 1


@pytest.mark.skipif(host_kind() != "mainline", reason="the release's are replaced another way")
def test_the_main_branch_names_its_optimizers_in_a_dictionary(host):
    """host/mainline.py puts our LARS among them."""
    assert "lars" in host.Method._OPTIMIZERS
