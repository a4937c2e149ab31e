"""A long run: whether memory and open files level off, and what is left after its end and Ctrl-C.

A MAST pretraining on a part of the embedded dataset, with two loading processes and validation. At
the end of every epoch, the memory and the open files of all its processes are summed.

    python benchmarks/reliability/soak.py --epochs 200 --output soak.csv
"""

import argparse
import csv
import statistics
import sys
import time
from dataclasses import astuple, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from session import Session, Usage

WARM_UP = 0.2
"""Share of the epochs in which caches may still fill."""
GROWTH = 0.02
"""By how much memory may grow over the rest and still count as level, and files not at all."""
PATIENCE_S = 30.0


def overrides(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Cut the recipe down to seconds an epoch."""
    return [
        f"checkpoint.dir={folder}",
        f"data.fraction={arguments.fraction}",
        "data.val_path='${mast_dataset:val}'",
        f"data.num_workers={arguments.workers}",
        f"optimizer.batch_size={arguments.batch}",
        "evaluation.dataset=null",
        f"max_epochs={arguments.epochs}",
        "checkpoint.frequency=5",
        "check_val_every_n_epoch=5",
        "+limit_val_batches=2",
        "enable_progress_bar=false",
        "data.check=false",
    ]


def finished_epochs(folder: Path) -> int:
    """Count the lines of the run's record of costs, which grows with every epoch."""
    return max(
        (len(path.read_text().splitlines()) - 1 for path in folder.rglob("cost.csv")), default=0
    )


def sampled(session: Session, folder: Path) -> list[Usage]:
    """Measure at the end of every epoch until the run ends."""
    samples: list[Usage] = []
    while session.process.poll() is None:
        if finished_epochs(folder) > len(samples):
            samples.append(session.usage())
        time.sleep(0.02)
    if session.process.returncode:
        sys.exit(f"the run failed:\n{session.log.read_text()[-4000:]}")
    return samples


def growth(values: list[float]) -> float:
    """By what share of their median values grow from the first to the last, along a line."""
    slope = statistics.linear_regression(range(len(values)), values).slope
    return slope * (len(values) - 1) / statistics.median(values)


def judged(samples: list[Usage]) -> bool:
    """Print how memory and files went; returns whether both are level after the warm-up."""
    rest = samples[int(WARM_UP * len(samples)) :]
    growths = {
        "resident": growth([sample.resident_mib for sample in rest]),
        "own": growth([sample.own_mib for sample in rest]),
    }
    files = [sample.files for sample in rest]
    for number in sorted({0, len(samples) // 10, len(samples) // 2, len(samples) - 1}):
        sample = samples[number]
        print(
            f"epoch {number + 1:4}: {sample.resident_mib:7.1f} MiB resident, "
            f"{sample.own_mib:7.1f} own, {sample.files} files, {sample.processes} processes"
        )
    # A batch on its way from a loading process holds files for a moment, so the largest number is
    # a matter of luck; a leak raises the usual one.
    halves = files[: len(files) // 2], files[len(files) // 2 :]
    first, second = map(statistics.median_low, halves)
    listed = ", ".join(f"{name} {value:+.2%}" for name, value in growths.items())
    print(f"after epoch {len(samples) - len(rest)}, along a line: {listed}")
    highest, later = map(max, halves)
    print(f"open files in the halves of that: {first} and {second}, at most {highest} and {later}")
    return max(growths.values()) <= GROWTH and second <= first


def interrupted(arguments: argparse.Namespace, folder: Path) -> bool:
    """Press Ctrl-C in the third epoch; returns whether the run ended as it should."""
    session = Session(overrides(arguments, folder), folder / "log")
    try:
        while finished_epochs(folder) < 2 and session.process.poll() is None:
            time.sleep(0.02)
        session.interrupt()
        seconds = session.seconds_until_gone(PATIENCE_S)
    finally:
        session.end()
    status = session.process.returncode
    gone = "processes were left" if seconds is None else f"no process left after {seconds:.1f} s"
    print(f"Ctrl-C: status {status}, {gone}; {session.log.read_text().splitlines()[-1]}")
    return seconds is not None and status == 130


def main() -> None:
    """Run the command line; the exit status is 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--fraction", type=float, default=0.05, help="of the images")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, help="a table of all samples")
    arguments = parser.parse_args()
    with TemporaryDirectory() as place:
        whole, cut = Path(place) / "whole", Path(place) / "cut"
        whole.mkdir()
        cut.mkdir()
        began = time.monotonic()
        session = Session(overrides(arguments, whole), whole / "log")
        try:
            samples = sampled(session, whole)
            print(f"{len(samples)} epochs in {time.monotonic() - began:.0f} s")
            left = session.seconds_until_gone(PATIENCE_S)
        finally:
            session.end()
        good = [judged(samples), left is not None, interrupted(arguments, cut)]
    print(f"after the end: {'processes were left' if left is None else 'no process left'}")
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("epoch", *(field.name for field in fields(Usage))))
            writer.writerows((i + 1, *astuple(sample)) for i, sample in enumerate(samples))
    print("level, and nothing left behind" if all(good) else "NOT as it should be")
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
