"""How long a program that uses Earmark takes to start, beside an interpreter that does nothing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Final

from benchmarks.figure import Figure, Target, at_most, micros
from benchmarks.settings import Settings, tell

AREA: Final = "startup"
_PROGRAM: Final = Path(sys.executable).parent / "earmark"

_Command = tuple[str, ...]

_PASS: Final[_Command] = (sys.executable, "-c", "pass")
#: What is started, and how many times longer than an interpreter that does nothing it may take.
_STARTED: Final[dict[str, tuple[_Command, Target]]] = {
    "import earmark": ((sys.executable, "-c", "import earmark"), at_most(6)),
    "earmark --version": ((str(_PROGRAM), "--version"), at_most(15)),
    "earmark --help": ((str(_PROGRAM), "--help"), at_most(15)),
}
_VERSION: Final = "earmark --version"
_VERSION_S: Final = at_most(0.15)
_NOT_HERE: Final = "not measured: the command line is not installed"


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of starting up."""
    tell(f"startup: {settings.starts} starts of each program")
    here = {what: command for what, (command, _) in _STARTED.items() if _is_here(command)}
    times = _times({"": _PASS, **here}, settings.starts)
    bare = median(times.pop(""))
    figures = [_figure(what, times.get(what, []), bare) for what in _STARTED]
    seconds = tuple(each / 1e9 for each in times.get(_VERSION, []))
    return [*figures, _seconds(seconds)]


def _is_here(command: _Command) -> bool:
    is_program = command[0] == str(_PROGRAM)
    return not is_program or (find_spec("earmark.cli.main") is not None and _PROGRAM.exists())


def _times(commands: dict[str, _Command], starts: int) -> dict[str, list[int]]:
    for command in commands.values():
        _start(command)  # compiles what is not compiled yet
    times: dict[str, list[int]] = {name: [] for name in commands}
    for _ in range(starts):
        for name, command in commands.items():
            times[name].append(_start(command))
    return times


def _start(command: _Command) -> int:
    began = perf_counter_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter_ns() - began


def _figure(what: str, ours: list[int], bare: float) -> Figure:
    # One start's ratio would be noise over noise: each is taken to the median of the bare starts.
    return Figure(
        area=AREA,
        what=f"{what} / python -c pass",
        samples=tuple(each / bare for each in ours),
        target=_STARTED[what][1],
        detail=f"{micros(median(ours))} / {micros(bare)}" if ours else _NOT_HERE,
    )


def _seconds(samples: tuple[float, ...]) -> Figure:
    return Figure(
        area=AREA,
        what=f"{_VERSION}, seconds",
        samples=samples,
        target=_VERSION_S,
        detail="by the wall clock" if samples else _NOT_HERE,
    )
