"""Programs that make model calls in processes of their own; started by `worker`.

Each opens the books of a folder and works on them until it is done or killed.
"""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from earmark.admission.guard import Guard
from earmark.admission.policy import ELASTIC
from earmark.admission.quantile import MIN_REPLIES, OutputQuantiles
from earmark.ledger.ledger import Ledger
from support.fire_place import Place, Workspace, started

_TESTS: Final = str(Path(__file__).parents[1])
_REAL: Final = "local/smollm2-135m"


def worker(program: str, *arguments: object) -> "AbstractContextManager[subprocess.Popen[str]]":
    """Start *program* of this file in a process of its own, which the block outlives."""
    path = os.pathsep.join(filter(None, (_TESTS, os.environ.get("PYTHONPATH"))))
    return started(__file__, program, *map(str, arguments), PYTHONPATH=path)


async def run_many(place: Place, ledger: Ledger, count: int) -> list[dict[str, Any]]:
    """Start *count* runs of two calls each at once; return their statements as JSON."""
    async with place.workspace(ledger) as workspace:
        statements = await asyncio.gather(*(workspace.run("two.json") for _ in range(count)))
    return [statement.to_json() for statement in statements]


def crowd(folder: str, url: str, count: str) -> None:
    """Say `ready`, wait for a line, run many at once and tell their statements."""
    place = Place(Path(folder), url)
    with place.open() as ledger:
        print("ready", flush=True)  # noqa: T201 - how a worker speaks
        sys.stdin.readline()
        print(json.dumps(asyncio.run(run_many(place, ledger, int(count)))))  # noqa: T201


def loop(folder: str, url: str, seed: str, width: str) -> None:
    """Run one call after the other, so many at a time, until killed."""
    place = Place(Path(folder), url)

    async def lane(workspace: Workspace, name: str) -> None:
        for number in itertools.count():
            run_id = f"{seed}-{name}-{number}"
            await workspace.run("one.json", topic=run_id, run_id=run_id)

    async def lanes() -> None:
        with place.open() as ledger:
            async with place.workspace(ledger) as workspace:
                await asyncio.gather(*(lane(workspace, str(n)) for n in range(int(width))))

    asyncio.run(lanes())


def stream(folder: str, url: str) -> None:
    """Stream from the real model on a small hold that grows; write each count of tokens down."""
    place = Place(Path(folder), url)
    learned = OutputQuantiles()
    for _ in range(MIN_REPLIES):
        learned.observe(_REAL, "", 32)
    request = {"stream": True, "max_tokens": 1500, "options": {"ignore_eos": True}}

    async def call() -> None:
        with place.open() as ledger:
            guard = Guard(ledger.as_async(), policy=ELASTIC, quantiles=learned)
            async with place.workspace(ledger) as workspace:
                await workspace.spend(guard, _REAL, told=_tell, **request)

    asyncio.run(call())


def _tell(tokens: int) -> None:
    print(tokens, flush=True)  # noqa: T201 - how a worker speaks


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
