"""What other processes commit while the PostgreSQL store decides a batch binds that batch."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import psycopg
import pytest

from earmark.clock import NANOS_PER_SECOND
from earmark.errors import BudgetExceeded, NoBudget
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    Accepted,
    Amounts,
    Decision,
    Extend,
    Operation,
    Presume,
    Refused,
    Release,
    Reserve,
    Settle,
)
from earmark.money import to_nanos
from earmark.stores.open import open_ledger
from earmark.stores.postgres import PostgresStore
from earmark.testing import ManualClock
from support.last_resort import until
from support.ledger_books import check_books, standing
from support.postgres_locks import locked, waiters
from support.postgres_session import fresh_url, shared_server

HOUR: Final = 3600 * NANOS_PER_SECOND


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger, ManualClock]]:
    """Two ledgers on the same books, and the clock of both."""
    url, clock = fresh_url(tmp_path), ManualClock()
    with open_ledger(url, clock=clock) as one, open_ledger(url, clock=clock) as other:
        yield one, other, clock


def usd(amount: int) -> Amounts:
    """Return *amount* dollars and one call."""
    return Amounts(to_nanos(amount), 1)


def applied_meanwhile(
    ledger: Ledger, operation: Operation, work: Callable[[], object], now: int
) -> Decision:
    """Return the answer to *operation*; *work* is committed after its trees were looked up.

    A reservation of the same batch holds it up where it locks them: somebody has the tree "held".
    """
    store = ledger.store
    assert isinstance(store, PostgresStore)
    schema = store._url.schema
    with ThreadPoolExecutor(1) as threads:
        with locked(shared_server(), schema, "held") as holder:
            waits = Reserve("waits", "held", usd(1), HOUR)
            asked = threads.submit(store.apply, [operation, waits], now)
            until(lambda: asked.done() or waiters(holder))
            work()
        decision, other = asked.result()
    assert isinstance(other, Accepted)
    return decision


@pytest.mark.parametrize(
    ("operation", "sums"),
    [
        (Settle("k", usd(1)), ("1", "0")),
        (Release("k"), ("0", "0")),
        (Presume("k"), ("3", "0")),
        (Extend("k", usd(1), "more"), ("0", "4")),
    ],
    ids=["settle", "release", "presume", "extend"],
)
def test_a_reservation_that_is_opened_meanwhile_is_found(
    two: tuple[Ledger, Ledger, ManualClock], operation: Operation, sums: tuple[str, str]
) -> None:
    """Its tree was not known when the locks were taken: it is locked too, and all is written."""
    one, other, clock = two
    for tree in ("held", "acme"):
        other.set_budget(tree, limits=["10 usd total"])
    answer = applied_meanwhile(
        one, operation, lambda: other.reserve("acme", 3, key="k"), clock.instant()
    )
    assert isinstance(answer, Accepted)
    assert standing(other, "acme")[1:3] == sums
    check_books(one)


@pytest.mark.parametrize("change", ["limit", "pause"])
def test_limits_are_obeyed_after_a_refusal_in_a_tree_that_was_found_late(
    two: tuple[Ledger, Ledger, ManualClock], change: str
) -> None:
    """What the refusal was decided on is not believed once another process changed the budget."""
    one, other, clock = two
    for tree in ("held", "acme"):
        other.set_budget(tree, limits=["10 usd total"])
    answer = applied_meanwhile(
        one,
        Extend("k", usd(100), "more"),
        lambda: other.reserve("acme", 1, key="k"),
        clock.instant(),
    )
    assert isinstance(answer, Refused)
    assert answer.why == "exceeded"
    if change == "limit":
        other.set_budget("acme", limits=["2 usd total"])
    else:
        other.pause("acme")
    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="paused" if change == "pause" else "limit"):
            one.reserve("acme", 4)
    assert standing(other, "acme")[1:3] == ("0", "1")


@pytest.mark.parametrize(("amount", "answered"), [(2, Accepted), (3, Refused)])
def test_a_tree_that_is_made_meanwhile_is_locked(
    two: tuple[Ledger, Ledger, ManualClock], amount: int, answered: type[Decision]
) -> None:
    """A reservation that came before its budgets is decided on all of them, or on none."""
    one, other, clock = two
    other.set_budget("held", limits=["10 usd total"])

    def make() -> None:
        other.set_budget("acme", limits=["2 usd total"])
        other.set_budget("acme/leaf", limits=["100 usd total"])

    answer = applied_meanwhile(
        one, Reserve("k", "acme/leaf", usd(amount), HOUR), make, clock.instant()
    )
    assert type(answer) is answered
    other.set_budget("acme", limits=["1 usd total"])
    with pytest.raises(BudgetExceeded):
        one.reserve("acme/leaf", 2)
    check_books(one)


def test_an_unknown_root_costs_no_other_tree_what_is_known_of_it(
    two: tuple[Ledger, Ledger, ManualClock],
) -> None:
    """Anybody can ask for paths without a budget: the others are still decided quickly."""
    one, _, _ = two
    one.set_budget("acme", limits=["10 usd total"])
    one.reserve("acme", 1, key="open")
    with pytest.raises(NoBudget):
        one.reserve("nobody", 1)
    assert isinstance(one.store, PostgresStore)
    books = one.store._writer._books
    assert books.opened("open") is not None
    assert books.unknown(["acme", "nobody"]) == {"nobody"}


def test_another_zone_takes_as_many_statements_however_many_reservations_there_are(
    two: tuple[Ledger, Ledger, ManualClock],
) -> None:
    """All of them get their new account in one statement, for their tree is locked meanwhile."""
    one, _, clock = two
    assert isinstance(one.store, PostgresStore)
    statements = count()

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **options: Any) -> Self:
            next(statements)
            return super().execute(*args, **options)

    one.store._writer.link.connection.cursor_factory = Counting
    taken: list[int] = []
    for tree, reservations in (("few", 3), ("many", 300)):
        one.set_budget(tree, limits=["1000 usd per day"], timezone="UTC")
        batch = [Reserve(f"{tree}-{n}", tree, usd(1), HOUR) for n in range(reservations)]
        one.store.apply(batch, clock.instant())
        before = next(statements)
        one.set_budget(tree, timezone="Asia/Tokyo")
        taken.append(next(statements) - before)
        assert standing(one, tree)[2] == str(reservations)
        one.settle(f"{tree}-0", 1)
    assert 0 < taken[1] <= taken[0] + 3
    check_books(one)
