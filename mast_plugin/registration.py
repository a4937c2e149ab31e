"""Making ``mast`` known to solo-learn and ``${mast_dataset:}`` to OmegaConf."""

from omegaconf import OmegaConf


def register() -> None:
    """Add ``mast`` to ``solo.methods.METHODS``; a second call changes nothing.

    Raises:
        HostError: solo-learn is missing, broken or of an unknown layout.
    """
    from mast_plugin.host import load_host

    methods = load_host().METHODS
    if "mast" not in methods:
        from mast_plugin.method import MAST

        methods["mast"] = MAST


def register_resolvers() -> None:
    """Make ``${mast_dataset:}``, ``${mast_dataset:train}`` and ``${mast_dataset:val}`` resolve.

    Each is a folder of the embedded dataset, which is written when it is first asked for.
    """
    OmegaConf.register_new_resolver("mast_dataset", _embedded_dataset, replace=True)


def _embedded_dataset(part: str = "") -> str:
    from mast_plugin.loading.dataset import embedded_dataset

    return embedded_dataset(part)
