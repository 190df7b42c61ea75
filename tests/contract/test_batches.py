"""Operations that are committed together: each is decided as if it had come alone, in its turn."""

import asyncio
from typing import Any

from earmark.ledger.ledger import Ledger
from earmark.ledger.values import AS_HELD, Account, Amounts, Refused, Reserve, Settle
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.ledger_books import check_books, standing

HOUR = 3600 * 10**9


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


def test_what_was_shown_stays_as_it_was(url: str, clock: ManualClock) -> None:
    """A refusal says how its account stood in its turn; accounts that were read do not change."""
    with open_ledger(url, clock=clock) as ledger:
        ledger.set_budget("a", limits=["10 usd total"])
        ledger.reserve("a", "6", key="first")
        store, now = ledger.store, clock.instant()
        snapshot = store.snapshot()
        read = [*store.accounts("a", now), *snapshot.accounts()]
        refused, *_ = store.apply(
            [
                Reserve("second", "a", _usd(5), HOUR),
                Settle("first", Amounts(_usd(1).usd, AS_HELD)),
                Reserve("third", "a", _usd(9), HOUR),
            ],
            now,
        )
        assert isinstance(refused, Refused)
        assert refused.account is not None
        assert _sums([refused.account, *read, *snapshot.accounts()]) == [(0, _usd(6).usd)] * 4
        assert standing(ledger, "a") == ("10", "1", "9", "0")
        snapshot.close()


def _usd(amount: int) -> Amounts:
    return Amounts(amount * 10**9)


def _sums(accounts: list[Account]) -> list[tuple[int, int]]:
    return [(each.settled, each.held) for each in accounts]


def assert_goes_on(ledger: Ledger) -> None:
    """Assert that the ledger takes every kind of operation as before."""
    ledger.reserve("a", 1, key="later")
    ledger.pause("a")
    ledger.resume("a")
    ledger.settle("later", 1)
    check_books(ledger)
