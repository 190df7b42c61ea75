"""From figures to what is read: a table, JSON, and the section of `RESULTS.md` they go to."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure

SECTION: Final = "## Last run"
_NEXT: Final = "\n## "
_PART: Final = "### "
_HEAD: Final = ("what", "measured", "target", "", "behind it")


def table(figures: Iterable[Figure]) -> str:
    """Return *figures* as lines of aligned columns, with a line for each area."""
    rows = [(figure.area, _cells(figure)) for figure in figures]
    widths = [max(len(cells[i]) for cells in (_HEAD, *(row for _, row in rows))) for i in range(4)]
    lines = [_aligned(_HEAD, widths)]
    area = ""
    for name, cells in rows:
        if name != area:
            area = name
            lines.append(f"{name}:")
        lines.append(_aligned(cells, widths))
    return "\n".join(lines)


def document(machine: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """Return the run as JSON."""
    return json.dumps(
        {"machine": dict(machine), "figures": [figure.to_json() for figure in figures]}, indent=2
    )


def missed(figures: Iterable[Figure]) -> list[Figure]:
    """Return those whose target is not met."""
    return [figure for figure in figures if figure.verdict == "miss"]


def save(file: Path, machine: Mapping[str, str], figures: Sequence[Figure]) -> None:
    """Write *figures* into the section `Last run` of *file*; areas not measured now are kept.

    An area of which nothing that has a target could be measured is not measured.
    """
    text = file.read_text(encoding="utf-8") if file.exists() else "# Benchmarks\n"
    file.write_text(with_last_run(text, machine, figures), encoding="utf-8")


def with_last_run(text: str, machine: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """Return the Markdown *text* with *figures* in its section `Last run`."""
    before, found, rest = text.partition(f"{SECTION}\n")
    section, _, after = rest.partition(_NEXT) if found else ("", "", "")
    before_now, now = _parts(section), _measured(machine, figures)
    lost = {area for area in before_now.keys() & now.keys() if not _has_measured(area, figures)}
    parts = before_now | {area: part for area, part in now.items() if area not in lost}
    body = "\n\n".join(f"{_PART}{area}\n\n{part}" for area, part in parts.items())
    tail = f"{_NEXT}{after}" if after else "\n"
    return f"{before.rstrip()}\n\n{SECTION}\n\n{body}\n{tail}".rstrip() + "\n"


def _has_measured(area: str, figures: Iterable[Figure]) -> bool:
    judged = [figure for figure in figures if figure.area == area and figure.target is not None]
    return not judged or any(figure.samples for figure in judged)


def _parts(section: str) -> dict[str, str]:
    """Return the text of each area of a former section."""
    parts: dict[str, str] = {}
    for part in section.split(f"\n{_PART}")[1:]:
        area, _, text = part.partition("\n")
        parts[area.strip()] = text.strip()
    return parts


def _measured(machine: Mapping[str, str], figures: Sequence[Figure]) -> dict[str, str]:
    areas = dict.fromkeys(figure.area for figure in figures)
    facts = f"{machine['date']}: " + ", ".join(
        f"{name} {value}" for name, value in machine.items() if name != "date"
    )
    return {
        area: f"{facts}\n\n{markdown(figure for figure in figures if figure.area == area)}"
        for area in areas
    }


def markdown(figures: Iterable[Figure]) -> str:
    """Return *figures* as a Markdown table."""
    rows = [_HEAD, *(["---"] * len(_HEAD),), *(_cells(figure) for figure in figures)]
    return "\n".join(f"| {' | '.join(cell or ' ' for cell in row)} |" for row in rows)


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    target = "" if figure.target is None else str(figure.target)
    return figure.what, _measurement(figure), target, figure.verdict, figure.detail


def _measurement(figure: Figure) -> str:
    """Return the median and how far the rounds lie apart: `15.2 (14.1-16.0)`."""
    if figure.median is None:
        return "-"
    shown = _shown(figure.median)
    low, high = (_shown(bound(figure.samples)) for bound in (min, max))
    return shown if low == high else f"{shown} ({low}-{high})"


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([" ", *padded, *cells[len(widths) :]]).rstrip()
