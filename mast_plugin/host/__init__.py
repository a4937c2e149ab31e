"""The one face of solo-learn: everything else in the project speaks the main branch's ``cfg``.

Two solo-learns are in use. The release on PyPI (1.0.2) is configured by keyword arguments and
calls its network ``encoder``; the main branch is configured by an OmegaConf ``cfg`` and calls it
``backbone``. :mod:`~mast_plugin.host.release` and :mod:`~mast_plugin.host.mainline` offer the same
names for both (:class:`~mast_plugin.host.face.Host` lists them), and :func:`load_host` picks.
"""

from mast_plugin.host.face import Host
from mast_plugin.host.select import host_kind, load_host

__all__ = ["Host", "host_kind", "load_host"]
