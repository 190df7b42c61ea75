"""How long a program that uses Earmark takes to start, beside an interpreter that does nothing."""

import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from benchmarks.figure import Figure, at_most, micros
from benchmarks.settings import Settings, tell

AREA: Final = "startup"
_PASS: Final = (sys.executable, "-c", "pass")
_IMPORT: Final = (sys.executable, "-c", "import earmark")


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of starting up."""
    tell(f"startup: {settings.starts} starts of each program")
    what_import = "import earmark / python -c pass"
    what_help = "earmark --help / python -c pass"
    commands: dict[str, tuple[str, ...]] = {"pass": _PASS, "import": _IMPORT}
    help_command = _help_command()
    if help_command is not None:
        commands["help"] = help_command
    times = _times(commands, settings.starts)
    figures = [_figure(what_import, times["import"], times["pass"], 6)]
    if help_command is None:
        detail = "not measured: the command line is not installed"
        figures.append(
            Figure(area=AREA, what=what_help, samples=(), target=at_most(15), detail=detail)
        )
    else:
        figures.append(_figure(what_help, times["help"], times["pass"], 15))
    return figures


def _help_command() -> tuple[str, ...] | None:
    program = Path(sys.executable).parent / "earmark"
    if find_spec("earmark.cli.main") is None or not program.exists():
        return None
    return str(program), "--help"


def _times(commands: dict[str, tuple[str, ...]], starts: int) -> dict[str, list[int]]:
    for command in commands.values():
        _start(command)  # compiles what is not compiled yet
    times: dict[str, list[int]] = {name: [] for name in commands}
    for _ in range(starts):
        for name, command in commands.items():
            times[name].append(_start(command))
    return times


def _start(command: tuple[str, ...]) -> int:
    began = perf_counter_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter_ns() - began


def _figure(what: str, ours: list[int], bare: list[int], bound: float) -> Figure:
    # One start's ratio would be noise over noise: each is taken to the median of the bare starts.
    base = statistics.median(bare)
    return Figure(
        area=AREA,
        what=what,
        samples=tuple(each / base for each in ours),
        target=at_most(bound),
        detail=f"{micros(statistics.median(ours))} / {micros(base)}",
    )
