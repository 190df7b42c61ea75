"""A unit that is one row more in the table of units is held, kept and answered for everywhere."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.errors import (
    BudgetExceeded,
    InvalidAmount,
    KeyReused,
    Reason,
    UnknownUnit,
)
from earmark.ledger.amounts import amounts_of, counted_units
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import AS_HELD, Extend, Presume, Release, Reserve, Settle
from earmark.stores.copy import copy_store
from earmark.stores.open import open_ledger
from earmark.stores.totals import read_totals
from earmark.testing import ManualClock
from earmark.workspace.resources.books import ENTRY, RESERVATION
from earmark.workspace.workspace import open_workspace
from support.ledger_books import DURABLE, STORES, check_books, only, standing
from support.units import FRAMES, SHEETS, registered

MINUTE = 60 * 10**9
OTHERS = "the books count '{}', a unit which this program does not know: use a newer Earmark"


@pytest.fixture(autouse=True)
def made_up() -> Iterator[ExitStack]:
    """The rows of two units, until a test takes them out."""
    with ExitStack() as rows:
        rows.enter_context(registered(FRAMES, SHEETS))
        yield rows


def frames(ledger: Ledger, path: str = "acme") -> tuple[str, ...]:
    """Return (limit, settled, held, available) of the limit in frames."""
    return standing(ledger, path, "frames")


def test_a_limit_of_it_is_kept(ledger: Ledger) -> None:
    """What does not fit is refused with its numbers; what an operation states is counted."""
    ledger.set_budget("acme", limits=["5 frames per day", "9 usd per day"])
    ledger.reserve("acme", "0.1", units={"frames": 3}, key="a")
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("acme", "0.1", units={"frames": 3})
    error = refused.value
    assert (error.reason, error.unit, error.limit, error.held) == (Reason.HELD, "frames", 5, 3)
    assert (error.requested, error.available, error.window) == (3, 2, "per day")
    with pytest.raises(BudgetExceeded):
        ledger.extend("a", 0, units={"frames": 3})
    ledger.extend("a", 0, units={"frames": 2})
    assert frames(ledger) == ("5", "0", "5", "0")
    assert standing(ledger, "acme") == ("9", "0", "0.1", "8.9")
    previewed = ledger.preview("acme", 0, units={"frames": 6})
    assert previewed is not None
    assert (previewed.reason, previewed.requested) == (Reason.TOO_LARGE, 6)


def test_every_end_counts_it(ledger: Ledger) -> None:
    """As it was held, as it is stated, at least what is known, or not at all."""
    ledger.set_budget("acme", limits=["100 frames per day"])
    for key in ("as held", "stated", "none", "unknown", "known", "released", "over"):
        ledger.reserve("acme", units={"frames": 4}, key=key)
    ledger.settle("as held", 0)
    assert frames(ledger)[1:3] == ("4", "24")
    ledger.settle("stated", 0, units={"frames": 1})
    ledger.settle("none", 0, units={"frames": 0})
    assert frames(ledger)[1:3] == ("5", "16")
    ledger.presume("unknown")
    ledger.presume("known", units={"frames": 6})
    ledger.release("released")
    assert frames(ledger)[1:3] == ("15", "4")
    ledger.settle("known", 0, units={"frames": 2})
    ledger.settle("over", 0, units={"frames": 99})
    assert frames(ledger) == ("100", "110", "0", "-10")


def test_a_passed_deadline_counts_it(ledger: Ledger, clock: ManualClock) -> None:
    """A hold that nobody settled is spent in this unit too, and is corrected by a settlement."""
    ledger.set_budget("acme", limits=["5 frames total"])
    ledger.reserve("acme", units={"frames": 4}, key="lost", deadline="1min")
    clock.advance(timedelta(minutes=2))
    assert frames(ledger) == ("5", "4", "0", "1")
    ledger.settle("lost", 0, units={"frames": 1})
    assert frames(ledger) == ("5", "1", "0", "4")


def test_what_does_not_state_it_is_refused_or_holds_nothing_of_it(ledger: Ledger) -> None:
    """As the row of the unit says; a refusal names what to give."""
    ledger.set_budget("acme", limits=["5 frames per day"])
    ledger.set_budget("other", limits=["5 sheets per day"])
    with pytest.raises(BudgetExceeded, match=r"units=\{'frames': n\}") as refused:
        ledger.reserve("acme", "0.1", units={"sheets": 1, "tokens": 1})
    assert (refused.value.reason, refused.value.unit) == (Reason.UNPRICED, "frames")
    ledger.reserve("acme", "0.1", units={"frames": 1}, key="a")
    with pytest.raises(BudgetExceeded, match=r"units=\{'frames': n\}"):
        ledger.extend("a", "0.1")
    ledger.reserve("other", "0.1", key="b")
    ledger.extend("b", "0.1")
    ledger.settle("b", "0.2", units={"sheets": 2})
    assert standing(ledger, "other", "sheets") == ("5", "2", "0", "3")


def test_a_key_names_one_amount_of_it(ledger: Ledger) -> None:
    """The same request again is a repeat; another count under its key is another request."""
    ledger.set_budget("acme", limits=["50 frames per day"])
    for _ in range(2):
        ledger.reserve("acme", 1, units={"frames": 3}, key="a")
        ledger.extend("a", 0, units={"frames": 2}, operation="more")
    for units in ({"frames": 4}, {"frames": 3, "sheets": 1}, {}):
        with pytest.raises(KeyReused):
            ledger.reserve("acme", 1, units=units, key="a")
    with pytest.raises(KeyReused):
        ledger.extend("a", 0, units={"frames": 1}, operation="more")
    for _ in range(2):
        ledger.settle("a", 1, units={"frames": 3})
    with pytest.raises(KeyReused, match="3 frames"):
        ledger.settle("a", 1, units={"frames": 4})
    with pytest.raises(InvalidAmount):
        ledger.reserve("acme", units={"frames": -1})


def test_everything_that_shows_amounts_shows_it(ledger: Ledger) -> None:
    """Reservations and entries as values and as JSON, balances, alerts, metrics' totals."""
    ledger.set_budget("acme", limits=["4 frames per day"], alerts=[0.5])
    ledger.reserve("acme", "0.5", units={"frames": 1, "tokens": 7}, key="a")
    ledger.extend("a", 0, units={"frames": 1})
    held = RESERVATION.encode(ledger.reservation("a"))
    assert held["units"] == {"calls": 1, "tokens": 7, "frames": 2}
    ledger.settle("a", "0.4", units={"frames": 3})
    row = ledger.reservation("a")
    assert (row.asked.counts, row.hold.counts) == ((("frames", 1),), (("frames", 2),))
    assert RESERVATION.encode(row)["units"] == {"calls": 1, "tokens": 7, "frames": 3}
    told = [ENTRY.encode(each)["units"].get("frames") for each in ledger.entries(key="a")]
    assert told == [1, 1, 3]
    balance = only(ledger, "acme", "frames")
    assert balance.describe() == "4 frames per day"
    assert [(each.unit, each.settled) for each in ledger.alerts()] == [("frames", 3)]
    with open_workspace(ledger) as opened:
        totals = read_totals(opened.ledger.store, opened.tables)
    assert totals.known(("acme", "frames", "day")) == 3


def test_what_was_before_a_limit_counts_in_it(ledger: Ledger) -> None:
    """A limit that counts back, and one that a hold comes to count on by what it adds."""
    ledger.set_budget("acme", limits=["9 usd per day"])
    ledger.reserve("acme", units={"frames": 3}, key="open")
    ledger.settle(ledger.reserve("acme", units={"frames": 2}).key, 0)
    ledger.set_budget("acme", limits=["9 usd per day", "20 frames per day"], count_back=True)
    assert frames(ledger) == ("20", "2", "3", "15")
    ledger.set_budget("acme/a", limits=["9 usd per day"])
    ledger.reserve("acme/a", units={"frames": 4}, key="grows")
    ledger.set_budget("acme/a", limits=["9 usd per day", "5 frames per day"])
    ledger.extend("grows", 0, units={"frames": 3})
    assert frames(ledger, "acme/a") == ("5", "0", "3", "2")
    ledger.settle("grows", 0, units={"frames": 6})
    assert frames(ledger, "acme/a") == ("5", "2", "0", "3")
    assert frames(ledger) == ("20", "8", "3", "9")


def test_one_commit_counts_each_operation_by_itself(ledger: Ledger, clock: ManualClock) -> None:
    """In a batch, next to each other: with it, without it, with another unit."""
    ledger.set_budget("acme", limits=["100 sheets per day", "100 usd per day"])
    counts: list[dict[str, int]] = [
        {"sheets": 2}, {}, {"frames": 3, "sheets": 1}, {"tokens": 5},
    ]  # fmt: skip
    opened = [
        Reserve(f"k{n}", "acme", amounts_of(1, each), MINUTE) for n, each in enumerate(counts)
    ]
    ended = [
        Extend("k0", amounts_of(0, {"sheets": 5}, 0), "x0"),
        Extend("k1", amounts_of(0, {"sheets": 7}, 0), "x1"),
        Settle("k2", amounts_of(1, {"sheets": 9}, AS_HELD)),
        Presume("k1"),
        Release("k3"),
    ]
    ledger.store.apply(opened, clock.instant())
    ledger.store.apply(ended, clock.instant())
    rows = {row.key: row for row in ledger.holds(state=None)}
    assert [counted_units(rows[f"k{n}"].hold).get("sheets") for n in range(4)] == [7, 7, 1, None]
    ends = [rows[f"k{n}"].actual for n in (1, 2, 3)]
    assert [each and dict(each.counts) for each in ends] == [
        {"sheets": 7}, {"frames": 3, "sheets": 9}, {},
    ]  # fmt: skip
    assert standing(ledger, "acme", "sheets") == ("100", "16", "7", "77")


def test_it_outlives_the_program(open_store: Callable[[], Ledger]) -> None:
    """What is held and settled is there after a restart, and goes on from there."""
    books = open_store()
    books.set_budget("acme", limits=["9 frames per day"])
    books.reserve("acme", units={"frames": 2}, key="a")
    books.extend("a", 0, units={"frames": 1})
    books.settle(books.reserve("acme", units={"frames": 4}).key, 0)
    before = (books.holds(state=None), books.entries())
    books.close()
    again = open_store()
    assert (again.holds(state=None), again.entries()) == before
    assert frames(again) == ("9", "4", "3", "2")
    again.settle("a", 0, units={"frames": 1})
    assert frames(again) == ("9", "5", "0", "4")
    check_books(again)


@pytest.mark.parametrize("target", DURABLE)
@pytest.mark.parametrize("source", DURABLE)
def test_it_is_copied(source: str, target: str, tmp_path: Path, clock: ManualClock) -> None:
    """To a store of either kind: the amounts, what was asked first, and what counts in part."""
    places = [tmp_path / "source", tmp_path / "target"]
    for place in places:
        place.mkdir()
    here, there = STORES[source](places[0]), STORES[target](places[1])
    with open_ledger(here, clock=clock) as books:
        books.set_budget("acme", limits=["9 usd per day"])
        books.reserve("acme", units={"frames": 2}, key="a")
        books.set_budget("acme", limits=["9 frames per day"])
        books.extend("a", 0, units={"frames": 1})
        books.settle(books.reserve("acme", units={"frames": 4}).key, 0, units={"frames": 3})
        written = (books.holds(state=None), books.entries(), books.balances("acme"))
    copy_store(here, there, with_holds=True, clock=clock, progress=lambda _stage, _rows: None)
    with open_ledger(there, clock=clock) as books:
        assert (books.holds(state=None), books.entries(), books.balances("acme")) == written
        assert frames(books) == ("9", "3", "1", "5")
        check_books(books)


def test_a_program_without_the_row_refuses_its_limit(
    open_store: Callable[[], Ledger], made_up: ExitStack
) -> None:
    """It keeps no limit that it does not understand, and says so; what else there is goes on."""
    books = open_store()
    books.set_budget("acme", limits=["9 usd per day", "9 sheets per day"])
    books.set_budget("other", limits=["9 usd per day"])
    books.close()
    made_up.close()
    older = open_store()
    for ask in (
        *[lambda: older.reserve("acme", 1)] * 2,
        lambda: older.reserve("acme/below", 1),
        lambda: older.preview("acme", 1),
        lambda: older.balances("acme"),
        older.budgets,
        older.audit,
    ):
        with pytest.raises(UnknownUnit, match=OTHERS.format("sheets")):
            ask()
    assert older.reserve("other", 1).state == "open"


def test_a_program_without_the_row_refuses_its_counts(
    open_store: Callable[[], Ledger], made_up: ExitStack
) -> None:
    """A reservation, an entry or an account that counts it is not read as one that does not."""
    books = open_store()
    books.set_budget("acme", limits=["9 usd per day", "9 frames per day"])
    books.reserve("acme", 1, units={"frames": 2}, key="a")
    books.extend("a", 0, units={"frames": 1})
    books.set_budget("acme", limits=["9 usd per day"])
    books.close()
    made_up.close()
    older = open_store()
    for ask in (
        lambda: older.settle("a", 1),
        lambda: older.release("a"),
        lambda: older.reservation("a"),
        older.holds,
        older.entries,
        older.audit,
    ):
        with pytest.raises(UnknownUnit, match=OTHERS.format("frames")):
            ask()


def test_a_program_without_the_row_refuses_its_accounts(
    open_store: Callable[[], Ledger], made_up: ExitStack
) -> None:
    """Sums of it that are left of a limit are not audited as those of another unit."""
    books = open_store()
    books.set_budget("acme", limits=["9 usd per day", "9 sheets per day"])
    books.release(books.reserve("acme", 1).key)
    books.set_budget("acme", limits=["9 usd per day"])
    books.close()
    made_up.close()
    older = open_store()
    assert older.reserve("acme", 1).state == "open"
    with pytest.raises(UnknownUnit, match=OTHERS.format("sheets")):
        older.audit()


def test_a_live_program_without_the_row_refuses_what_a_newer_one_wrote(
    open_store: Callable[[], Ledger], made_up: ExitStack
) -> None:
    """A limit that is set while it is at work is not passed by what it knew before."""
    older, newer = open_store(), open_store()
    newer.set_budget("acme", limits=["9 usd per day"])
    older.settle(older.reserve("acme", 1).key, 1)
    newer.set_budget("acme", limits=["9 usd per day", "0 sheets per day"])
    made_up.close()
    with pytest.raises(UnknownUnit, match=OTHERS.format("sheets")):
        older.reserve("acme", 1)
    with registered(FRAMES, SHEETS):
        assert newer.reserve("acme", 1).state == "open"
