"""What a finished run is worth: accuracies of its backbone, each measured once and kept."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mast_plugin.comparison.trial import Trial
from mast_plugin.evaluation.labels.labelled_folder import read_labelled
from mast_plugin.evaluation.measurement import Measurement, read
from mast_plugin.evaluation.protocols.fewshot import few_shot_measurements
from mast_plugin.evaluation.protocols.registry import Context, definitions
from mast_plugin.files.storage import write_whole
from mast_plugin.running.run import write_json

SPACE = "backbone"
OWN = "own"
Scores = dict[str, dict[str, float]]
"""Task to protocol to top-1 accuracy in %."""


def usable(folder: Path, work: Path) -> Path:
    """A set that ``mast_plugin.evaluation`` can read: mostly the folder itself.

    A ``labels.csv`` without a column ``split`` gets one in ``work``, from the folder that each
    image lies in; the images are linked.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        return folder
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if "split" in rows[0]:
        return folder
    place = work / "sets" / folder.name
    place.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "split": row["file"].partition("/")[0]} for row in rows]
    for split in {row["split"] for row in rows}:
        link = place / split
        if not link.is_symlink():
            link.symlink_to(folder / split)
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    write_whole(place / "labels.csv", "".join(f"{','.join(line)}\n" for line in lines))
    return place


def set_scores(
    trial: Trial, images: Path, name: str, protocols: Sequence[str], checkpoint: Path | None = None
) -> Scores:
    """Accuracies on a set.

    Args:
        trial: a finished run.
        images: the set, see :func:`usable`.
        name: of the folder that keeps the numbers, beside the run.
        protocols: of ``main_evaluate.py``.
        checkpoint: of an epoch; by default the last.
    """
    folder = place(trial, name, checkpoint)
    return top1(
        _kept(folder, protocols) or _evaluated(trial, images, folder, protocols, checkpoint)[0]
    )


def own_scores(
    trial: Trial, images: Path, protocols: Sequence[str], shares: Mapping[str, float]
) -> Scores:
    """Accuracies on the pretraining set, all labels and a share of them.

    Args:
        trial: a finished run.
        images: the pretraining set.
        protocols: of ``main_evaluate.py``.
        shares: name to share of the labels, in (0, 1].
    """
    folder = place(trial, OWN)
    kept, few = _kept(folder, protocols), folder / "shares.json"
    if kept is None or not few.is_file():
        kept, context = _evaluated(trial, images, folder, protocols)
        write_json(few, _of_shares(context, shares))
    scores = top1(kept)
    for task, found in json.loads(few.read_text(encoding="utf-8")).items():
        scores[task] |= found
    return scores


def validation_score(
    trial: Trial, images: Path, name: str = "validation", protocols: Sequence[str] = ("knn",)
) -> float:
    """The k-NN's accuracy in % on a fifth of the training images, mean over tasks.

    Args:
        trial: a finished run.
        images: the pretraining set; its test images are scored by the way and not looked at.
        name: of the folder that keeps the numbers.
        protocols: what is measured there; the k-NN is among it.
    """
    folder = place(trial, name)
    rows = _kept(folder, protocols) or _evaluated(trial, images, folder, protocols)[0]
    found = [
        row.chosen["validation_top1"]
        for row in rows
        if (row.space, row.protocol, row.metric) == (SPACE, "knn", "top1")
    ]
    return round(fmean(found), 2)


def place(trial: Trial, name: str, checkpoint: Path | None = None) -> Path:
    """The folder that keeps what was measured of a run on a set."""
    return trial.folder / "transfer" / (checkpoint.stem if checkpoint else "") / name


def scored_with(trial: Trial) -> dict[str, Any]:
    """Versions and hardware of what was measured on the pretraining set."""
    for name in (OWN, "validation"):
        if (file := place(trial, name) / "evaluation.json").is_file():
            header, _ = read(file)
            return {key: header[key] for key in ("versions", "hardware")}
    return {}


def top1(rows: Sequence[Measurement]) -> Scores:
    """The backbone's top-1 accuracies, to two decimals."""
    scores: Scores = {}
    for row in rows:
        if (row.space, row.metric) == (SPACE, "top1"):
            scores.setdefault(row.subject, {})[row.protocol] = round(row.value, 2)
    return scores


def labels_per_class(labels: int, classes: int, share: float) -> int:
    """How many labels of every class a share of all is; at least one."""
    return max(1, round(share * labels / classes))


def _of_shares(context: Context, shares: Mapping[str, float]) -> Scores:
    found: Scores = {}
    for task in context.table.tasks:
        train, test = task.of_train(context.train), task.of_val(context.test)
        counts = {
            name: labels_per_class(len(task.train), len(task.classes), share)
            for name, share in shares.items()
        }
        rows = few_shot_measurements(
            SPACE, task.name, train, task.train, test, task.val, shots=tuple(counts.values())
        )
        values = top1(rows)[task.name]
        found[task.name] = {name: values[f"few-shot-{count}"] for name, count in counts.items()}
    return found


def _kept(folder: Path, protocols: Sequence[str]) -> list[Measurement] | None:
    """What was measured before, by the same protocols; a run's folder never changes its run."""
    file = folder / "evaluation.json"
    if not file.is_file():
        return None
    header, rows = read(file)
    same = header["definitions"] == json.loads(json.dumps(definitions(protocols)))
    return rows if same else None


def _evaluated(
    trial: Trial,
    images: Path,
    folder: Path,
    protocols: Sequence[str],
    checkpoint: Path | None = None,
) -> tuple[list[Measurement], Context]:
    options = {
        "protocols": list(protocols),
        "subspaces": [],
        "dataset": str(images),
        "output": str(folder),
        "cache": False,
        "num_workers": 1,
    }
    if checkpoint:
        options["checkpoint"] = str(checkpoint)
    evaluated = trial.evaluate(options)
    assert evaluated.context is not None
    return list(evaluated.rows), evaluated.context


def check_sets(folders: Sequence[Path]) -> None:
    """Read the labels of every set, so that a mistake costs no training.

    Raises:
        DataError: a set cannot be used.
    """
    for folder in folders:
        read_labelled(folder)
