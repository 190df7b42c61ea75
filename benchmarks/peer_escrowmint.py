"""EscrowMint in the peers' scenario: `reserve` and `commit` of one `Client`, as in its README.

Its amounts are integers, and a commit books the whole hold: here a dollar is one.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from escrowmint import Client, InsufficientQuota

from benchmarks.peer_scenario import Call, Order, Refused, answer, read_order

_TTL_MS: Final = 60_000


@contextmanager
def threads(order: Order, name: str, limit_usd: int) -> Generator[Call]:
    """Open a client with a pool of *limit_usd*."""
    with Client.from_url(order.place) as client:
        client.top_up(name, limit_usd, idempotency_key=name)

        def call(provider: Callable[[], None]) -> None:
            try:
                reservation = client.reserve(name, 1, ttl_ms=_TTL_MS)
            except InsufficientQuota as refusal:
                raise Refused from refusal
            provider()
            client.commit(name, reservation.reservation_id)

        yield call


if __name__ == "__main__":
    answer(version("escrowmint"), read_order(), threads=threads)
