"""One sentence for what a library raises at options that it does not check by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from mast_plugin.errors import ConfigurationError, MASTError
from mast_plugin.files.document import first_line


@contextmanager
def explained(what: str, mend: str) -> Iterator[None]:
    """Turn any error but the project's own into one of the configuration.

    Args:
        what: cannot be done, as the sentence begins.
        mend: what the user can do, as it ends.

    Raises:
        ConfigurationError: another error was raised; the sentence quotes its first line.
    """
    try:
        yield
    except MASTError:
        raise
    except Exception as error:
        reason = first_line(error)
        kind = "" if isinstance(error, ValueError | RuntimeError) else f"{type(error).__name__}: "
        raise ConfigurationError(f"{what} ({kind}{reason}): {mend}") from error
