"""Arguments that no typed caller would give: an input error that says what is wrong."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import EarmarkError, InputError
from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock
from support.budget_fields import given
from support.ledger_books import check_books, open_books

UNTIL = datetime(2026, 11, 23, tzinfo=UTC)

#: Every method, with arguments it takes.
CALLS: dict[str, dict[str, Any]] = {
    "reserve": {
        "budget": "acme", "amount": 1, "key": "new", "units": {"tokens": 5}, "deadline": "1h",
        "wait": None, "labels": {"a": "b"}, "operation": "request",
    },
    "spend": {
        "budget": "acme", "up_to": 1, "key": "new", "units": {"tokens": 5}, "deadline": "1h",
        "labels": {"a": "b"},
    },
    "extend": {"key": "call", "amount": 1, "units": {"tokens": 5}, "operation": "more"},
    "settle": {"key": "call", "amount": 1, "units": {"tokens": 5}},
    "release": {"key": "call"},
    "presume": {"key": "call"},
    "set_budget": {"path": "acme", **given(), "actor": "me", "reason": "so"},
    "pause": {"path": "acme", "actor": "me", "reason": "so", "until": UNTIL},
    "resume": {"path": "acme", "actor": "me", "reason": "so"},
    "extend_budget": {
        "path": "acme", "limit": "1 usd per day", "until": UNTIL, "actor": "me", "reason": "so",
        "key": "increase",
    },
    "balances": {"path": "acme"},
    "budgets": {"prefix": "acme"},
    "reservation": {"key": "call"},
    "holds": {
        "budget": "acme", "state": "open", "key": "call", "since": UNTIL, "until": UNTIL, "most": 5,
    },
    "entries": {
        "budget": "acme", "key": "call", "since": UNTIL, "until": UNTIL, "after": 0, "most": 5,
    },
    "alerts": {"budget": "acme", "most": 5},
}  # fmt: skip

#: Digits of other scripts, which Python's numbers read as well.
WIDE, ARABIC = "\uff11.\uff15", "\u0661\u0662"

#: What untyped callers give by mistake, and what a test of limits thinks of.
ODD: list[Any] = [
    None, [], {}, set(), object(), [None], ["x"], [[]], {5: 1}, {"tokens": None},
    {"a": float("nan")},
    {"a": {"b"}}, 10**5000, -(10**5000), -1, 1 << 63, 1.5, float("nan"), float("inf"), True, "",
    "\0", "a\0b", "\ud800", WIDE, ARABIC, "x" * 10_000, b"x", Decimal(10**3000), Decimal("sNaN"),
    datetime(2026, 11, 23), timedelta(-1), timedelta.max, datetime.max.replace(tzinfo=UTC),  # noqa: DTZ001 - naive
    datetime.min.replace(tzinfo=UTC), UNTIL, Path("x"), [10**5000], {"tokens": 10**5000}, "bogus",
    "1 usd per day",
]  # fmt: skip


@pytest.fixture(params=["threads", "tasks"])
def books(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Ledger]:
    """Books in memory: what is refused here never comes to a store."""
    opened = open_books("memory:", clock, face=request.param)
    start(opened)
    yield opened
    check_books(opened)
    opened.close()


def start(books: Ledger) -> None:
    """Set a budget and open one reservation."""
    books.set_budget("acme", limits=["10 usd per day", "100 tokens per day"])
    books.reserve("acme", 1, key="call", units={"tokens": 5})


@pytest.mark.parametrize("method", CALLS)
def test_an_odd_argument_is_taken_or_is_an_input_error(books: Ledger, method: str) -> None:
    """Whatever is given, it is answered in a sentence; nothing is changed by what is refused."""
    for name, odd in itertools.product(CALLS[method], ODD):
        before = len(books.entries())
        try:
            getattr(books, method)(**CALLS[method] | {name: odd})
        except InputError as error:
            assert 0 < len(str(error)) < 300  # noqa: PT017 - taken is right as well
            assert len(books.entries()) == before
        except EarmarkError:
            # Taken as input, and refused for what is in the books.
            assert len(books.entries()) == before


REFUSED: dict[str, Callable[[Ledger], object]] = {
    "no rows": lambda books: books.holds(most=0),
    "rows below nothing": lambda books: books.entries(most=-1),
    "more rows than there can be": lambda books: books.alerts(most=1 << 63),
    "rows as text": lambda books: books.holds(most="5"),  # type: ignore[arg-type]
    "an entry before the first": lambda books: books.entries(after=-1),
    "a state that is none": lambda books: books.holds(state="bogus"),  # type: ignore[arg-type]
    "a label whose name is half a character": lambda books: books.reserve(
        "acme", 1, labels={"\ud800": "b"}
    ),
    "a label that is half a character": lambda books: books.reserve(
        "acme", 1, labels={"a": "\udfff"}
    ),
    "a pause by half a character": lambda books: books.pause("acme", actor="\ud800"),
    "a pause because of half a character": lambda books: books.pause("acme", reason="\ud800"),
    "a resumption by half a character": lambda books: books.resume("acme", actor="\ud800"),
    "a resumption because of half a character": lambda books: books.resume("acme", reason="\ud800"),
    "a budget made by half a character": lambda books: books.set_budget(
        "acme", limits=["5 usd per day"], actor="\ud800"
    ),
    "a kind of budget that is none": lambda books: books.budgets(kind="foo"),  # type: ignore[arg-type]
    "a label that is a number": lambda books: books.reserve("acme", 1, labels={"a": 1}),  # type: ignore[dict-item]
    "a label that is no number": lambda books: books.reserve(
        "acme",
        1,
        labels={"a": float("nan")},  # type: ignore[dict-item]
    ),
    "wide digits": lambda books: books.reserve("acme", WIDE),
    "arabic digits": lambda books: books.reserve("acme", ARABIC),
    "a limit in wide digits": lambda books: books.set_budget("acme", limits=[f"{WIDE} usd total"]),
    "a threshold in wide digits": lambda books: books.set_budget("acme", alerts=[WIDE]),
    "a duration in wide digits": lambda books: books.reserve("acme", 1, deadline=f"{WIDE}h"),
    "no deadline": lambda books: books.reserve("acme", 1, deadline=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("act", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(books: Ledger, act: Callable[[Ledger], object]) -> None:
    """It looks like an argument of its type and is none."""
    with pytest.raises(InputError):
        act(books)


def test_one_limit_as_text_is_no_list_of_limits(books: Ledger) -> None:
    """A text is a list of characters to Python: the message says what to give."""
    with pytest.raises(InputError, match=r"'1 usd per day' is not a list of limits: .*\['10 usd"):
        books.set_budget("acme", limits="1 usd per day")


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize("text", ["a\0", "a\nb", "\ud800", "x" * 300, ""])
def test_what_no_store_can_hold_is_looked_up_nowhere(ledger: Ledger, text: str) -> None:
    """A key or path with a NUL, a line end or half a character is refused before a look."""
    start(ledger)
    for look in (
        lambda: ledger.reservation(text),
        lambda: ledger.holds(key=text),
        lambda: ledger.entries(key=text),
        lambda: ledger.holds(text),
        lambda: ledger.entries(text),
        lambda: ledger.alerts(text),
        lambda: ledger.balances(text),
        lambda: ledger.balances(text, tree=True),
        lambda: ledger.budgets(text),
    ):
        with pytest.raises(InputError):
            look()
