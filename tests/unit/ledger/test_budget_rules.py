"""The rules about budgets themselves: what changes them, what repeats, what is refused."""

import json

import pytest

from earmark.budget.budget import MOST_EXTENSIONS, Budget, Extension, Pause
from earmark.budget.limit import Limit
from earmark.ledger.budget_rules import decide_budget, fingerprint
from earmark.ledger.values import (
    Accepted,
    ExtendBudget,
    OnBudget,
    PauseBudget,
    Refused,
    Repeated,
    ResumeBudget,
    SetLimits,
)
from support.budget_fields import fields_of

DAY, HOUR = Limit.parse("10 usd per day"), Limit.parse("1 usd per hour")
PAUSE = Pause(actor="Ada", reason="incident", until=900)
EXTRA = Extension(limit=DAY, actor="Ada", reason="demo", until=500)
PLAIN = Budget(path="a", limits=(DAY,))
PAUSED = Budget(path="a", limits=(DAY,), paused=PAUSE)
EXTENDED = Budget(path="a", limits=(DAY,), extensions=(EXTRA,))
NOW, SEQ = 100, 7


def set_to(budget: Budget) -> SetLimits:
    """Return the operation that sets *budget*."""
    return SetLimits(budget.path, fields_of(budget), actor="Ada", reason="why")


CHANGES: list[tuple[Budget | None, OnBudget, Budget]] = [
    (None, set_to(PLAIN), PLAIN),
    (PLAIN, set_to(Budget(path="a", limits=(HOUR,))), Budget(path="a", limits=(HOUR,))),
    (None, SetLimits("a", {"limits": (DAY,), "kind": "run"}),
     Budget(path="a", limits=(DAY,), kind="run")),
    (Budget(path="a", kind="run"), SetLimits("a", {"limits": (DAY,)}),
     Budget(path="a", limits=(DAY,), kind="run")),
    (PAUSED, set_to(Budget(path="a")), Budget(path="a", paused=PAUSE)),
    (EXTENDED, set_to(Budget(path="a")), Budget(path="a", extensions=(EXTRA,))),
    (PLAIN, PauseBudget("a", PAUSE, ""), PAUSED),
    (PAUSED, PauseBudget("a", Pause(actor="B", reason=""), ""),
     Budget(path="a", limits=(DAY,), paused=Pause(actor="B", reason=""))),
    (PAUSED, ResumeBudget("a", "Ada", "over", ""), PLAIN),
    (PLAIN, ExtendBudget("a", EXTRA, ""), EXTENDED),
]  # fmt: skip


@pytest.mark.parametrize(("before", "op", "after"), CHANGES)
def test_what_changes_a_budget(before: Budget | None, op: OnBudget, after: Budget) -> None:
    """Limits, pauses and extensions each change their part, by an entry that says who and why."""
    decision = decide_budget(op, before, NOW, SEQ)
    assert isinstance(decision, Accepted)
    assert decision.budget == after
    assert (decision.entry.seq, decision.entry.at, decision.entry.budget) == (SEQ, NOW, "a")
    assert "actor" in json.loads(decision.entry.data)


@pytest.mark.parametrize(
    ("before", "op"),
    [(PLAIN, set_to(PLAIN)), (PAUSED, set_to(PLAIN)), (PLAIN, ResumeBudget("a", "x", "y", ""))],
)
def test_what_changes_nothing(before: Budget, op: OnBudget) -> None:
    """Setting what stands, or resuming what runs, is a repeat."""
    decision = decide_budget(op, before, NOW, SEQ)
    assert decision == Repeated(None, before)


@pytest.mark.parametrize(
    "op",
    [PauseBudget("a", PAUSE, ""), ResumeBudget("a", "", "", ""), ExtendBudget("a", EXTRA, "")],
)
def test_what_needs_a_budget(op: OnBudget) -> None:
    """There is nothing to pause, resume or extend where no budget stands."""
    decision = decide_budget(op, None, NOW, SEQ)
    assert isinstance(decision, Refused)
    assert (decision.why, decision.budget) == ("not_found", "a")


def test_extensions_that_ended_are_dropped() -> None:
    """A new extension takes the place of those that have ended; live ones stay."""
    later = Extension(limit=DAY, actor="B", reason="", until=9000)
    decision = decide_budget(ExtendBudget("a", later, ""), EXTENDED, 499, SEQ)
    assert isinstance(decision, Accepted)
    assert decision.budget is not None
    assert decision.budget.extensions == (EXTRA, later)
    decision = decide_budget(ExtendBudget("a", later, ""), EXTENDED, 500, SEQ)
    assert isinstance(decision, Accepted)
    assert decision.budget is not None
    assert decision.budget.extensions == (later,)


def test_extensions_have_a_largest_number() -> None:
    """One more than can be live at once is refused, not an accident."""
    full = Budget(path="a", limits=(DAY,), extensions=(EXTRA,) * MOST_EXTENSIONS)
    assert isinstance(decide_budget(ExtendBudget("a", EXTRA, ""), full, NOW, SEQ), Refused)


def test_a_fingerprint_tells_content_apart() -> None:
    """Operations that differ in anything but their key have other fingerprints."""
    ops: list[OnBudget] = [
        set_to(PLAIN),
        set_to(Budget(path="a", limits=(HOUR,))),
        set_to(Budget(path="b", limits=(DAY,))),
        PauseBudget("a", PAUSE, ""),
        PauseBudget("a", Pause(actor="Ada", reason="incident"), ""),
        ExtendBudget("a", EXTRA, ""),
        ExtendBudget("a", Extension(limit=DAY, actor="Ada", reason="demo", until=501), ""),
    ]
    assert len({fingerprint(op) for op in ops}) == len(ops)
    assert fingerprint(ExtendBudget("a", EXTRA, "k")) == fingerprint(ExtendBudget("a", EXTRA, "l"))


def test_a_fingerprint_names_the_budget() -> None:
    """The same pause or extension of two budgets is two different operations."""
    pauses = {fingerprint(PauseBudget(path, PAUSE, "")) for path in ("a", "b")}
    extensions = {fingerprint(ExtendBudget(path, EXTRA, "")) for path in ("a", "b")}
    assert (len(pauses), len(extensions)) == (2, 2)
