"""How many of Earmark's modules a reader passes: those whose functions run for one piece of work.

    python -m benchmarks modules

Counted with `sys.setprofile` in every thread, each piece in a process of its own, on SQLite, with a
scripted provider. Every module is imported before, so that only what the work itself calls counts.
"""

import asyncio
import importlib
import json
import pkgutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import earmark
from benchmarks.figure import Figure, at_most
from benchmarks.settings import Settings, tell
from benchmarks.worker import ROOT
from earmark.board.task import TaskDraft
from earmark.clock import SystemClock
from earmark.config.settings import HeartbeatSettings
from earmark.heartbeat.heartbeat import Heartbeat
from earmark.heartbeat.runtime import Runtime
from earmark.stages.kinds.model import model_stage
from earmark.testing import ScriptedProvider
from earmark.workspace.workspace import open_workspace

AREA: Final = "modules"
_MOST: Final = 45
_OURS: Final = "earmark."
#: The scripted provider stands for one that is not ours.
_FAKES: Final = "earmark.testing."
_GRAPH: Final = json.dumps(
    {"description": "one model stage", "version": "1", "root": {"op": "Stage", "id": "greet"}}
)


class Called:
    """The modules of Earmark whose functions were called while it was switched on."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._on = False

    def hook(self, frame: FrameType, event: str, _: object) -> None:
        """Note the module of a call; as `sys.setprofile` calls it."""
        # What `dataclass` generates is in no file, and nobody reads it.
        if self._on and event == "call" and not frame.f_code.co_filename.startswith("<"):
            name: str = frame.f_globals.get("__name__", "")
            if name.startswith(_OURS) and not name.startswith(_FAKES):
                self.modules.add(name)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Count what is called inside."""
        self._on = True
        try:
            yield
        finally:
            self._on = False


def measure(settings: Settings) -> list[Figure]:
    """Return how many modules each piece of work passes; on stderr, which."""
    del settings
    return [_figure(what) for what in _WORK]


def _figure(what: str) -> Figure:
    modules = modules_of(what)
    folders = Counter(name.split(".")[1] for name in modules)
    tell(f"{AREA}: {what}: {len(modules)}")
    for folder in folders:
        own = [name.removeprefix(f"earmark.{folder}.") for name in modules if _in(folder, name)]
        tell(f"  {folder}: {', '.join(own)}")
    return Figure(
        area=AREA,
        what=f"{what}: modules whose functions run",
        samples=(len(modules),),
        target=at_most(_MOST),
        detail=", ".join(f"{folder} {many}" for folder, many in folders.items()),
    )


def _in(folder: str, module: str) -> bool:
    return module.split(".")[1] == folder


def modules_of(what: str) -> list[str]:
    """Return the names of the modules that *what* passes, in order."""
    command = [sys.executable, "-m", "benchmarks.modules", what]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


# In the process of its own ------------------------------------------------------------------------


def _stage(folder: Path, called: Called) -> None:
    """Run one model stage, from the text of its graph to its statement."""
    provider = ScriptedProvider()
    greet = model_stage("greet", "scripted/at-once", "Say hello to {name}.")
    with earmark.open(f"sqlite:///{folder / 'books.db'}") as ledger:
        ledger.set_budget("acme", limits=["10 usd per day"])
        with called.watching():
            statement = earmark.run(
                _GRAPH,
                {"name": "Ada"},
                ledger=ledger,
                under="acme",
                budget="1",
                stages=[greet],
                providers={"scripted": provider},
            )
    assert statement.spent


def _task(folder: Path, called: Called) -> None:
    """Add a task and let one cycle of a heartbeat complete it."""
    clock = SystemClock()
    runtime = Runtime(providers={"scripted": ScriptedProvider(clock=clock)})
    settings = HeartbeatSettings(agent="Ada", budget="acme/ada", model="scripted/at-once")
    with (
        earmark.open(f"sqlite:///{folder / 'books.db'}") as ledger,
        open_workspace(ledger) as workspace,
        asyncio.Runner() as loop,
    ):
        ledger.set_budget("acme/ada", limits=["10 usd per day"])
        beat = Heartbeat(workspace, settings, runtime, clock=clock)
        loop.run(beat.start())
        with called.watching():
            workspace.board.add(TaskDraft(title="say hello"), actor="benchmark")
            report = loop.run(beat.cycle())
        loop.run(beat.stop())
    assert [each.outcome for each in report.dispatched] == ["completed"]


_WORK: Final[dict[str, Callable[[Path, Called], None]]] = {
    "a model stage, graph to statement": _stage,
    "a task, add to completed": _task,
}


def main() -> None:
    """Do one piece of work and print the modules it passed as JSON."""
    for module in pkgutil.walk_packages(earmark.__path__, "earmark."):
        importlib.import_module(module.name)
    called = Called()
    threading.setprofile(called.hook)
    sys.setprofile(called.hook)
    with tempfile.TemporaryDirectory() as folder:
        _WORK[sys.argv[1]](Path(folder), called)
    sys.setprofile(None)
    print(json.dumps(sorted(called.modules)))


if __name__ == "__main__":
    main()
