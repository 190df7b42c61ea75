"""The settings of a heartbeat that runs: read anew where their file has changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from earmark.config.settings import HeartbeatSettings
from earmark.workspace.agent_state import AgentState

#: What a heartbeat is: who runs, who pays, who is told, how long its name is its own.
_FOR_LIFE: Final = ("agent", "sibling", "budget", "lease")


class SettingsReloader:
    """Reads a file's settings when it has changed; one that is bad, again and again."""

    def __init__(self, file: Path, read: Callable[[], HeartbeatSettings]) -> None:
        """Look at *file*; *read* returns what stands in it, or raises `InvalidConfig`."""
        self._file = file
        self._read = read
        self._seen = _mark(file)

    def __call__(self) -> HeartbeatSettings | None:
        """Return the settings if they may be others than last time, else None.

        Raises:
            InvalidConfig: The file cannot be read, or a setting in it cannot be used.
        """
        mark = _mark(self._file)
        if mark == self._seen:
            return None
        settings = self._read()
        self._seen = mark
        return settings


def apply_changes(current: HeartbeatSettings, reloaded: HeartbeatSettings) -> HeartbeatSettings:
    """Return *reloaded*, but for what a heartbeat keeps until it is started anew."""
    return reloaded.model_copy(update={name: getattr(current, name) for name in _FOR_LIFE})


def state_with(state: AgentState, settings: HeartbeatSettings) -> AgentState:
    """Return *state* as a heartbeat with these *settings* tells it."""
    return replace(
        state,
        agent=settings.agent,
        sibling=settings.sibling,
        budget=settings.budget,
        model=settings.model,
        interval_s=settings.interval.total_seconds(),
        persist_every=settings.persist_every,
    )


def _mark(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
