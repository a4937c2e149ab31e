"""A checkpoint evaluated: every protocol on every representation, measured once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from mast_plugin.errors import ConfigurationError
from mast_plugin.files.storage import full_disk_explained
from mast_plugin.running.progress import describe, progress
from mast_plugin.setting.configuration import evaluation_options, plain

if TYPE_CHECKING:
    from mast_plugin.evaluation.measurement import Measurement
    from mast_plugin.evaluation.network.opening import Network
    from mast_plugin.evaluation.protocols.registry import Context


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation ends with.

    Attributes:
        folder: ``evaluation.json`` and ``evaluation.csv``.
        header: what the rows have in common.
        rows: the measurements.
        context: the network and its features, for what is computed from them afterwards.
    """

    folder: Path
    header: Mapping[str, Any]
    rows: "Sequence[Measurement]"
    context: "Context | None" = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        """The tables, and where everything is."""
        from mast_plugin.evaluation.text_table import table

        whole = [row for row in self.rows if not row.space.startswith("subspace")]
        note = "" if len(whole) == len(self.rows) else "\nThe subspaces stand in the files alone.\n"
        files = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        return f"\n{table(whole)}\n{note}\n{self.folder} holds {files}"


def evaluate(cfg: DictConfig) -> Evaluated:
    """Evaluate a checkpoint as a configuration says; what was measured before is read again.

    Args:
        cfg: the keys of ``scripts/evaluate/evaluate.yaml``; it is left as it is. ``report`` is for
            :func:`mast_plugin.evaluate.evaluate_and_report`, nothing is drawn here.

    Raises:
        MASTError: anything that keeps the evaluation from starting, before it takes any time.
    """
    cfg = checked(cfg)
    from mast_plugin.evaluation.network.opening import open_network

    network = open_network(
        Path(cfg.checkpoint),
        backbone_name=cfg.backbone.name,
        backbone_kwargs=plain(cfg.backbone.kwargs),
        config=cfg.config and Path(cfg.config),
    )
    folder = _folder(cfg)
    with full_disk_explained(folder):
        return _evaluated(cfg, network, folder)


def _evaluated(cfg: DictConfig, network: "Network", folder: Path) -> Evaluated:
    """The whole work, of an opened network."""
    from mast_plugin.evaluation.header import describe
    from mast_plugin.evaluation.measurement import read, write

    context, seconds = _context(cfg, network, folder)
    header = describe(plain(cfg), context, _dataset(cfg, network))
    found = folder / "evaluation.json"
    if found.is_file() and not cfg.overwrite:
        kept, rows = read(found)
        if kept.get("digest") == header["digest"]:
            return Evaluated(folder, kept, rows, context)
    rows = _measure(context, cfg.protocols, seconds)
    header |= {"seconds": {name: round(value, 2) for name, value in seconds.items()}}
    write(folder / "evaluation", header, rows)
    return Evaluated(folder, header, rows, context)


def checked(cfg: DictConfig) -> DictConfig:
    """A copy with every default, refused where a key or a protocol is unknown."""
    from mast_plugin.evaluation.protocols.registry import PROTOCOLS

    options = evaluation_options(cfg, "evaluate")
    if not options["checkpoint"]:
        raise ConfigurationError("checkpoint is missing: give it as checkpoint=PATH")
    for key in ("protocols", "subspaces"):
        wanted = list(PROTOCOLS) if options[key] == "all" else options[key]
        wanted = [wanted] if isinstance(wanted, str) else wanted
        if unknown := sorted(set(wanted) - set(PROTOCOLS)):
            raise ConfigurationError(
                f"{key} names {unknown[0]!r}; there are {', '.join(PROTOCOLS)}, and all"
            )
        options[key] = [name for name in PROTOCOLS if name in wanted]
    return OmegaConf.create(options)


def _folder(cfg: DictConfig) -> Path:
    checkpoint = Path(cfg.checkpoint)
    return Path(cfg.output or checkpoint.with_name(f"{checkpoint.stem}-evaluation"))


def _context(
    cfg: DictConfig, network: "Network", folder: Path
) -> "tuple[Context, dict[str, float]]":
    """Everything that the protocols need, features included; and the seconds that these took."""
    import torch

    from mast_plugin.evaluation.device import chosen_device
    from mast_plugin.evaluation.features.representation import representations
    from mast_plugin.evaluation.features.store import FeatureStore
    from mast_plugin.evaluation.labels.labelled_folder import read_labelled
    from mast_plugin.evaluation.protocols.registry import Context

    spaces = representations(network, plain(cfg.combinations))
    table = read_labelled(_dataset(cfg, network), cfg.tasks and plain(cfg.tasks))
    statistics = _statistics(cfg, network)
    device = chosen_device(cfg.device)
    cache = None if cfg.cache is False else Path(cfg.cache or folder / "features")
    store = FeatureStore(cache, cfg.batch_size, device, cfg.num_workers)
    start = time.perf_counter()
    train, test = (
        store.features(network.backbone, network.sha256, files, statistics)
        for files in (table.train_files, table.val_files)
    )
    seconds = {"features": time.perf_counter() - start}
    if network.projector is not None:
        network.projector.cpu()
    context = Context(
        network,
        table,
        spaces,
        statistics,
        train,
        test,
        torch.device(device),
        batch_size=cfg.batch_size,
        workers=cfg.num_workers,
        unmirrored=plain(cfg.unmirrored),
        masked=plain(cfg.subspaces),
        epochs=plain(cfg.epochs),
        seed=cfg.seed,
    )
    return context, seconds


def _measure(
    context: "Context", protocols: Sequence[str], seconds: dict[str, float]
) -> "list[Measurement]":
    from mast_plugin.evaluation.protocols.registry import steps

    rows: list[Measurement] = []
    work = list(steps(context, protocols))
    bar = progress(work)
    for name, step in bar:
        describe(bar, name)
        start = time.perf_counter()
        rows += step()
        protocol = name.partition(" ")[0]
        seconds[protocol] = seconds.get(protocol, 0.0) + time.perf_counter() - start
    return rows


def _dataset(cfg: DictConfig, network: "Network") -> Path:
    if cfg.dataset:
        return Path(cfg.dataset)
    section = (network.cfg or {}).get("evaluation")
    stored = section.get("dataset") if isinstance(section, Mapping) else None
    if not isinstance(stored, str) or not stored or not Path(stored).is_dir():
        raise ConfigurationError(
            "dataset is missing, and the run names none that is there: give dataset=FOLDER with "
            "labels.csv, or with folders train and val of a folder for every class"
        )
    return Path(stored)


def _statistics(cfg: DictConfig, network: "Network") -> Any:
    from mast_plugin.evaluation.features.view import ViewStatistics

    return ViewStatistics.of(network, plain(cfg.view))
