"""What the hosts say of their own age is kept quiet, and nothing else."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# lightning-bolts marks half of itself as under review and puts a filter of its own before each
# mark, so that no filter of ours would hold; both hosts use names that timm, torch and numpy have
# since moved. None of it is the user's to mend.
_CATEGORIES = ("UnderReviewWarning",)
_PLACES = ("/pl_bolts/", "/solo/", "/timm/", "/lightning_fabric/", "/torchmetrics/")


@contextmanager
def quiet_host() -> Iterator[None]:
    """Swallow the hosts' warnings of their own age; any other warning comes through afterwards."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for entry in caught:
        known = entry.category.__name__ in _CATEGORIES
        if not known and not any(place in entry.filename for place in _PLACES):
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)
