"""Tables for people: drawn to fit on a terminal, plain aligned lines anywhere else."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

#: How a cell stands out on a terminal, by the word that begins it.
_COLOURS: Final = {
    "ok": "green",
    "cached": "green",
    "settled": "green",
    "failed": "red",
    "refused": "yellow",
    "paused": "yellow",
    "presumed": "yellow",
    "open": "cyan",
    "running": "cyan",
    "cancelled": "dim",
    "released": "dim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; a heading that begins with `>` is of a column of numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = "nothing"
    """What is said instead of a table without rows."""

    def write(self) -> None:
        """Write it to standard output."""
        if not self.rows:
            sys.stdout.write(f"{self.empty}\n")
        elif is_terminal():
            self._draw()
        else:
            sys.stdout.writelines(f"{line}\n" for line in self.lines())

    def lines(self) -> list[str]:
        """Return it as aligned lines, however long they become."""
        names = [name.lstrip(">") for name in self.headings]
        rows = [names, *([_one_line(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
        justify: list[Callable[[str, int], str]] = [
            str.rjust if name.startswith(">") else str.ljust for name in self.headings
        ]
        cells = [
            [put(cell, width) for put, cell, width in zip(justify, row, widths, strict=True)]
            for row in rows
        ]
        return ["  ".join(row).rstrip() for row in cells]

    def _draw(self) -> None:
        # Rich is slow to load, and only a terminal needs it.
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table as Drawn  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        drawn = Drawn(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for name in self.headings:
            numeric = name.startswith(">")
            drawn.add_column(
                name.lstrip(">"),
                justify="right" if numeric else "left",
                no_wrap=numeric,
                overflow="fold",
            )
        for row in self.rows:
            drawn.add_row(*(Text(cell, style=_colour(cell)) for cell in row))
        Console(file=sys.stdout).print(drawn)


def is_terminal() -> bool:
    """Return whether standard output is a terminal that can do more than print lines."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines()) if "\n" in cell or "\r" in cell else cell


def _colour(cell: str) -> str:
    return _COLOURS.get(cell.partition(" ")[0].rstrip(","), "")
