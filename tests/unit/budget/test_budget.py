"""Budgets, their pauses and extensions."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from earmark.budget.budget import Budget, Extension, Pause, parse_alerts
from earmark.budget.fields import GivenFields
from earmark.budget.limit import Limit
from earmark.budget.settable import read_given
from earmark.clock import END_OF_TIME
from earmark.errors import InputError, InvalidLimit
from support.budget_fields import given

DAILY = Limit.parse("10 usd per day")
HOURLY = Limit.parse("10 usd per hour")
TOPPED_UP = Extension(limit=Limit.parse("2 usd per day"), actor="ana", reason="launch", until=1000)


def test_an_extension_counts_until_it_ends() -> None:
    """Before its end an extension adds to the limit; at its end it is gone."""
    budget = Budget(path="acme", limits=(DAILY, HOURLY), extensions=(TOPPED_UP,))
    assert budget.effective(DAILY, 999) == 12_000_000_000
    assert budget.effective(DAILY, 1000) == 10_000_000_000


@pytest.mark.parametrize(
    ("at", "start", "end"), [(0, 0, 1000), (999, 0, 1000), (1000, 1000, 3000), (3000, 3000, None)]
)
def test_a_stretch_of_time_has_one_limit(at: int, start: int, end: int | None) -> None:
    """It runs from the last end of an extension or a pause to the next, the last included."""
    pause = Pause(actor="ana", reason="", until=3000)
    budget = Budget(path="acme", limits=(DAILY,), extensions=(TOPPED_UP,), paused=pause)
    found = budget.unchanged_around(at)
    assert (found.start, found.end) == (start, END_OF_TIME if end is None else end)


def test_an_extension_adds_to_its_own_limit_only() -> None:
    """Another window or another unit is untouched, and several extensions add up."""
    calls = Limit.parse("3 calls per day")
    budget = Budget(path="acme", limits=(DAILY, HOURLY, calls), extensions=(TOPPED_UP, TOPPED_UP))
    assert budget.effective(DAILY, 0) == 14_000_000_000
    assert budget.effective(HOURLY, 0) == 10_000_000_000
    assert budget.effective(calls, 0) == 3


def test_extensions_never_pass_what_64_bits_hold() -> None:
    """A limit that extensions push beyond the largest limit stays there."""
    most = Limit.parse("4611686018 usd per day")
    raised = replace(TOPPED_UP, limit=most)
    budget = Budget(path="acme", limits=(most,), extensions=(raised,) * 3)
    assert budget.effective(most, 0) == 1 << 62


def test_a_pause_holds_until_its_end_or_for_ever() -> None:
    """A pause with an end is over at that instant; one without lasts until somebody resumes."""
    timed = Budget(path="acme", paused=Pause(actor="ana", reason="loop", until=50))
    assert timed.is_paused(49) == timed.paused
    assert timed.is_paused(50) is None
    open_ended = Budget(path="acme", paused=Pause(actor="ana", reason="loop"))
    assert open_ended.is_paused(1 << 62) == open_ended.paused
    assert Budget(path="acme").is_paused(0) is None


def test_a_budget_survives_json() -> None:
    """A budget written as JSON and read back is the same budget."""
    budget = Budget(
        path="acme",
        **read_given(cast("GivenFields", given())),
        paused=Pause(actor="ana", reason="loop", until=50),
        extensions=(TOPPED_UP,),
    )
    for each in (budget, Budget(path="acme")):
        assert Budget.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_alerts_are_read_exactly() -> None:
    """Shares of a limit become parts per million with no binary rounding, sorted, each once."""
    assert parse_alerts([0.8, 1.0]) == (800_000, 1_000_000)
    assert parse_alerts([1, 0.07, "0.29", 0.07, 10]) == (70_000, 290_000, 1_000_000, 10_000_000)
    assert parse_alerts([]) == ()


@pytest.mark.parametrize(
    "share", [0, -0.1, 10.000001, float("nan"), float("inf"), True, "much", 1e-7, "1e999999999", ""]
)
def test_an_alert_that_is_no_share_is_refused(share: Any) -> None:
    """A threshold that could never fire, or is no number, is refused."""
    with pytest.raises(InvalidLimit, match="alert threshold"):
        parse_alerts([share])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"path": "a//b"}, "budget path"),
        ({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is not a time zone"),
        ({"limits": (DAILY, Limit.parse("5 usd per day"))}, "one limit per unit and window"),
        ({"limits": (HOURLY, Limit.parse("5 usd per 60min"))}, "one limit per unit and window"),
        ({"limits": tuple(Limit.parse(f"1 usd per {n}s") for n in range(1, 34))}, "at most 32"),
        ({"alerts": (1_000_000, 800_000)}, "ascending"),
        ({"alerts": (800_000, 800_000)}, "ascending"),
        ({"alerts": (0,)}, "alert threshold"),
        ({"alerts": (10_000_001,)}, "alert threshold"),
        ({"alerts": tuple(range(1, 18))}, "at most 16"),
        ({"extensions": (TOPPED_UP,) * 257}, "at most 256"),
    ],
)
def test_a_wrong_budget_is_refused(wrong: dict[str, Any], says: str) -> None:
    """A budget that cannot be kept is refused when it is made, with the reason."""
    with pytest.raises(InputError) as caught:
        Budget(**{"path": "acme", **wrong})
    assert says in str(caught.value)


def test_notes_have_a_length() -> None:
    """Who and why are kept in the entries, so they are not books of their own."""
    with pytest.raises(InvalidLimit, match="1000 characters"):
        Pause(actor="ana", reason="x" * 1001)
    with pytest.raises(InvalidLimit, match="1000 characters"):
        replace(TOPPED_UP, actor="x" * 1001)
