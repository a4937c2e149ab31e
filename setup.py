"""Installs mast_plugin.pth beside the packages, also by --editable; setup.cfg says all the rest."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOOK = "mast_plugin.pth"


class BuildWithHook(build_py):
    """Copies the hook to where an installation's top level is made."""

    def run(self) -> None:
        """Build the packages, and add the hook."""
        super().run()
        is_editable = getattr(self, "editable_mode", False)
        target = (
            self.get_finalized_command("install").install_lib if is_editable else self.build_lib
        )
        self.copy_file(HOOK, str(Path(target) / HOOK))


setup(cmdclass={"build_py": BuildWithHook})
