"""The transfer study: pretrains what study.yaml lists and scores it on sets nobody prepared.

    python benchmarks/transfer/study.py DATA WORK [--stages NAME ...] [--budget MINUTES]

DATA holds a folder for every set, WORK gets the runs, each under its whole configuration: a study
that was stopped, however it was, goes on where it was. One run at a time. Each stage is written to
results/NAME.json after every run.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--stages", nargs="+", default=["prototype"])
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of a stage's own")
    parser.add_argument("--methods", nargs="+", help="likewise")
    parser.add_argument("--sets", nargs="+", help="likewise, of the downstream sets")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--budget", type=float, help="minutes after which no run is started")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="of every run, such as max_epochs=1",
    )
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    # Torch reads these when it is imported, here and in the processes that pretrain.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    from mast_plugin.running.command import answer, spare_the_cores

    spare_the_cores()
    answer("study.py", lambda: _run(options))


def _run(options: argparse.Namespace) -> str:
    """Every stage, until the budget is spent."""
    from benchmarks.transfer import campaign, record
    from benchmarks.transfer.stage import Stage, read_study
    from mast_plugin.errors import ConfigurationError
    from mast_plugin.registration import register_resolvers

    register_resolvers()
    study = read_study()
    budget = campaign.Budget(options.budget)
    for name in options.stages:
        if name not in study["stages"]:
            raise ConfigurationError(
                f"there is no stage {name}; there are {', '.join(study['stages'])}"
            )
        part = study["stages"][name]
        search = record.read(options.results / f"{part.get('chosen')}.json")
        stage = Stage(
            name,
            study,
            options.data.absolute(),
            options.work.absolute(),
            options.seeds or part["seeds"],
            options.methods or part["methods"],
            options.sets or study["sets"],
            {"precision": options.precision, **_overrides(options.set)},
            search.get("chosen", {}),
        )
        try:
            campaign.Campaign(stage, budget, options.results).run()
        except campaign.BudgetSpentError as spent:
            return str(spent)
    return f"finished: {', '.join(options.stages)}"


def _overrides(given: list[str]) -> dict[str, Any]:
    pairs = (each.partition("=") for each in given)
    return {key: yaml.safe_load(value) for key, _, value in pairs}


if __name__ == "__main__":
    main()
