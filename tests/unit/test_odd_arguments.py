"""Public functions and odd arguments: each is taken, or an error says what to give."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

import pytest

import earmark
from earmark.runs.options import Options

BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
BOOK = earmark.PriceBook({"local/m": {"input_mtok": "1", "output_mtok": "2"}})
GRAPH = '{"description": "d", "version": "1", "root": {"op": "Const", "value": 1}}'
NOW = datetime(2026, 11, 22, tzinfo=UTC)
#: Longer than any of them needs to be.
LONGEST_SENTENCE = 500


class Odd:
    """Something of a type that nobody expects."""


ODD: list[Any] = [
    None, Odd(), Odd, [], {}, set(), (), [None], ["x"], [[]], {5: 1}, {"a": None}, {"a": {"b": 1}},
    10**5000, -1, 0, 7, 1 << 63, 1.5, float("nan"), True, "", "\0", "\ud800", "big", "x" * 10_000,
    b"x", b"\xff", Decimal("sNaN"), datetime(2026, 11, 23), timedelta(-1), timedelta.max,  # noqa: DTZ001 - naive
    datetime.min.replace(tzinfo=UTC), Path("x"), len, earmark, ValueError("x"),
]  # fmt: skip


@pytest.fixture
def ledger() -> Iterator[earmark.Ledger]:
    """Books in memory."""
    with earmark.open("memory:") as opened:
        opened.set_budget("acme", limits=["10 usd per day"])
        yield opened


def run(books: earmark.Ledger, **given: Any) -> None:
    """Run a composition that costs nothing."""
    graph, entered = given.pop("graph", GRAPH), given.pop("input", None)
    earmark.run(graph, entered, **{"ledger": books, "under": "acme", "budget": 1} | given)


def guard(books: earmark.Ledger, **given: Any) -> None:
    """Make a guard, and open a ticket of it."""
    made = earmark.Guard(given.pop("ledger", books), **given)
    with made.open("acme", BODY, wait=None) as ticket:
        ticket.release()


def ticket(books: earmark.Ledger, **options: Any) -> None:
    """Open a ticket and give its hold back."""
    under, request = options.pop("under", "acme"), options.pop("request", BODY)
    with earmark.Guard(books).open(under, request, **{"wait": None} | options) as opened:
        opened.release()


def settled(books: earmark.Ledger, **given: Any) -> None:
    """Settle a ticket."""
    with earmark.Guard(books).open("acme", BODY, wait=None) as opened:
        opened.settle(**{"reply": "0.01"} | given)


def produced(books: earmark.Ledger, **given: Any) -> None:
    """Report what a stream produced."""
    with earmark.Guard(books).open("acme", BODY, wait=None) as opened:
        opened.produced(**given)


def bound(_: earmark.Ledger, **given: Any) -> None:
    """Bound a request."""
    earmark.bound(**{"body": BODY, "api": "openai", "provider": "openai", "book": BOOK} | given)


def cost(_: earmark.Ledger, **given: Any) -> None:
    """Price a usage, or a reply."""
    counted = {} if "body" in given else {"usage": {"input_tokens": 5}}
    earmark.cost(**{"model": "gpt-4o-mini", **counted} | given)


def count_request(_: earmark.Ledger, **given: Any) -> None:
    """Ask what is sent to have a request counted."""
    earmark.count_request(**{"body": BODY, "api": "anthropic"} | given)


def parse(_: earmark.Ledger, **given: Any) -> None:
    """Read a composition."""
    earmark.parse_composition(given["text"])


def declare(_: earmark.Ledger, **given: Any) -> None:
    """Declare a stage."""
    function = given.pop("function", None)
    if function is None:
        earmark.stage(**given)(parse)
    else:
        earmark.stage(function)


def open_books(_: earmark.Ledger, **given: Any) -> None:
    """Open books, and close them."""
    earmark.open(**{"url": "memory:"} | given).close()


def make(name: str) -> Callable[..., None]:
    """Return what calls the public *name* with nothing but what is given."""

    def call(_: earmark.Ledger, **given: Any) -> None:
        getattr(earmark, name)(**given)

    return call


#: A function of the caller's own raises what it raises.
FUNCTIONS = {"on_event", "gate"}

#: Each public function, and the arguments that are tried, one at a time.
CALLS: dict[str, tuple[Callable[..., None], list[str]]] = {
    "bound": (
        bound,
        ["body", "api", "provider", "headers", "model", "default_max_tokens", "extra_input_tokens",
         "context_window", "counted_input_tokens", "count_margin", "allowed_options", "at", "book"],
    ),
    "cost": (cost, ["model", "provider", "api", "body", "usage", "at", "book"]),
    "count_request": (count_request, ["body", "api", "model"]),
    "open": (open_books, ["url", "clock"]),
    "parse_composition": (parse, ["text"]),
    "run": (
        run,
        ["graph", "input", "under", "budget", "stages", "concurrency", "max_repeats", "policy",
         "wait", "timeout", "allow", "run_id", "clock", "providers", "journal", "engine",
         "on_event", "gate"],
    ),
    "stage": (declare, ["function", "name", "cost", "effects", "input", "output", "timeout"]),
    "Guard": (guard, ["ledger", "policy", "book", "clock", "quantiles"]),
    "Guard.open": (ticket, ["under", "request", *earmark.OpenOptions.__annotations__]),
    "Ticket.settle": (settled, ["reply", "units", "headers"]),
    "Ticket.produced": (produced, ["tokens"]),
    "PriceBook": (make("PriceBook"), ["own", "allow_free"]),
    "Usage": (make("Usage"), ["counts"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "argument"), [(name, each) for name, (_, names) in CALLS.items() for each in names]
)
def test_an_odd_argument_is_taken_or_is_an_error_of_ours(
    ledger: earmark.Ledger,
    name: str,
    argument: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No accident inside, such as an AttributeError, and no sentence as long as what was given."""
    monkeypatch.chdir(tmp_path)
    call, _ = CALLS[name]
    for odd in ODD:
        if argument in FUNCTIONS and callable(odd):
            continue
        try:
            call(ledger, **{argument: odd})
        except earmark.EarmarkError as error:
            assert len(str(error)) < LONGEST_SENTENCE  # noqa: PT017 - taken is right as well


def test_every_argument_of_every_public_function_is_tried() -> None:
    """A new function, argument or option comes under the test above."""
    functions = {each for each in earmark.__all__ if isfunction(getattr(earmark, each))}
    # The same for tasks.
    assert functions - {"open_async", "run_async"} <= set(CALLS)
    tried = {name: set(arguments) for name, (_, arguments) in CALLS.items()}
    for name in ("bound", "cost", "count_request", "open", "Guard", "PriceBook", "stage"):
        assert set(signature(getattr(earmark, name)).parameters) <= tried[name]
    assert tried["run"] >= set(Options.__annotations__)
