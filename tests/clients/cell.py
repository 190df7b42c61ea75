"""Runs one client in one situation, and says what it did and what was wrong with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from tests.clients.place import Place, Scene, usual_cost
from tests.clients.programs import Mode, Program
from tests.clients.running import Running, start
from tests.clients.situations import SITUATIONS, Situation

#: Of a budget for a fan-out: how many calls of an SDK, and how many programs at once.
_FIT: Final = Decimal("5.5")
_PROGRAMS_AT_ONCE: Final = 4
_LAST_WORD: Final = "three."

Outcome = Literal["answered", "half", "error", "nothing", "killed", "refused", "stopped"]


@dataclass(kw_only=True)
class Cell:
    """What came of one client in one situation."""

    program: str
    situation: str
    impossible: str = ""
    """Why there is no such thing; then the rest means nothing."""
    outcomes: Sequence[Outcome] = ()
    """Of each process, or of each call of a fan-out."""
    attempts: int = 0
    arrived: int = 0
    bill: Decimal = Decimal(0)
    presumed: int = 0
    """Holds that were settled in the end by the bill."""
    shows_why: bool = False
    exit_code: int | None = None
    samples: int = 0
    said: str = ""
    wrong: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """What stands in the table."""
        if self.impossible:
            return "-"
        counted = {each: self.outcomes.count(each) for each in dict.fromkeys(self.outcomes)}
        several = len(self.outcomes) > 1
        words = ", ".join(f"{count} {each}" if several else each for each, count in counted.items())
        asked = "" if several or self.attempts == 1 else f" in {self.attempts}"
        return f"{'**WRONG** ' if self.wrong else ''}{words}{asked}{'°' if self.presumed else ''}"


def run_cell(place: Place, name: str, program: Program, situation: str, cache: Path) -> Cell:
    """Run it; the place is ready for the next one afterwards."""
    cell, what = Cell(program=name, situation=situation), SITUATIONS[situation]
    fan = what.mode == "fan" and "fan" not in program.commands
    mode = _mode(program, what)
    if mode not in program.commands or not program.is_brought_into(situation):
        cell.impossible = "there is no such thing"
        return cell
    scene = place.open_scene(_cap(program, what))
    scene.plan = what.plan
    running = [start(program, mode, scene, cache) for _ in range(_PROGRAMS_AT_ONCE if fan else 1)]
    try:
        acted = what.act and scene.wait_until_midway(running[0].ended)
        if acted:
            _act(scene, running[0], what, own=mode == "cancel")
        ended = [each.wait(lambda said: _shows_end(said, scene, what)) for each in running]
    except BaseException:
        for each in running:
            each.kill()
        raise
    cell.said = "\n".join(said for _, said in ended)
    cell.exit_code = ended[0][0]
    cell.presumed = scene.close()
    cell.attempts, cell.arrived, cell.bill = scene.attempts, scene.arrived, scene.bill
    cell.samples = scene.samples
    cell.shows_why = _plain(scene.refusal() or "-") in _plain(cell.said)
    cell.outcomes = _outcomes(cell, what, ended)
    cell.wrong = list(dict.fromkeys(scene.wrong)) + _faults(cell, what)
    if what.act and not acted:
        cell.wrong.append("it ended before the first words of a reply")
    return cell


def _mode(program: Program, what: Situation) -> Mode:
    if what.act == "client cancels" and "cancel" in program.commands:
        return "cancel"
    if what.mode == "fan" and "fan" not in program.commands:
        return "stream"
    if what.mode == "plain" and "plain" not in program.commands and what.heading != "whole":
        return "stream"
    return what.mode


def _cap(program: Program, what: Situation) -> str:
    if what.mode != "fan":
        return what.cap
    return program.fan_cap or str(_FIT * usual_cost(program.model))


def _act(scene: Scene, running: Running, what: Situation, *, own: bool) -> None:
    """Do what the situation does in mid-stream, and then let the stream go on."""
    if what.act == "kill gateway":
        scene.kill_gateway()
    elif what.act == "kill client":
        running.kill()
    elif own:
        running.wait_until_ended()
    else:
        running.interrupt()
    scene.gate.set()


def _shows_end(said: str, scene: Scene, what: Situation) -> bool:
    """Return whether a program that goes on has shown all there is to see."""
    refusal = scene.refusal()
    refused = bool(refusal) and _plain(refusal) in _plain(said)
    return _LAST_WORD in said or refused or what.act == "client cancels"


def _outcomes(cell: Cell, what: Situation, ended: Sequence[tuple[int, str]]) -> Sequence[Outcome]:
    if what.act == "kill client":
        return ["killed"]
    if what.mode == "fan" and len(ended) == 1:
        lines = [each for each in ended[0][1].splitlines() if each.strip()]
        return [_outcome(0, each) for each in lines]
    found: list[Outcome] = [_outcome(code, said) for code, said in ended]
    if what.act == "client cancels" and found != ["answered"]:
        return ["stopped"]
    if what.heading == "refused" and cell.arrived == 0:
        return ["refused"]
    return found


def _outcome(code: int, said: str) -> Outcome:
    if _LAST_WORD in said:
        return "answered"
    if code or re.search(r"error", said, re.IGNORECASE):
        return "error"
    return "half" if "One" in said else "nothing"


def _faults(cell: Cell, what: Situation) -> list[str]:
    """Return what must not be, whatever the books say."""
    found: list[str] = []
    if what.is_answered and (set(cell.outcomes) != {"answered"} or cell.attempts != 1):
        found.append(f"was {cell.outcomes} after {cell.attempts} attempts")
    if what.heading == "refused":
        if cell.arrived:
            found.append(f"{cell.arrived} requests were sent beyond the cap")
        if cell.attempts > 1:
            found.append(f"asked {cell.attempts} times until it took the refusal for one")
        if not cell.shows_why:
            found.append("does not show why it was refused")
    if what.mode == "fan" and "answered" not in cell.outcomes:
        found.append("nothing of the fan-out was answered")
    if not cell.samples:
        found.append("the books were never read")
    return found


def _plain(text: str) -> str:
    """Return *text* as it reads, however it was quoted and wherever its lines were broken."""
    return re.sub(r"\s+", " ", text.replace("\\", ""))
