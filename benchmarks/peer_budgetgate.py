"""BudgetGate in the peers' scenario: `engine.guard_bounded` on its Redis store, as in its README.

Each decision adds up all calls of the window, so its rate falls as calls are made.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from importlib.metadata import version

import redis
from budgetgate import BlockReason, Budget, BudgetExceededError, Engine, Ledger, RedisStore

from benchmarks.peer_scenario import Call, Order, Refused, answer, read_order


@contextmanager
def threads(order: Order, name: str, limit_usd: int) -> Generator[Call]:
    """Open an engine with one ledger."""
    client = redis.Redis.from_url(order.place, decode_responses=True)
    engine = Engine(store=RedisStore(client, prefix=name))

    @engine.guard_bounded(
        Ledger("openai", "gpt-4", name),
        Budget(max_spend=Decimal(limit_usd), window=3600),
        estimate=Decimal(1),
        actual=lambda _: Decimal(1),
    )
    def guarded(provider: Callable[[], None]) -> None:
        provider()

    def call(provider: Callable[[], None]) -> None:
        try:
            guarded(provider)
        except BudgetExceededError as refusal:
            if refusal.decision.reason is BlockReason.STORE_ERROR:
                raise
            raise Refused from refusal

    try:
        yield call
    finally:
        client.close()


if __name__ == "__main__":
    answer(version("budgetgate"), read_order(), threads=threads)
