"""The live tree of a run: each stage where it stands in the graph, with running totals below."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from earmark.cli.event_lines import line_of
from earmark.cli.statement import took
from earmark.clock import Clock
from earmark.composition.ast import Composition
from earmark.composition.nodes import Const, Node, RemoteStage, Stage, children
from earmark.money import Money
from earmark.runs.events import RunEvent, RunStarted, StageEnded, StageRetried, StageStarted
from earmark.runs.statement_line import NOTHING, LineOutcome

_REFRESHES: Final = 8
#: Lines of the terminal that are not rows: the totals, and where the next command is typed.
_OTHER_LINES: Final = 4
_WAITING, _RUNNING = "", "running"
_COLOURS: Final = {
    _RUNNING: "cyan",
    LineOutcome.OK: "green",
    LineOutcome.CACHED: "green",
    LineOutcome.REFUSED: "yellow",
    LineOutcome.FAILED: "red",
    LineOutcome.CANCELLED: "dim",
}
_QUIET: Final = frozenset({_WAITING, LineOutcome.OK, LineOutcome.CACHED})


@dataclass(slots=True, kw_only=True)
class RunTreeRow:
    """A node of the graph as it is shown."""

    path: str
    depth: int
    label: str
    leaf: bool
    state: str = _WAITING
    attempt: int = 0
    settled: Money = NOTHING
    begun: int = 0
    took: int = 0


class RunTree:
    """A tree that is drawn anew eight times a second; what it has become stays on the screen."""

    def __init__(self, composition: Composition, clock: Clock, stream: TextIO) -> None:
        self._clock = clock
        self._console = Console(file=stream)
        self.rows = list(rows_of(composition.root))
        self._by_path = {row.path: row for row in self.rows if row.leaf}
        self._begun = clock.elapsed()
        self._spent = NOTHING
        self._limit = NOTHING
        self._live = Live(
            get_renderable=self.render,
            console=self._console,
            refresh_per_second=_REFRESHES,
            vertical_overflow="crop",
        )

    def show(self, event: RunEvent) -> None:
        """Keep what the event says; the next drawing shows it."""
        match event:
            case RunStarted():
                self._start(event)
            case StageStarted():
                row = self._by_path[event.path]
                row.state, row.attempt = _RUNNING, event.attempt
                row.begun = self._clock.elapsed()
            case StageEnded():
                self._end(event)
            case StageRetried():
                self._console.print(Text(line_of(event), style="dim"))
            case _:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draw it a last time."""
        self._live.stop()

    def render(self) -> Group:
        """Return what is drawn now."""
        room = max(3, self._console.height - _OTHER_LINES)
        now = self._clock.elapsed()
        grid = Table.grid(padding=(0, 2, 0, 0))
        for number in range(4):
            grid.add_column(justify="left" if number < 2 else "right", no_wrap=True)  # noqa: PLR2004
        for row in visible_rows(self.rows, room):
            grid.add_row(*_cells(row, now))
        return Group(grid, Text(self._totals(now), style="bold"))

    def _start(self, event: RunStarted) -> None:
        self._limit = event.limit
        names = {line.path: line.stage for line in event.plan.lines}
        for path, row in self._by_path.items():
            name = names.get(path)
            if name is not None:
                row.label = _labelled(path, name)
        self._console.print(Text(line_of(event)))
        self._live.start()

    def _end(self, event: StageEnded) -> None:
        line = event.line
        row = self._by_path[line.path]
        row.state, row.attempt, row.took = str(line.outcome), line.attempt, line.duration_ns
        row.settled += line.settled
        self._spent = event.spent

    def _totals(self, now: int) -> str:
        states = [row.state for row in self._by_path.values()]
        running = states.count(_RUNNING)
        done = len(states) - running - states.count(_WAITING)
        spent = f"{self._spent} of {self._limit} USD spent"
        counted = f"{done} of {len(states)} stages done, {running} running"
        return f"{spent} · {counted} · {took(now - self._begun)}"


def rows_of(root: Node) -> Iterator[RunTreeRow]:
    """Yield a row for each node, in document order."""
    waiting = [("", root, 0)]
    while waiting:
        path, node, depth = waiting.pop()
        if isinstance(node, Const):
            continue
        leaf = isinstance(node, Stage | RemoteStage)
        name = type(node).__name__.lower()
        yield RunTreeRow(path=path, depth=depth, label=_labelled(path, name), leaf=leaf)
        below = [(path + label, child, depth + 1) for label, child in children(node)]
        waiting.extend(reversed(below))


def visible_rows(rows: list[RunTreeRow], room: int) -> list[RunTreeRow]:
    """Return the rows that fit in *room*: all, or else the last of what runs or went wrong."""
    if len(rows) <= room:
        return rows
    loud = [row for row in rows if row.leaf and row.state not in _QUIET]
    return loud[-room:]


def _cells(row: RunTreeRow, now: int) -> tuple[Text, ...]:
    lasted = now - row.begun if row.state == _RUNNING else row.took
    state = row.state if row.attempt <= 1 else f"{row.state} (attempt {row.attempt})"
    return (
        Text("  " * row.depth + row.label, style="" if row.leaf else "dim"),
        Text(state, style=_COLOURS.get(row.state, "")),
        Text(f"{row.settled} USD" if row.settled else ""),
        Text(took(lasted) if row.state else ""),
    )


def _labelled(path: str, name: str) -> str:
    last = path.rpartition("/")[2]
    return name if not last or last.isdecimal() else f"{last}: {name}"
