"""What the command lines share: errors as one sentence, threads that leave the cores to others."""

import os
import sys
from collections.abc import Callable

from mast_plugin.errors import MASTError


def spare_the_cores() -> None:
    """Let torch's threads sleep while they wait; call before torch is imported.

    They would otherwise spin on the very cores that the loading processes need: on two busy cores
    a step took eight times as long. Whatever OMP_WAIT_POLICY is set to stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def answer(program: str, work: Callable[[], object]) -> None:
    """Print what the work returns, or its error as one sentence on standard error.

    Args:
        program: the command's name, which stands before an error.
        work: what is done.

    Raises:
        SystemExit: with status 2, after an error of this project's own.
    """
    try:
        print(work())
    except MASTError as error:
        # A loader's worker wraps the error's sentence in its traceback; the sentence comes last.
        sentence = str(error).strip().splitlines()[-1].removeprefix(f"{type(error).__module__}.")
        print(f"{program}: {sentence}", file=sys.stderr)
        raise SystemExit(2) from None
