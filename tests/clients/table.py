"""What came of each client in each situation: kept, and written as a page's table."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.clients.cell import Cell
from tests.clients.programs import PROGRAMS
from tests.clients.situations import SITUATIONS

#: Tables that fit a page: each has some of the situations.
_PARTS: Final[Mapping[str, Sequence[str]]] = {
    "Answered and refused": ("plain", "stream", "slow", "fan", "refused"),
    "Somebody goes away": ("cancelled", "client killed", "gateway killed", "half a stream"),
    "The provider is in trouble, or lies": (
        *("429", "500", "529", "small usage", "no usage"),
        *("another model", "wrong length", "no JSON"),
    ),
}


class Kept:
    """The results of all runs, the last one of each cell, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cells: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.cells = json.loads(path.read_text("utf-8"))

    def add(self, cell: Cell, version: str, date: str) -> None:
        """Keep what came of one cell."""
        self.cells[f"{cell.program}|{cell.situation}"] = {
            "text": cell.text,
            "version": version,
            "date": date,
            "bill": str(cell.bill),
            "presumed": cell.presumed,
            "samples": cell.samples,
            "exit": cell.exit_code,
            "attempts": cell.attempts,
            "arrived": cell.arrived,
            "wrong": cell.wrong,
        }
        self._path.write_text(json.dumps(self.cells, indent=1), "utf-8")

    def of(self, program: str, situation: str) -> dict[str, Any] | None:
        """Return what came of it, if it was run."""
        return self.cells.get(f"{program}|{situation}")


def page_of(kept: Kept) -> tuple[str, bool]:
    """Return the tables, and whether each of their cells was run, with one version a client."""
    found = [kept.of(name, each) for name in PROGRAMS for each in SITUATIONS]
    known = [each for each in found if each is not None]
    complete = len(known) == len(found) and all(len(_versions(kept, n)) == 1 for n in PROGRAMS)
    parts = [_summary(known)]
    for title, names in _PARTS.items():
        heads = ["client", *(SITUATIONS[each].heading for each in names)]
        rows = [heads, ["---"] * len(heads)]
        for program in PROGRAMS:
            cells = [kept.of(program, each) for each in names]
            texts = [str(each["text"]) if each else "" for each in cells]
            rows.append([program, *texts])
        parts.append(f"## {title}\n\n{_lines(rows)}")
    versions = [["client", "version", "API"], ["---"] * 3]
    versions += [
        [name, ", ".join(sorted(_versions(kept, name))), program.api]
        for name, program in PROGRAMS.items()
    ]
    about = [["situation", "what happens"], ["---"] * 2]
    about += [[each.heading, each.about] for each in SITUATIONS.values()]
    parts += [f"## Versions\n\n{_lines(versions)}", f"## Situations\n\n{_lines(about)}"]
    return "\n".join(parts), complete


def _summary(known: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence of numbers about all of it."""
    dates = sorted({str(each["date"]) for each in known}) or ["never"]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    bill = sum((Decimal(each["bill"]) for each in known), Decimal(0))
    wrong = sum(bool(each["wrong"]) for each in known)
    return (
        f"Run by `make clients`, {when}: {sum(each['arrived'] for each in known)} requests reached"
        f" the provider, which billed {bill} USD; {sum(each['presumed'] for each in known)} holds"
        f" were settled by hand; the books were read {sum(each['samples'] for each in known)}"
        f" times, and in {wrong} of {len(known)} cells something was wrong.\n"
    )


def _versions(kept: Kept, program: str) -> set[str]:
    cells = [kept.of(program, each) for each in SITUATIONS]
    return {str(each["version"]) for each in cells if each}


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
