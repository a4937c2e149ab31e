"""What the command lines share: errors as one sentence, threads that leave the cores to others."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mast_plugin.errors import DivergenceError, MASTError
from mast_plugin.running.interruption import Interruption, arrived, watched


def spare_the_cores() -> None:
    """Let torch's threads sleep while they wait; call before torch is imported.

    They would otherwise spin on the very cores that the loading processes need: on two busy cores
    a step took eight times as long. Whatever OMP_WAIT_POLICY is set to stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def answer(program: str, work: Callable[[], object]) -> None:
    """Print what the work returns, once for all processes; or its error, as one sentence.

    Args:
        program: the command's name, which stands before an error.
        work: what is done.

    Raises:
        SystemExit: with status 2, after an error of this project's own; with 130 or 143, where
            Ctrl-C or SIGTERM stopped the work.
    """
    with watched():
        try:
            done = work()
            if is_first_process():
                print(done)
        except Interruption as stop:
            _stop(program, stop)
        except MASTError as error:
            # A loader's worker wraps the error's sentence in its traceback; it comes last there.
            sentence = str(error).strip().splitlines()[-1]
            sentence = sentence.removeprefix(f"{type(error).__module__}.")
            if is_first_process() or not isinstance(error, DivergenceError):
                print(f"{program}: {sentence}", file=sys.stderr)
            raise SystemExit(2) from None
        except Exception:
            under_way = arrived()
            if under_way is None:
                raise
            _stop(program, under_way)


def say(line: str) -> None:
    """Print a line that informs, where there is one, on standard error: beside a bar, if any."""
    if line:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)


def is_first_process() -> bool:
    """Whether this is the one of a run's processes that speaks for all, by the launchers' names.

    The first two count over all machines; without them, the engine itself starts the processes of
    a machine and is told which machine it is on.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return os.environ[name] == "0"
    names = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def _stop(program: str, stop: Interruption) -> NoReturn:
    if is_first_process():
        print(f"{program}: {stop}", file=sys.stderr)
    raise SystemExit(stop.status) from None
