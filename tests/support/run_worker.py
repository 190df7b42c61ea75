"""A process that makes a run and is killed right before one of its commits.

    python run_worker.py URL RUN_ID NUMBER

Before the commit of that number, counted from the run's begin over ledger and journal, the process
kills itself as the kernel would; 0 is never. Only SQLite's commits are counted. It tells on
standard output the key of each attempt that ended, as soon as it is told itself.
"""

import os
import signal
import sys
from itertools import count
from typing import Any

import apsw

from earmark.composition.ast import Composition, Const, Fanout, Node, Retry, Sequential, Stage
from earmark.runs.events import RunEvent, StageEnded
from earmark.runs.runner import run
from earmark.stages.kinds.python import Costed, stage
from earmark.stores.open import open_ledger

answers = iter([ValueError("once")])


@stage(cost="0.05")
async def work(value: Any) -> Any:
    """Cost less than it holds."""
    return Costed(value, "0.03")


@stage(cost="0.01")
async def once_broken(value: Any) -> Any:
    """Fail the first time, paid."""
    for error in answers:
        raise error
    return value


@stage
async def free(value: Any) -> Any:
    """Cost nothing."""
    return value


WORK = Stage("work")
ROOT: Node = Sequential(
    (Fanout(Const(1), (WORK, WORK, WORK)), Retry(Stage("once_broken"), 2), Stage("free"), WORK)
)


def killed_before(number: int) -> None:
    """Have this process killed before its commit of that number, on whatever connection."""
    commits = count(1)

    def before_commit() -> bool:
        if next(commits) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    apsw.connection_hooks.append(lambda connection: connection.set_commit_hook(before_commit))


def tell(event: RunEvent) -> None:
    """Print what ended."""
    if isinstance(event, StageEnded):
        sys.stdout.write(f"{event.line.key or event.line.path}\n")
        sys.stdout.flush()


def main(url: str, run_id: str, number: int) -> None:
    """Make the run."""
    killed_before(number)
    with open_ledger(url) as ledger:
        composition = Composition(description="to be killed", root=ROOT)
        run(
            composition,
            1,
            ledger=ledger,
            under="acme",
            budget="1",
            stages=[work, once_broken, free],
            run_id=run_id,
            on_event=tell,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
