"""A disk under SQLite that can lose power and fail: every write, sync and truncation is logged.

What a power cut leaves is what was synced, plus any part of what was written since: whole writes
may be missing, out of order, or torn between sectors. The shared memory of the WAL index never
survives.
"""

# apsw's stubs name the type of a bytes-like value in a way that type checkers cannot resolve.
# pyright: reportUnknownMemberType=false

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

#: The unit in which a disk writes, and tears.
SECTOR: Final = 512

Trouble = Callable[[str, str], Exception | None]
"""From a method's name (`write`, `sync`, `truncate`) and a file's to the error it fails with."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a file, or, as `ack`, something that was promised."""

    kind: str
    file: str = ""
    offset: int = 0
    data: bytes = b""
    promise: Any = None


@dataclass(slots=True)
class _File:
    """What is certainly on the disk, and what may be."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[Event] = field(default_factory=list[Event])


class Disk(apsw.VFS):
    """A SQLite VFS that logs, and fails when told to; unregister it when done."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log: list[Event] = []
        self.trouble: Trouble | None = None
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open a file that logs."""
        return _LoggedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's
        """Delete a file; the folder's change is taken to be durable at once."""
        super().xDelete(filename, syncdir)
        self.log.append(Event("delete", Path(filename).name))

    def promise(self, what: Any) -> None:
        """Note that *what* was acknowledged now: a cut from here on must keep it."""
        self.log.append(Event("ack", promise=what))

    def fail(self, method: str, file: str) -> None:
        """Raise if *method* on *file* is to fail."""
        error = self.trouble(method, file) if self.trouble else None
        if error is not None:
            raise error

    def promises(self, cut: int) -> list[Any]:
        """Return what was acknowledged before *cut*."""
        return [event.promise for event in self.log[:cut] if event.kind == "ack"]

    def after_power_cut(self, cut: int, dice: random.Random, folder: Path) -> None:
        """Write into *folder* what a power cut after *cut* events may leave."""
        files: dict[str, _File] = {}
        for event in self.log[:cut]:
            file = files.setdefault(event.file, _File())
            match event.kind:
                case "write" | "truncate":
                    file.since.append(event)
                case "sync":
                    for earlier in file.since:
                        _apply(file.synced, earlier)
                    file.since.clear()
                case "delete":
                    del files[event.file]
                case _:
                    pass
        keep = dice.choice([0.0, 0.3, 0.7, 1.0])
        for name, file in files.items():
            for event in file.since:
                _apply_torn(file.synced, event, keep, dice)
            if name:
                (folder / name).write_bytes(file.synced)


class _LoggedFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else ""
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.fail("write", self._name)
        super().xWrite(data, offset)
        if self._name:
            self._disk.log.append(Event("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.fail("truncate", self._name)
        super().xTruncate(newsize)
        if self._name:
            self._disk.log.append(Event("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.fail("sync", self._name)
        # The real disk need not turn: what is lost is decided from the log.
        if self._name:
            self._disk.log.append(Event("sync", self._name))
        del flags


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del content[event.offset :]
        return
    end = event.offset + len(event.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[event.offset : end] = event.data


def _apply_torn(content: bytearray, event: Event, keep: float, dice: random.Random) -> None:
    """Apply *event* whole, in part or not at all, sector by sector."""
    if event.kind == "truncate" or dice.random() < 0.5:
        if dice.random() < keep:
            _apply(content, event)
        return
    start, end = event.offset, event.offset + len(event.data)
    for sector in range(start - start % SECTOR, end, SECTOR):
        if dice.random() < keep:
            low, high = max(sector, start), min(sector + SECTOR, end)
            part = event.data[low - start : high - start]
            _apply(content, Event("write", event.file, low, part))
