"""The project's own errors: each message is one sentence that names the mend.

Entry points print the message alone and exit with status 2; library users catch :class:`MASTError`.
"""

import re
import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def on_one_line(text: str) -> str:
    r"""A text in which control characters, as a file's name may hold, are written as ``\n``."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)


def shown(value: object) -> str:
    """A value for a message: on one line and short, whatever it is."""
    try:
        return " ".join(_SHORT.repr(value).split())
    except Exception:  # of integers that Python refuses to print
        return "too long to be shown"


class MASTError(Exception):
    """Base of every error that the project raises on purpose."""

    def __str__(self) -> str:
        """The message, on one line whatever names are in it."""
        return on_one_line(super().__str__())


class ConfigurationError(MASTError, ValueError):
    """An option is unknown, out of range, or contradicts another one."""


class DataError(MASTError, ValueError):
    """A folder, an image or a table of labels cannot be used."""


class ClassError(DataError):
    """A class of a task cannot be used; its name is known where the task is."""

    def __init__(self, label: int, complaint: str) -> None:
        """Say it of the class that has this label."""
        super().__init__(f"Class {label} {complaint}")
        self.label, self.complaint = label, complaint


class HostError(MASTError, ImportError):
    """solo-learn, or something that it needs, is missing or of an unknown version."""


class DivergenceError(MASTError, ArithmeticError):
    """A loss or a weight is not finite any more."""


class StorageError(MASTError, OSError):
    """A file cannot be written, as the disk is full."""
