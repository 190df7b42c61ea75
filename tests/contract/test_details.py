"""What is kept with a settlement: the same on every store, for the first who tells it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from earmark.errors import InputError, KeyReused
from earmark.ledger.details import LARGEST_DETAILS, details_of_call, read_details
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Release, Reserve, Settle
from earmark.money import Money
from earmark.testing import ManualClock

CALL: dict[str, Any] = {
    "model": 'gpt-5 "mini"\\n \u00e9\U0001f600 {} , \'',
    "request_id": "req_\n1",
    "usage": {"input_tokens": 12, "output_tokens": 2**53},
    "unknown": ["usage.thoughts = 7"],
    "more": [None, True, 1.5, {"": []}],
}


@pytest.fixture
def call(ledger: Ledger) -> Ledger:
    """Books with 0.50 held as `call`."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.50", key="call", labels={"task": "7"}, operation="first")
    return ledger


def kept(ledger: Ledger, key: str = "call") -> list[dict[str, Any]]:
    """Return the details as a reader, a list, the entries and a repeat have them."""
    (listed,) = ledger.holds(state=None, key=key)
    last = ledger.entries(key=key)[-1]
    again = ledger.reserve("acme", "0.50", key=key)
    texts = (ledger.reservation(key).details, listed.details, last.data, again.details)
    return [read_details(text) for text in texts]


def test_details_are_kept_with_the_settlement(call: Ledger) -> None:
    """Whatever JSON they are, in the order it was given, wherever the settlement is read."""
    settled = call.settle("call", "0.42", details=CALL)
    assert read_details(settled.details) == CALL
    assert kept(call) == [CALL] * 4
    assert list(read_details(settled.details)) == list(CALL)


def test_what_is_open_or_released_has_none(call: Ledger) -> None:
    """The names of requests in the entries of a reserve or an extension are no details."""
    call.extend("call", "0.1", operation="more")
    assert (call.reservation("call").details, call.holds()[0].details) == ("", "")
    call.presume("call", details=CALL)
    call.release("call")
    assert kept(call) == [{}] * 4


def test_of_a_repeat_the_first_are_kept(call: Ledger) -> None:
    """A repeat is known by its amount; what else it tells changes nothing."""
    call.settle("call", "0.42", details={"request_id": "one"})
    for again in ({"request_id": "two"}, {}, None):
        found = call.settle("call", "0.42", details=again)
        assert (found.repeated, read_details(found.details)) == (True, {"request_id": "one"})
    with pytest.raises(KeyReused):
        call.settle("call", "0.43", details={"request_id": "one"})
    assert kept(call) == [{"request_id": "one"}] * 4


def test_a_correction_keeps_what_it_does_not_tell(call: Ledger) -> None:
    """Raised and settled without details, those before stay, but for what is not unknown now."""
    call.presume("call", known="0.60", details={"request_id": "one"})
    call.presume("call", known="0.70")
    assert kept(call) == [{"request_id": "one"}] * 4
    call.presume("call", known="0.80", details={"request_id": "two", "unknown": ["usage.a = 7"]})
    assert kept(call) == [{"request_id": "two", "unknown": ["usage.a = 7"]}] * 4
    assert call.settle("call", "0.30").settled == Money("0.3")
    assert kept(call) == [{"request_id": "two"}] * 4


def test_details_that_come_after_the_deadline_are_kept(call: Ledger) -> None:
    """Presumed without any, it takes those of a presumption that raises nothing; once."""
    call.presume("call")
    found = call.presume("call", known="0.10", details={"request_id": "one"})
    assert (found.repeated, found.settled) == (False, Money("0.5"))
    assert call.presume("call", details={"request_id": "two"}).repeated
    assert kept(call) == [{"request_id": "one"}] * 4
    assert [entry.amounts.usd for entry in call.entries(key="call")] == [500_000_000] * 3


def test_details_of_one_batch_stay_with_their_reservations(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Opened, closed and asked again in one commit."""
    ledger.set_budget("acme", limits=["1 usd per day"])
    keys = [f"k{number}" for number in range(20)]
    now, one = clock.instant(), Amounts(10**6)
    batch = [Reserve(key, "acme", one, 10**12) for key in keys]
    batch += [Settle(key, one, details=f'{{"request_id":"{key}"}}') for key in keys[::2]]
    batch += [Release(key) for key in keys[1::2]]
    ledger.store.apply([*batch, Settle("k0", one, details='{"request_id":"x"}')], now)
    found = [read_details(each.details) for each in ledger.holds(state=None)]
    assert found == [{} if number % 2 else {"request_id": f"k{number}"} for number in range(20)]


@pytest.mark.parametrize(
    "details",
    [
        ["list"],
        "text",
        {1: "number"},
        {"a": {2: "number"}},
        {"a": {3}},
        {"a": float("nan")},
        {"a": Money(1)},
        {"a": "\ud800"},
        {"\udfff": 1},
        {"a": ["nul \0"]},
        {"a": "x" * LARGEST_DETAILS},
        {"a": "\u00e9" * (LARGEST_DETAILS // 6)},
    ],
    ids=repr,
)
def test_what_a_store_cannot_keep_is_refused(edges: list[Ledger], details: Any) -> None:
    """At the edge, before any store is asked."""
    for books in edges:
        with pytest.raises(InputError, match="set of details"):
            books.settle("call", "0.1", details=details)
        with pytest.raises(InputError, match="set of details"):
            books.presume("call", known="0.1", details=details)


def test_the_largest_details_are_kept(call: Ledger) -> None:
    """Up to the last character."""
    largest = {"a": "x" * (LARGEST_DETAILS - len('{"a":""}'))}
    call.settle("call", "0.1", details=largest)
    assert kept(call) == [largest] * 4


def test_what_a_provider_wrote_is_made_to_fit(call: Ledger) -> None:
    """Names without end, controls and halves of surrogate pairs: the settlement is not refused."""
    details = details_of_call(
        usage={f"kind_{number}": number for number in range(50)},
        model="m\0" + "o" * 9999,
        request_id="\ud800\n",
        unknown=["\x07" + "\U0001f600" * 99, *(f"usage.counter_{n} = {n}" for n in range(9999))],
    )
    call.presume("call", known="0.6", details=details)
    (found, *_) = kept(call)
    assert (found["model"][:3], found["request_id"]) == ("m?o", "??")
    assert found["usage"]["kind_49"] == 49
    *names, rest = found["unknown"]
    assert (names[1], rest) == ("usage.counter_0 = 0", f"and {9999 + 1 - len(names)} more")


@pytest.mark.parametrize("letter", ["n", "é", "名", "\U0001f600", '"', "\0", "\ud800"], ids=ascii)
def test_names_of_a_provider_fit_in_any_script(call: Ledger, letter: str) -> None:
    """Names are cut by the length of their JSON, where one letter may be twelve characters."""
    name = letter * 9999
    details = details_of_call(
        usage={f"kind_{number}": 10**12 for number in range(50)},
        model=name,
        request_id=name,
        unknown=[f"usage.{letter * n} = 1" for n in range(1000)],
    )
    call.settle("call", "0.6", details=details)
    (found, *_) = kept(call)
    assert len(json.dumps(found["model"])) <= 200 + len('"…"\\u2026')
    assert found["model"].endswith("…")
    assert found["model"][0] == (letter if letter.isprintable() else "?")


def test_details_outlive_the_process(open_store: Callable[[], Ledger]) -> None:
    """They are read by another ledger on the same books, and their audit is good."""
    ledger = open_store()
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.50", key="call")
    ledger.presume("call", details=CALL)
    other = open_store()
    assert kept(other) == [CALL] * 4
    other.settle("call", "0.1")
    assert kept(ledger) == [{name: value for name, value in CALL.items() if name != "unknown"}] * 4
    assert other.audit().ok
