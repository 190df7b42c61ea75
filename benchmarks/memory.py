"""The memory store: what a whole `spend` block costs beside a bare reserve on dicts.

Both are timed in processor time, in slices that alternate; of each the fastest slice of a round
counts, the one that other work on the machine disturbed least.
"""

import statistics
from time import process_time_ns
from typing import Final

from benchmarks.figure import Figure, at_most, micros
from benchmarks.load import BUDGETS, COST, HOLD, LEAF, make_budgets
from benchmarks.raw import plain_reserves
from benchmarks.settings import Settings, tell
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger

AREA: Final = "memory"
_SLICES: Final = 10


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the memory store."""
    blocks: list[float] = []
    plain: list[float] = []
    for number in range(settings.rounds):
        tell(f"memory: round {number + 1} of {settings.rounds}")
        block_ns, plain_ns = _round(settings.blocks)
        blocks.append(block_ns)
        plain.append(plain_ns)
    figure = Figure(
        area=AREA,
        what="spend block / reserve on a plain dict under a lock",
        samples=tuple(a / b for a, b in zip(blocks, plain, strict=True)),
        target=at_most(30),
        detail=f"{micros(statistics.median(blocks))} / {micros(statistics.median(plain))}",
    )
    return [figure]


def _round(blocks: int) -> tuple[float, float]:
    keys = [f"key-{number}" for number in range(blocks * 5)]
    with open_ledger("memory:") as ledger:
        make_budgets(ledger)
        spend_blocks(ledger, blocks)
        slices = [
            (spend_blocks(ledger, blocks), plain_reserves(BUDGETS, keys)) for _ in range(_SLICES)
        ]
    return min(block for block, _ in slices), min(plain for _, plain in slices)


def spend_blocks(ledger: Ledger, many: int) -> float:
    """Return the nanoseconds of one `spend` block: a reserve and a settle."""
    began = process_time_ns()
    for _ in range(many):
        with ledger.spend(LEAF, up_to=HOLD) as spend:
            spend.settle(COST)
    return (process_time_ns() - began) / many
