"""What a run says while it goes on: a line of text for each event."""

from types import TracebackType
from typing import Self, TextIO, assert_never

from earmark.cli.plan import bounds
from earmark.cli.statement import remark, took
from earmark.runs.events import (
    RunEnded,
    RunEvent,
    RunStarted,
    StageEnded,
    StageRetried,
    StageStarted,
)


class Lines:
    """A line for each thing that happened."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, event: RunEvent) -> None:
        """Write the event's line, if it has one."""
        text = line_of(event)
        if text:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing was opened."""


def line_of(event: RunEvent) -> str:
    """Return what an event says; empty where its line comes later."""
    match event:
        case RunStarted():
            costs = bounds(event.plan.min, event.plan.max)
            begins = f"run {event.run_id} on '{event.budget}': {event.limit} USD, plan {costs}"
            return "\n".join([*(f"WARNING: {each}" for each in event.warnings), begins])
        case StageStarted() | RunEnded():
            return ""
        case StageEnded():
            return _ended(event)
        case StageRetried():
            again = f"again after {event.delay_ms} ms" if event.delay_ms else "again"
            tries = f"{event.attempt} of {event.max_attempts}"
            return f"{event.path or '/'}: attempt {tries} failed, {again}: {event.detail}"
        case _:
            assert_never(event)


def _ended(event: StageEnded) -> str:
    line = event.line
    cost = f" {line.settled} USD" if line.key else ""
    more = remark(line)
    said = f"{line.path or '/'} {line.stage}: {line.outcome}{cost} in {took(line.duration_ns)}"
    return f"{said}; {event.spent} USD spent" + (f" ({more})" if more else "")
