"""Earmark in the peers' scenario: `with ledger.spend(budget, up_to="1") as spend`, as in README.

The order's mode is `threads` or `tasks`, its place the store's URL.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import earmark
from benchmarks.peer_scenario import AsyncCall, Call, Order, Refused, answer, read_order
from earmark.errors import BudgetExceeded


@contextmanager
def threads(order: Order, name: str, limit_usd: int) -> Generator[Call]:
    """Open the books for threads."""
    with earmark.open(order.place) as ledger:
        ledger.set_budget(name, limits=[f"{limit_usd} usd total"])

        def call(provider: Callable[[], None]) -> None:
            try:
                with ledger.spend(name, up_to="1") as spend:
                    provider()
                    spend.settle("1")
            except BudgetExceeded as refusal:
                raise Refused from refusal

        yield call


@asynccontextmanager
async def tasks(order: Order, name: str, limit_usd: int) -> AsyncGenerator[AsyncCall]:
    """Open the books for tasks."""
    async with earmark.open_async(order.place) as ledger:
        await ledger.set_budget(name, limits=[f"{limit_usd} usd total"])

        async def call(provider: Callable[[], Awaitable[None]]) -> None:
            try:
                async with ledger.spend(name, up_to="1") as spend:
                    await provider()
                    spend.settle("1")
            except BudgetExceeded as refusal:
                raise Refused from refusal

        yield call


if __name__ == "__main__":
    given = read_order()
    if given.mode == "threads":
        answer(earmark.__version__, given, threads=threads)
    else:
        answer(earmark.__version__, given, tasks=tasks)
