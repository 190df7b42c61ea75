"""Bad input: refused in one clear sentence at the edge; nothing is changed, nobody else suffers."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from earmark.errors import EarmarkError, FloatAmount, InputError, InvalidAmount
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Reserve
from earmark.testing import ManualClock


@pytest.fixture
def books(ledger: Ledger) -> Ledger:
    """Books with one open reservation."""
    ledger.set_budget("acme", limits=["10 usd per day"])
    ledger.reserve("acme", 1, key="call")
    return ledger


BAD_AMOUNTS: list[Any] = [
    0.1, float("nan"), float("inf"), True, None, [], "", "ten", "NaN", "Infinity", "-1", -1,
    Decimal("NaN"), Decimal("-0.1"), Decimal("sNaN"), "0.0000000001", "1e400", "1e999999999",
    "0e999999999x", "1_000", "0x10", "9" * 50, "9007199.254740992", 10**30, Decimal("1e30"),
]  # fmt: skip


@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=repr)
def test_what_is_no_amount_is_refused_everywhere(edges: list[Ledger], amount: Any) -> None:
    """Floats, NaN, negative, too fine and absurd amounts reach no store, whatever is asked."""
    for books in edges:
        for act in (
            lambda books: books.reserve("acme", amount),
            lambda books: books.extend("call", amount),
            lambda books: books.settle("call", amount),
            lambda books: books.spend("acme", amount),
        ):
            with pytest.raises(InvalidAmount) as refused:
                act(books)
            assert len(str(refused.value)) < 200


def test_what_is_right_reaches_the_store(edges: list[Ledger]) -> None:
    """The ledgers without one, which refuse what is wrong, ask it for all else."""
    for books in edges:
        with pytest.raises(AssertionError, match="the store was asked: submit"):
            books.reserve("acme", "1")


@pytest.mark.parametrize("amount", [0.1, float("nan"), True, None])
def test_a_float_is_a_type_error(edges: list[Ledger], amount: Any) -> None:
    """A float for money is a `TypeError`, as for any wrong type."""
    for books in edges:
        with pytest.raises(FloatAmount) as refused:
            books.reserve("acme", amount)
        assert isinstance(refused.value, TypeError)
        assert isinstance(refused.value, ValueError)


def test_nothing_is_nothing_however_it_is_written(books: Ledger) -> None:
    """Zero with an absurd exponent is read at once, as zero."""
    for text in ("0e999999999", "0e-999999999", "-0", " 0 "):
        assert str(books.reserve("acme", text).amount) == "0"


@pytest.mark.parametrize(
    "path",
    ["", "/", "acme/", "/acme", "a//b", "a b", "a/../b", ".", "ü", "a\x00", "a/" * 16 + "a",
     "x" * 256, "x" * 65, 7, None],
)  # fmt: skip
def test_what_is_no_path_is_refused(edges: list[Ledger], path: Any) -> None:
    """A path of other characters, too long or too deep is refused by name."""
    for books in edges:
        for act in ("reserve", "pause", "resume", "balances"):
            with pytest.raises(InputError):
                getattr(books, act)(path)
        with pytest.raises(InputError):
            books.set_budget(path, limits=["1 usd per day"])


@pytest.mark.parametrize(
    "limit",
    ["", "10", "10 usd", "usd per day", "10 eur per day", "10 usd per fortnight", "-1 usd per day",
     "nan usd per day", "1.5 calls per day", "10 usd per 0min", "10 usd per 25h", "1 usd per total",
     "5000000000 usd total", "1e99 usd total", "10 usd per day per day", 10.0, None],
)  # fmt: skip
def test_what_is_no_limit_is_refused(edges: list[Ledger], clock: ManualClock, limit: Any) -> None:
    """An unknown unit or window and amounts that are none never come to a budget."""
    for books in edges:
        with pytest.raises(InputError):
            books.set_budget("acme", limits=[limit])
        with pytest.raises(InputError):
            books.extend_budget("acme", limit, until=clock.now + timedelta(hours=1))


@pytest.mark.parametrize(
    "wrong",
    [{"timezone": "Mars/Olympus"}, {"timezone": ""}, {"timezone": "../etc/passwd"},
     {"alerts": [0]}, {"alerts": [-0.5]}, {"alerts": [float("nan")]}, {"alerts": ["most"]},
     {"limits": ["1 usd per day", "2 usd per day"]}, {"actor": "x" * 2000}, {"kind": "wallet"}],
)  # fmt: skip
def test_a_budget_with_a_wrong_part_is_refused_whole(edges: list[Ledger], wrong: Any) -> None:
    """An unknown zone, an absurd threshold or a limit given twice changes nothing."""
    for books in edges:
        with pytest.raises(InputError):
            books.set_budget("acme", **({"limits": ["5 usd per day"]} | wrong))


@pytest.mark.parametrize(
    "labels", [{"run": "x" * 5000}, {str(n): "x" for n in range(1000)}], ids=["long", "many"]
)
def test_labels_have_a_size(edges: list[Ledger], labels: dict[str, str]) -> None:
    """Labels beyond 4,096 characters are refused."""
    for books in edges:
        with pytest.raises(InputError, match="4096"):
            books.reserve("acme", 1, labels=labels)


Bad = Callable[[Ledger, ManualClock], Any]
POISON: dict[str, Bad] = {
    "a deadline in 2500": lambda books, clock: books.reserve(
        "acme", 1, deadline=clock.now.replace(year=2500)
    ),
    "half a character": lambda books, _: books.reserve("acme", 1, labels={"a": "\udfff"}),
    "a pause until 2500": lambda books, clock: books.pause(
        "other", until=clock.now.replace(year=2500)
    ),
    "the largest amounts": lambda books, _: books.reserve("acme", "9007199.254740991"),
}


@pytest.mark.parametrize("name", POISON)
def test_an_odd_request_is_answered_in_its_own_words(
    books: Ledger, clock: ManualClock, name: str
) -> None:
    """Input at the edge of what the books can hold is kept, or refused as what it is."""
    books.set_budget("other", limits=["1 usd per day"])
    try:
        POISON[name](books, clock)
    except EarmarkError as error:
        assert error.code in {"invalid_duration", "budget_exceeded", "invalid_key"}  # noqa: PT017 - either is right
    books.reserve("acme", 1)


def test_one_bad_operation_leaves_its_batch_alone(books: Ledger, clock: ManualClock) -> None:
    """Operations committed together are decided one by one: a refused one harms no other."""
    good = [Reserve(f"good {n}", "acme", Amounts(10**9), 10**12) for n in range(2)]
    huge = Reserve("huge", "acme", Amounts((1 << 53) - 1), 10**12)
    nowhere = Reserve("nowhere", "no/where", Amounts(1), 10**12)
    decisions = books.store.apply([good[0], huge, nowhere, good[1]], clock.instant())
    assert [type(d).__name__ for d in decisions] == ["Accepted", "Refused", "Refused", "Accepted"]
    assert {hold.key for hold in books.holds()} == {"call", "good 0", "good 1"}
