"""On what the numbers were measured: never a host's name or a path."""

import os
import platform
import sysconfig
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw

_DISKS: Final = {
    "nvme": "NVMe",
    "vd": "virtual disk",
    "xvd": "virtual disk",
    "sd": "SCSI or SATA disk",
    "dm-": "mapped disk",
    "md": "RAID",
}
#: What the interpreter's build was configured with, where that is known.
_OPTIONS: Final[str | None] = sysconfig.get_config_var("CONFIG_ARGS")
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


def machine(folder: Path) -> dict[str, str]:
    """Return the machine's facts that decide its numbers; the disk is the one of *folder*."""
    python = platform.python_implementation()
    return {
        "date": today(),
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{python} {platform.python_version()} ({build(_OPTIONS)})",
        "sqlite": f"{apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()})",
        "disk": disk(folder),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def today() -> str:
    """Return the date in UTC."""
    return datetime.now(UTC).date().isoformat()


def build(configured: str | None) -> str:
    """Return which optimisations the interpreter was *configured* with: by profile, and linking."""
    if configured is None:
        return "build unknown"
    options = {"PGO": "--enable-optimizations", "LTO": "--with-lto"}
    return ", ".join(
        name if option in configured else f"no {name}" for name, option in options.items()
    )


def disk(folder: Path) -> str:
    """Return what kind of disk *folder* is on: `ext4 on a virtual disk`."""
    filesystem, source = _mount(folder)
    if filesystem in IN_MEMORY:
        return f"{filesystem}, in memory: nothing on it is durable"
    device = source.removeprefix("/dev/")
    kind = next((name for start, name in _DISKS.items() if device.startswith(start)), "")
    return f"{filesystem} on {kind or 'a disk of unknown kind'}"


def _mount(folder: Path) -> tuple[str, str]:
    """Return the file system's type and its device, from the deepest mount above *folder*."""
    at = folder.resolve()
    above = {str(each) for each in (at, *at.parents)}
    best = ("", "unknown", "")
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        source, point, filesystem, *_ = line.split(" ")
        if point in above and len(point) >= len(best[0]):
            best = (point, filesystem, source)
    return best[1], best[2]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
