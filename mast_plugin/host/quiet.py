"""What hosts and engines say that a user cannot act on is kept quiet, and nothing else."""

import logging
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


_WARNINGS = (
    # A run without validation images is a choice, not an oversight.
    ".*have no `val_dataloader`",
    # Of few images: the means over epochs, which are what is drawn and printed, are logged anyway.
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    # Not so: an interrupted session's metrics are moved aside before.
    "Experiment logs directory .* exists and is not empty",
    # Lightning's use of torch, and of its own table of sizes.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "Precision .* is not supported by the model summary",
)
_NOTES = (
    "TPU available: False",  # and other machines that nobody has asked for
    "IPU available: False",
    "HPU available: False",
    "Loading `train_dataloader` to estimate number of stepping batches",  # it is ours, and cheap
    "\N{ELECTRIC LIGHT BULB} Tip:",  # an advertisement
)
_SPEAKERS = (
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
)


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Keep to itself what an engine says during a run that no user can mend or make use of."""

    def tells(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_NOTES)

    speakers = [logging.getLogger(name) for name in _SPEAKERS]
    for speaker in speakers:
        speaker.addFilter(tells)
    try:
        with warnings.catch_warnings():
            for message in _WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for speaker in speakers:
            speaker.removeFilter(tells)
