"""How much a benchmark measures, and where."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every area is told; the defaults take a quarter of an hour together."""

    folder: Path
    """Where databases are made; on the disk that is to be measured."""
    rounds: int = 3
    seconds: float = 1.0
    """How long each rate is taken."""
    drift: float = 1.3
    """How many times faster the machine may be before a round than after it, or the other way."""
    holds: tuple[int, int] = (0, 1_000_000)
    """Settled holds in the small and in the large table."""
    tasks: tuple[int, int] = (100, 100_000)
    """Tasks on the small and on the large board."""
    turns: int = 11
    """How often each operation on a board, cycle or page is timed in a round; the median counts."""
    stores: tuple[str, ...] = ("SQLite", "PostgreSQL")
    """On which of the two pages are measured."""
    streams: int = 200
    """Streams of events that are open at a time."""
    gateway_streams: int = 1_000
    """Slow streams that pass a gateway at a time."""
    peers: bool = True
    """Whether other gateways are measured beside Earmark's."""
    blocks: int = 1_000
    """`spend` blocks in one slice on the memory store; there are ten slices a round."""
    stages: int = 1_000
    stages_most: int = 10_000
    starts: int = 9
    """How often each program is started."""
    trace: Path | None = None
    """Requests of a real service, for the admission policies."""


class NotHereError(Exception):
    """Something cannot be had on this machine; the message says why."""


Area = Callable[[Settings], list[Figure]]

#: The fewest rounds whose median means something.
FEWEST_ROUNDS: Final = 3


def tell(progress: str) -> None:
    """Say on stderr what is being measured."""
    print(progress, file=sys.stderr, flush=True)
