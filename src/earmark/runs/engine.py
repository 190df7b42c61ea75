"""The port of engines: something that walks a composition and has its stages attempted.

An engine decides when each stage runs and on which input; what an attempt is, and how it is paid,
is not its business. `earmark.runs.engines.local` does it in one event loop.
"""

from dataclasses import dataclass
from typing import Protocol

from earmark.composition.nodes import Node, RemoteStage, Stage
from earmark.runs.events import StageRetried
from earmark.stages.kinds.jsontext import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What an engine is to run."""

    run_id: str
    root: Node
    input: Json


class AttemptRunner(Protocol):
    """Makes attempts; each returns or raises when it is over, booked and written."""

    async def run(self, node: Stage | RemoteStage, path: str, value: Json) -> Json:
        """Attempt the stage *node*, at *path*, on *value* once and return its output.

        Raises:
            StageFailed: The stage failed, timed out or could not be reached.
            Refusal: The attempt was not made.
            CancelledError: After what it may have cost was booked.
        """
        ...

    def retried(self, event: StageRetried) -> None:
        """Tell that a part of the graph is about to be tried again."""
        ...


class Engine(Protocol):
    """Walks compositions."""

    async def execute(self, execution: Execution, attempts: AttemptRunner) -> Json:
        """Return the composition's output, or raise what ended it once nothing is under way.

        The first failure cancels what runs beside it; of several a refusal is raised.
        """
        ...
