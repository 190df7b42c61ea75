"""Keys: an operation is done once however often it is asked."""

from datetime import timedelta

import pytest

from earmark.errors import BudgetExceeded, InvalidKey, KeyReused
from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock
from support.ledger_books import standing


@pytest.fixture
def books(ledger: Ledger) -> Ledger:
    """Books with one dollar a day and 100 tokens."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.set_budget("acme/a", limits=["100 tokens per day"])
    return ledger


def test_a_repeat_gives_the_first_answer(books: Ledger) -> None:
    """The same reserve under the same key holds once and answers the same."""
    first = books.reserve("acme", "0.6", key="k")
    assert books.reserve("acme", "0.6", key="k") == first
    assert standing(books, "acme") == ("1", "0", "0.6", "0.4")
    assert len(books.holds()) == 1


def test_a_repeat_is_answered_when_nothing_is_left(books: Ledger) -> None:
    """A repeat of what was accepted is not refused because the budget is full, or paused."""
    first = books.reserve("acme", 1, key="k")
    books.pause("acme", actor="Ada", reason="stop")
    assert books.reserve("acme", 1, key="k") == first


@pytest.mark.parametrize("close", ["settle", "release", "presume"])
def test_a_repeat_after_the_close_reserves_nothing(books: Ledger, close: str) -> None:
    """A late repeat of a reserve finds the closed reservation and opens no other."""
    first = books.reserve("acme", "0.6", key="k")
    getattr(books, close)(*(("k", "0.1") if close == "settle" else ("k",)))
    before = standing(books, "acme")
    again = books.reserve("acme", "0.6", key="k")
    assert (again.key, again.seq, again.amount) == (first.key, first.seq, first.amount)
    assert standing(books, "acme") == before


def test_other_content_under_a_key_is_refused(books: Ledger) -> None:
    """The same key with another amount, budget or units says what differs, and changes nothing."""
    books.reserve("acme", "0.2", key="k")
    with pytest.raises(KeyReused, match=r"0\.2 usd.*0\.3 usd"):
        books.reserve("acme", "0.3", key="k")
    with pytest.raises(KeyReused, match="acme/a"):
        books.reserve("acme/a", "0.2", key="k", units={"tokens": 1})
    with pytest.raises(KeyReused, match="5 tokens"):
        books.reserve("acme", "0.2", key="k", units={"tokens": 5})
    with pytest.raises(KeyReused, match="2 calls"):
        books.reserve("acme", "0.2", key="k", units={"calls": 2})
    assert standing(books, "acme") == ("1", "0", "0.2", "0.8")


def test_a_key_that_was_refused_is_asked_anew(books: Ledger) -> None:
    """A refusal is not stored: the key may come back, also with other content."""
    with pytest.raises(BudgetExceeded):
        books.reserve("acme", 2, key="k")
    with pytest.raises(BudgetExceeded):
        books.reserve("acme", 3, key="k")
    assert str(books.reserve("acme", 1, key="k").amount) == "1"


def test_without_a_key_each_reserve_is_another(books: Ledger) -> None:
    """Reservations without a key of the caller's get one of their own."""
    keys = {books.reserve("acme", "0.1").key for _ in range(5)}
    assert len(keys) == 5
    assert standing(books, "acme") == ("1", "0", "0.5", "0.5")


def test_a_key_is_any_printable_text(books: Ledger) -> None:
    """Keys are kept as given: case, spaces, quotes and every script."""
    keys = ["k", "K", "k ", "é", "日本", "'; DROP TABLE entry; --", "x" * 255]
    for key in keys:
        books.reserve("acme", "0.1", key=key)
    assert sorted(hold.key for hold in books.holds()) == sorted(keys)
    assert [books.settle(key, "0.1").key for key in keys] == keys


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\x00b", "\ud800"])
def test_what_is_no_key_is_refused(edges: list[Ledger], key: str) -> None:
    """An empty, overlong or unprintable key is refused before the books are asked."""
    for books in edges:
        for act in (
            lambda books: books.reserve("acme", "0.1", key=key),
            lambda books: books.settle(key, "0.1"),
            lambda books: books.release(key),
            lambda books: books.presume(key),
            lambda books: books.extend(key, "0.1"),
        ):
            with pytest.raises(InvalidKey):
                act(books)


def test_a_temporary_increase_under_a_key_is_given_once(books: Ledger, clock: ManualClock) -> None:
    """Extending a budget twice under one key adds once; other content is refused."""
    end = clock.now + timedelta(hours=1)
    for _ in range(2):
        books.extend_budget("acme", "2 usd per day", until=end, actor="Ada", reason="r", key="e")
    assert standing(books, "acme") == ("3", "0", "0", "3")
    with pytest.raises(KeyReused, match="e"):
        books.extend_budget("acme", "4 usd per day", until=end, actor="Ada", reason="r", key="e")
    assert standing(books, "acme") == ("3", "0", "0", "3")


def test_a_key_of_one_budgets_increase_is_not_anothers(books: Ledger, clock: ManualClock) -> None:
    """The same increase of another budget under the same key is refused, not silently dropped."""
    end = clock.now + timedelta(hours=1)
    books.set_budget("beta", limits=["1 usd per day"])
    books.extend_budget("acme", "2 usd per day", until=end, key="e")
    with pytest.raises(KeyReused):
        books.extend_budget("beta", "2 usd per day", until=end, key="e")
    assert standing(books, "beta")[0] == "1"
