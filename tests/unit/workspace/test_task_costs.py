"""What tasks cost, read from the books in few questions, and never otherwise than they say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.board.task import Attempt
from earmark.ledger.ledger import Ledger
from earmark.ledger.store import Filter
from earmark.ledger.values import Reservation
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from earmark.workspace.task_costs import task_cost, task_costs

RUN = "c8/run-1"


@pytest.fixture(params=["memory:", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Books with a budget, a run's budget below it, and a call of each kind on both."""
    url = request.param if request.param == "memory:" else f"sqlite:///{tmp_path}/books.db"
    with open_ledger(url, clock=ManualClock()) as books:
        books.set_budget("c8", limits=["100 usd per day"])
        books.set_budget(RUN, limits=["50 usd total"])
        for budget, name in (("c8", "call"), (RUN, "run-1:/")):
            for amount, end in ((1, "settled"), (2, "open"), (3, "presumed"), (4, "released")):
                key = f"{name}{end}"
                books.reserve(budget, amount, key=key)
                if end == "settled":
                    books.settle(key, "1.50")
                elif end == "released":
                    books.release(key)
                elif end == "presumed":
                    books.presume(key, details={"unknown": ["usage.thoughts = 7"]})
        yield books


def attempt(task_id: str, *, key: str = "", run: str = "", budget: str = RUN) -> Attempt:
    """Return a try that the books know by its key, or by its run."""
    return Attempt(
        task_id=task_id,
        number=1,
        agent="Cloud Lu",
        model="scripted/m",
        key=key,
        run_id=run,
        budget=budget,
        started_at=1,
        ended_at=0,
        outcome="",
        input_tokens=7 if key else None,
        output_tokens=None,
    )


def test_each_state_of_a_call_counts_where_it_belongs(ledger: Ledger) -> None:
    """Settled by what it cost, open as held, presumed as settled and unknown, released nothing."""
    ends = ("settled", "open", "presumed", "released", "never reserved")
    cost = task_cost(ledger, [attempt("t", key=f"call{end}") for end in ends])
    assert (cost.settled, cost.held, cost.presumed) == (Money("4.5"), Money(2), Money(3))
    assert (cost.input_tokens, cost.output_tokens) == (7 * len(ends), None)
    assert cost.unknown == ("usage.thoughts = 7",)


def test_a_run_costs_what_its_budget_says(ledger: Ledger) -> None:
    """The sums of its own account are those of its reservations, also with other limits on it."""
    tries = [attempt("t", run="1")]
    cost = task_cost(ledger, tries)
    assert (cost.settled, cost.held, cost.presumed) == (Money("4.5"), Money(2), Money(3))
    assert cost.unknown == ("usage.thoughts = 7",)
    ledger.set_budget(RUN, limits=["99 usd per day"])
    assert task_cost(ledger, tries) == cost
    assert task_cost(ledger, [attempt("t", run="2", budget="c8/run-2")]).settled == Money()


class Asked:
    """Of a store, the one question that a page of calls may ask, and how often it was."""

    def __init__(self, ledger: Ledger) -> None:
        self.store = self
        self.times = 0
        self._ledger = ledger

    def reservations(self, wanted: Filter) -> list[Reservation]:
        """Return what is wanted."""
        self.times += 1
        return self._ledger.store.reservations(wanted)


def test_a_page_of_tasks_is_one_question(ledger: Ledger) -> None:
    """All tries' keys are asked for together, and each task gets its own."""
    tries = {
        "a": [attempt("a", key="callsettled"), attempt("a", key="callopen")],
        "b": [attempt("b", key="callpresumed")],
        "c": [],
    }
    books = Asked(ledger)
    costs = task_costs(books, tries)  # type: ignore[arg-type]
    assert books.times == 1
    assert {each: str(cost.settled) for each, cost in costs.items()} == {
        "a": "1.5",
        "b": "3",
        "c": "0",
    }
    assert costs["a"].held == Money(2)
