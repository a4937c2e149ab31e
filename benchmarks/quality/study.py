"""The quality study: pretrains and evaluates what study.yaml lists, stage by stage.

    python benchmarks/quality/study.py IMAGES WORK [--stages NAME ...] [--seeds N ...]

IMAGES is the folder that cifar.py wrote; WORK gets the runs, each under its whole configuration, so
that a stopped study goes on where it was, and stages share what they have in common. Each finished
stage is written to benchmarks/quality/results/NAME.json: its configuration, the complete one and
the cost of every method, and a line with the accuracies of every run.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mast_plugin.compare import compare
from mast_plugin.files.storage import write_whole
from mast_plugin.registration import register_resolvers
from mast_plugin.running.command import spare_the_cores
from mast_plugin.setting.configuration import plain

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def main() -> None:
    """Read the command line."""
    study = plain(OmegaConf.load(HERE / "study.yaml"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--stages", nargs="+", choices=study["stages"], default=study["stages"])
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of a stage's own")
    parser.add_argument("--methods", nargs="+", help="of the stage's; mast must be among them")
    parser.add_argument("--no-search", action="store_true", help="the recipes' own learning rates")
    options = parser.parse_args()
    spare_the_cores()
    register_resolvers()
    for name in options.stages:
        print(f"stage {name}", flush=True)
        cfg = configuration(study, name, options.images.absolute(), options.work.absolute())
        cfg |= {key: given for key in ("seeds", "methods") if (given := getattr(options, key))}
        if options.no_search:
            cfg["search"] = None
        compared = compare(OmegaConf.create(cfg))
        print(compared, flush=True)
        places = {options.images: "IMAGES", options.work: "WORK", Path.home(): "~"}
        content = portable(condensed(result(compared.folder)), places)
        write_whole(RESULTS / f"{name}.json", in_lines(content))


def configuration(study: dict[str, Any], name: str, images: Path, work: Path) -> dict[str, Any]:
    """The comparison that a stage is."""
    stage = {**study["common"], **study["stages"][name]}
    own: dict[str, Any] = {"variants": variants(study), "output": str(work), "report": False}
    if stage.pop("set") == "cifar":
        own["recipes"] = str(HERE / "recipes")
        own["dataset"] = str(images / "tasks")
        stage["overrides"] = {"data.train_path": str(images / "train"), **stage["overrides"]}
    return {**stage, **own}


def variants(study: dict[str, Any]) -> dict[str, Any]:
    """The study's own, and VICReg, its routed control and MAST at every strength and lightness."""
    found = dict(study["variants"])
    light = {"method_kwargs.sim_loss_weight": study["lightness"]["light"]}
    control = {
        "method_kwargs.masks": "none",
        "method_kwargs.uncertainty": False,
        "method_kwargs.equivariance_weight": 0.0,
    }
    found["vicreg15"] = {"recipe": "vicreg15", "overrides": light}
    found["vicreg-routed15"] = {"recipe": "mast15", "overrides": control}
    for level, (smallest, change, saturation, hue) in study["strengths"].items():
        views = {
            "augmentations.0.crop.min_scale": smallest,
            "augmentations.0.color_jitter.brightness": change,
            "augmentations.0.color_jitter.contrast": change,
            "augmentations.0.color_jitter.saturation": saturation,
            "augmentations.0.color_jitter.hue": hue,
        }
        found |= {
            f"vicreg-{level}": {"recipe": "vicreg", "overrides": {**views, **light}},
            f"vicreg-routed-{level}": {"recipe": "mast", "overrides": {**views, **control}},
            f"mast-{level}": {"recipe": "mast", "overrides": views},
        }
    for level, weight in study["lightness"].items():
        theirs = {"method_kwargs.sim_loss_weight": weight}
        found[f"vicreg-{level}"] = {"recipe": "vicreg", "overrides": theirs}
        ours = {"method_kwargs.invariance_weight": weight}
        found[f"mast-{level}"] = {"recipe": "mast", "overrides": ours}
    return found


def result(folder: Path) -> dict[str, Any]:
    """What a comparison wrote: its JSON file, and every run's accuracies beside the run."""
    content: dict[str, Any] = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    found: dict[tuple[str, str], dict[str, float]] = {}
    with (folder / "comparison.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] == "top1":
                key = f"{row['space']} {row['protocol']} {row['subject']}"
                found.setdefault((row["method"], row["seed"]), {})[key] = float(row["value"])
    for run in content["runs"]:
        run["top1"] = found[run["method"], str(run["seed"])]
    return content


def condensed(content: dict[str, Any]) -> dict[str, Any]:
    """Each thing once: per method what its seeds share, per run an accuracy (%) per ``measured``.

    The tables that a comparison writes are left out: they follow from the accuracies.
    """
    cfg, runs = content["configuration"], content["runs"]
    known = {name: each for name, each in cfg["variants"].items() if name in cfg["methods"]}
    measured = list(runs[0]["top1"])
    unshared = ("seed", "checkpoint")
    return {
        "configuration": {**cfg, "variants": known},
        "search": content["search"],
        "costs": content["costs"],
        "versions": runs[0]["versions"],
        "hardware": runs[0]["hardware"],
        "methods": {
            run["method"]: {k: v for k, v in run["configuration"].items() if k not in unshared}
            for run in runs
        },
        "measured": measured,
        "runs": [
            {
                **{key: run[key] for key in ("method", "seed", "sha256")},
                "top1": [run["top1"][key] for key in measured],
            }
            for run in runs
        ],
    }


def portable(content: dict[str, Any], places: dict[Path, str]) -> dict[str, Any]:
    """The content with names in place of this machine's folders, and six digits of each number."""
    text = json.dumps(content)
    for place, name in {**places, HERE.parents[1]: "."}.items():
        text = text.replace(str(place.absolute()), name)
    found: dict[str, Any] = json.loads(
        text, parse_float=lambda digits: float(f"{float(digits):.6g}")
    )
    return found


def in_lines(content: dict[str, Any]) -> str:
    """JSON with a line for each entry, and for each member of the entries that list many."""
    parts = []
    for key, value in content.items():
        text = json.dumps(value)
        if key == "runs":
            text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
        if key == "methods":
            lines = (f"{json.dumps(name)}: {json.dumps(each)}" for name, each in value.items())
            text = "{\n" + ",\n".join(lines) + "\n}"
        parts.append(f"{json.dumps(key)}: {text}")
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    main()
