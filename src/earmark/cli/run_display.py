"""A run while it goes on, on standard error: a live tree on a terminal, plain lines elsewhere."""

import os
import sys
from types import TracebackType
from typing import Protocol, Self

from earmark.cli.event_lines import Lines
from earmark.clock import Clock
from earmark.composition.ast import Composition
from earmark.runs.events import RunEvent


class RunDisplay(Protocol):
    """Shows a run to people while it goes on."""

    def show(self, event: RunEvent) -> None:
        """Show what happened; called in the run's own task."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def display_run(composition: Composition, clock: Clock) -> RunDisplay:
    """Return what shows a run of *composition* on this standard error."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        # Loads Rich, which lines do without.
        from earmark.cli.run_tree import RunTree  # noqa: PLC0415

        return RunTree(composition, clock, sys.stderr)
    return Lines(sys.stderr)
