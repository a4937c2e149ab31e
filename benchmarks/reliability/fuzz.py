"""Hostile input in numbers: how thousands of damaged files and configurations end.

``nice python benchmarks/reliability/fuzz.py --cases 20000 --seed 0`` prints a table of how many
cases of each kind ended in a result and how many in one of the project's own errors, and of any
other ending the command that runs that case alone. The status is 1 where there was one.
"""

import argparse
import contextlib
import faulthandler
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HELPERS = Path(__file__).resolve().parents[2] / "tests"
_MEMORY = 4 << 30
"""Bytes that a case may take beyond what the libraries took; more is an error of Python's own."""
_STUCK_S = 120
"""After which a case that not even a signal ends is given up, and the program with it."""


def main() -> int:
    """Run the command line."""
    options = _options()
    sys.path.insert(0, str(_HELPERS))
    from hostile.configuration import KINDS as CONFIGURATIONS
    from hostile.file import KINDS as FILES

    kinds = [kind for kind in (*CONFIGURATIONS, *FILES) if options.kind in (None, kind.name)]
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    whole = sum(kind.weight for kind in kinds)
    endings: Counter[tuple[str, str]] = Counter()
    failures, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place, _hardened(options.verbose):
        for kind in kinds:
            share = max(1, round(options.cases * kind.weight / whole))
            seeds = [options.case] if options.case is not None else _seeds(options.seed, share)
            for seed in seeds:
                ending = _ended(kind, seed, Path(place), failures)
                endings[kind.name, ending] += 1
            counts = {ending: endings[kind.name, ending] for ending in ("result", "refusal")}
            print(f"{kind.name}: {counts}, {time.perf_counter() - start:.0f} s", flush=True)
    _print_table(kinds, endings, failures, options)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="of the cases that are drawn")
    parser.add_argument("--kind", help="one kind alone, by its name in the table")
    parser.add_argument("--case", type=int, help="one case alone, by its number in a failure")
    parser.add_argument("--verbose", action="store_true", help="let libraries print")
    return parser.parse_args()


def _seeds(seed: int, count: int) -> range:
    return range(seed * 1_000_000, seed * 1_000_000 + count)


def _ended(kind: Any, seed: int, place: Path, failures: list[str]) -> str:
    from hostile.case import Failure, attempt

    faulthandler.dump_traceback_later(_STUCK_S, exit=True, file=sys.stdout)
    try:
        return attempt(kind, seed, place / "case")
    except Failure as failure:
        failures.append(str(failure))
        print(failure, flush=True)
        return "failure"
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _hardened(verbose: bool) -> Iterator[None]:
    """Bounded memory, crashes with a traceback, and the decoders' own complaints left out."""
    import torch  # noqa: F401  # its libraries count before the bound does

    faulthandler.enable(file=sys.stdout)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    taken = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY, resource.RLIM_INFINITY))
    errors = os.dup(2)
    if not verbose:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
    try:
        yield
    finally:
        os.dup2(errors, 2)


def _print_table(
    kinds: list[Any],
    endings: Counter[tuple[str, str]],
    failures: list[str],
    options: argparse.Namespace,
) -> None:
    names = ("result", "refusal", "failure")
    print(f"\n{'kind':<28}" + "".join(f"{name:>10}" for name in (*names, "cases")))
    for kind in kinds:
        counts = [endings[kind.name, name] for name in names]
        print(f"{kind.name:<28}" + "".join(f"{n:>10,}" for n in (*counts, sum(counts))))
    totals = [sum(endings[kind.name, name] for kind in kinds) for name in names]
    print(f"{'all':<28}" + "".join(f"{n:>10,}" for n in (*totals, sum(totals))))
    for failure in failures:
        kind, _, rest = failure.partition(":")
        name, _, number = kind.rpartition(" ")
        last = rest.strip().splitlines()[-1]
        print(f"--kind '{name}' --case {number}: {last}")
    print(f"seed {options.seed}")


if __name__ == "__main__":
    sys.exit(main())
