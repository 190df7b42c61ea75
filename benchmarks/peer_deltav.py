"""deltav in the peers' scenario: `PostgresBudgetStore.try_reserve` and `settle`.

It documents no more than its import, so this is its public class with psycopg_pool's own defaults
(four connections). It compares and swaps one row and gives up after 25 tries: that is a failure.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from deltav import Budget, PostgresBudgetStore, SpendRequest
from psycopg_pool import AsyncConnectionPool

from benchmarks.peer_scenario import AsyncCall, Order, Refused, answer, read_order


@asynccontextmanager
async def tasks(order: Order, name: str, limit_usd: int) -> AsyncGenerator[AsyncCall]:
    """Open a store with a stack of one budget."""
    budget = Budget(id=name, layer="run", limits={"usd": limit_usd})
    async with AsyncConnectionPool(order.place, open=False) as pool:
        store = PostgresBudgetStore(pool, initial={name: ([budget], {})})
        await store.load(name)

        async def call(provider: Callable[[], Awaitable[None]]) -> None:
            decision = await store.try_reserve(name, SpendRequest(estimate={"usd": 1}))
            if decision.reservation is None:
                raise Refused
            await provider()
            await store.settle(name, decision.reservation, {"usd": 1})

        yield call


if __name__ == "__main__":
    answer(version("deltav"), read_order(), tasks=tasks)
