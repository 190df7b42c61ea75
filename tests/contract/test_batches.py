"""Operations that are committed together: each is decided as if it had come alone, in its turn."""

import asyncio
from typing import Any

from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import check_books, standing


def test_a_limit_that_is_lowered_takes_back_nothing_of_its_batch(
    url: str, clock: ManualClock
) -> None:
    """Nine of ten are reserved, then the limit becomes five: both succeed, and so do all others."""
    with open_ledger(url, clock=clock) as ledger:
        for path in ("a", "b"):
            ledger.set_budget(path, limits=["10 usd total"])

        async def together() -> list[Any]:
            books = ledger.as_async()
            return await asyncio.gather(
                books.reserve("a", "9", key="big"),
                books.reserve("b", "9", key="other"),
                books.set_budget("a", limits=["5 usd total"]),
                books.settle("big", "3"),
                books.set_budget("b", limits=["20 usd total"]),
                books.extend("other", "11"),
                books.set_budget("b", limits=["0 usd total"]),
            )

        asyncio.run(together())
        assert standing(ledger, "a") == ("5", "3", "0", "2")
        assert standing(ledger, "b") == ("0", "0", "20", "-20")
        assert_goes_on(ledger)


def assert_goes_on(ledger: Ledger) -> None:
    """Assert that the ledger takes every kind of operation as before."""
    ledger.reserve("a", 1, key="later")
    ledger.pause("a")
    ledger.resume("a")
    ledger.settle("later", 1)
    check_books(ledger)
