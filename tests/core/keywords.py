"""The loss with its options given one by one, as tests vary them."""

from dataclasses import fields

from mast_plugin import LossOptions, MASTTerms
from mast_plugin import mast_loss as library_loss

NAMES = {field.name for field in fields(LossOptions)}


def mast_loss(*views, **given) -> MASTTerms:
    """As the library's, with the fields of ``LossOptions`` among the arguments."""
    chosen = {name: given.pop(name) for name in NAMES & set(given)}
    if not chosen:
        return library_loss(*views, **given)  # as a compiler reads it
    return library_loss(*views, options=LossOptions(**chosen), **given)
