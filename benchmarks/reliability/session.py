"""A command in a session of its own, and what its processes hold, read from /proc."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What the processes of a session hold together.

    Attributes:
        processes: their number.
        resident_mib: the sum of what each has resident; pages that several share count for each.
        own_mib: of that, what is no file's; pages that several share count once.
        files: open descriptors.
    """

    processes: int
    resident_mib: float
    own_mib: float
    files: int


class Session:
    """A pretraining under way.

    Args:
        overrides: of the recipe ``mast``.
        log: where it prints to.
    """

    def __init__(self, overrides: list[str], log: Path) -> None:
        command = [sys.executable, "-m", "mast_plugin.pretrain", "--config-name", "mast"]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [*command, *overrides], stdout=file, stderr=file, start_new_session=True
            )
        self.log = log

    def members(self) -> list[Path]:
        """The folders in /proc of what still runs."""
        return [entry for entry in Path("/proc").iterdir() if self._is_member(entry)]

    def _is_member(self, entry: Path) -> bool:
        if not entry.name.isdigit():
            return False
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            return False
        return int(fields[3]) == self.process.pid and fields[0] != "Z"

    def usage(self) -> Usage:
        """Measure all processes, one after the other."""
        held = [_held(entry) for entry in self.members()]
        resident, own, files = (sum(each[i] for each in held) for i in range(3))
        return Usage(len(held), resident / 1024, own / 1024, files)

    def interrupt(self) -> None:
        """Send what Ctrl-C sends: SIGINT to every process."""
        os.killpg(self.process.pid, signal.SIGINT)

    def seconds_until_gone(self, patience_s: float) -> float | None:
        """Wait until no process is left; None if some are after that long."""
        began = time.monotonic()
        while time.monotonic() - began < patience_s:
            if self.process.poll() is not None and not self.members():
                return time.monotonic() - began
            time.sleep(0.05)
        return None

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        for entry in self.members():
            os.kill(int(entry.name), signal.SIGKILL)
        self.process.wait()


def _held(entry: Path) -> tuple[int, int, int]:
    """Resident and own memory in KiB and descriptors of a process; nothing of one that has ended.

    The share of files' pages that the kernel counts depends on other programs that use them.
    """
    try:
        rows = [line.split() for line in (entry / "smaps_rollup").read_text().splitlines()[1:]]
        kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
        own = kib["Pss_Anon"] + kib["Pss_Shmem"]
        return kib["Rss"], own, len(list((entry / "fd").iterdir()))
    except OSError:
        return 0, 0, 0
