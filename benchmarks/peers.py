"""Other packages that guard spending, side by side with Earmark in one scenario.

Each is installed into an environment of its own, used as its own documents show, and run by its
script (`benchmarks.peer_NAME`); `benchmarks.peer_scenario` says what is asked of all of them. Who
cannot be had here gets a line that says why. The servers run on the same machine.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure, at_most, per_s
from benchmarks.peer_places import (
    DURABLE,
    FORGETFUL,
    environment,
    redis_program,
    redis_server,
)
from benchmarks.peer_scenario import Crowd, Order, Outcome, Rate
from benchmarks.peer_subjects import SUBJECTS, Ground, Subject
from benchmarks.postgres_place import Place, postgres
from benchmarks.settings import NotHereError, Settings, tell
from benchmarks.worker import ROOT

AREA: Final = "peers"
_LIMIT_USD: Final = 10
_CALLERS: Final = 64
_RUN_S: Final = 300.0


@dataclass(slots=True)
class Measured:
    """What one subject got done, an outcome a round, or why there is none."""

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    missing: str = ""

    def rates(self, case: str) -> list[float]:
        """Return its guarded calls per second, `alone` or `together`, a number a round."""
        return [getattr(outcome, case).per_s for outcome in self.outcomes]


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of Earmark and its peers."""
    measured = {subject.name: Measured() for subject in SUBJECTS}
    with ExitStack() as stack:
        grounds = Grounds(settings.folder, stack)
        for number in range(settings.rounds):
            tell(f"peers: round {number + 1} of {settings.rounds}")
            for subject in SUBJECTS:
                measure_once(subject, grounds, settings, number, measured[subject.name])
    return [figure for each in SUBJECTS for figure in figures_of(each, measured)]


def measure_once(
    subject: Subject, grounds: "Grounds", settings: Settings, number: int, measured: Measured
) -> None:
    """Measure *subject* for one round, or learn why it cannot be."""
    if measured.missing:
        return
    try:
        python = grounds.python(subject)
        tag = f"{subject.script}-{subject.mode or 'only'}-{number}"
        order = Order(
            mode=subject.mode,
            place=grounds.place(subject, tag),
            tag=f"{tag}-{subject.ground.replace(' ', '-')}",
            seconds=settings.seconds,
            callers=_CALLERS,
            limit_usd=_LIMIT_USD,
        )
        measured.outcomes.append(run(python, subject.script, order))
    except NotHereError as reason:
        measured.missing = str(reason)
        measured.outcomes.clear()
        tell(f"peers: {subject.name} is not measured: {reason}")


def run(python: Path, script: str, order: Order) -> Outcome:
    """Return what a package's script says, run by its own Python.

    Raises:
        NotHereError: It failed; what it said went to stderr.
    """
    try:
        done = subprocess.run(
            [python, "-m", f"benchmarks.peer_{script}"],
            input=json.dumps(asdict(order)),  # not an argument: a URL may have a password
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotHereError(f"its script did not end in {_RUN_S:.0f} s") from None
    if done.returncode:
        raise NotHereError(f"its script failed (exit {done.returncode})")
    said = json.loads(done.stdout)
    return Outcome(
        version=said["version"],
        alone=Rate(**said["alone"]),
        together=Rate(**said["together"]),
        crowd=Crowd(**said["crowd"]),
    )


class Grounds:
    """The environments and servers, each made when the first subject wants it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        # Beside the folder of this run, so that the next one finds them.
        self._installed = folder.parent / "peers"
        self._stack = stack
        self._redis: dict[Ground, str] = {}
        self._postgres: Place | None = None

    def python(self, subject: Subject) -> Path:
        """Return the Python that has what *subject* needs."""
        if not subject.packages:
            return Path(sys.executable)
        return environment(self._installed / subject.script, subject.packages, subject.least)

    def place(self, subject: Subject, tag: str) -> str:
        """Return the folder or the URL where *subject* keeps its books."""
        ours = not subject.packages
        match subject.ground:
            case "files":
                return f"sqlite:///{self._folder / tag}.db" if ours else str(self._folder)
            case "postgres":
                server = self._server()
                return server.fresh() if ours else server.fresh_conninfo()
            case "redis" | "forgetful redis":
                if subject.ground not in self._redis:
                    self._redis[subject.ground] = self._redis_server(subject.ground)
                return self._redis[subject.ground]

    def _server(self) -> Place:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(postgres())
        return self._postgres

    def _redis_server(self, ground: Ground) -> str:
        program = redis_program(self._installed)
        options = DURABLE if ground == "redis" else FORGETFUL
        folder = self._folder / ground.replace(" ", "-")
        return self._stack.enter_context(redis_server(program, folder, options))


# Figures ------------------------------------------------------------------------------------------


def figures_of(subject: Subject, measured: dict[str, Measured]) -> Iterable[Figure]:
    """Yield what is said of *subject*: what its crowd spends, and its rates beside Earmark's."""
    mine = measured[subject.name]
    version = f" {mine.outcomes[0].version}" if mine.outcomes else ""
    name = subject.name.replace(",", f"{version},", 1)
    yield Figure(
        area=AREA,
        what=f"{name}: USD that {_CALLERS} callers spend of {_LIMIT_USD}",
        samples=tuple(float(each.crowd.spent_usd) for each in mine.outcomes),
        target=None if subject.packages else at_most(_LIMIT_USD),
        detail=_described(subject, mine),
    )
    if not subject.against:
        return
    # One caller: in the peer's own style, threads. Many: Earmark's best way against the peer's.
    style = "tasks" if subject.script == "deltav" else "threads"
    for case, rival, callers in (
        ("alone", f"{subject.against}, {style}", "1 caller"),
        ("together", f"{subject.against}, tasks", f"{_CALLERS} callers"),
    ):
        what = f"{name}; {callers}: calls of {subject.against} per one of its"
        yield _compared(what, case, measured[rival], mine)


def _described(subject: Subject, mine: Measured) -> str:
    if not mine.outcomes:
        return f"not measured: {mine.missing}"
    alone, together = (per_s(statistics.median(mine.rates(case))) for case in ("alone", "together"))
    crowd = mine.outcomes[-1].crowd
    failed = [each.alone.failed + each.together.failed for each in mine.outcomes]
    said = f"1 caller {alone}, {_CALLERS} callers {together}"
    said += f"; {crowd.refused} refused" + (f", {crowd.failed} failed" if crowd.failed else "")
    if any(failed):
        said += f"; {statistics.median(failed):.0f} failed calls while rates were taken"
    return f"{said}; {subject.used}"


def _compared(what: str, case: str, ours: Measured, mine: Measured) -> Figure:
    rates = ours.rates(case), mine.rates(case)
    both = all(rates) and all(mine.rates(case))
    samples = [a / b for a, b in zip(*rates, strict=True)] if both else []
    medians = [per_s(statistics.median(each)) if each else "not measured" for each in rates]
    return Figure(
        area=AREA,
        what=what,
        samples=tuple(samples),
        detail=f"{medians[0]} / {medians[1]}",
    )
