"""A ledger with one budget, and runs on it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from earmark.clock import Clock
from earmark.composition.ast import Composition, Node
from earmark.errors import EarmarkError
from earmark.money import Money
from earmark.runs.events import RunEvent
from earmark.runs.runner import run, run_async
from earmark.runs.statement import Statement
from earmark.stores.open import open_ledger


class House:
    """Books with the budget `acme`, and everything that happened in runs under it."""

    def __init__(self, limit: str = "10 usd total", *, clock: Clock | None = None) -> None:
        self.books = open_ledger("memory:", clock=clock)
        self.books.set_budget("acme", limits=[limit])
        self.events: list[RunEvent] = []

    def run(self, root: Node, given: Any = None, *, budget: str = "1", **options: Any) -> Statement:
        """Run a graph to its end."""
        return run(
            graph(root),
            given,
            ledger=self.books,
            under="acme",
            budget=budget,
            on_event=self.events.append,
            **options,
        )

    def fail(
        self, kind: type[EarmarkError], root: Node, given: Any = None, **options: Any
    ) -> tuple[Any, Statement]:
        """Run a graph that must end with an error of *kind*; return it and its statement."""
        with pytest.raises(kind) as caught:
            self.run(root, given, **options)
        error = caught.value
        assert isinstance(error.statement, Statement)
        return error, error.statement

    async def run_async(self, root: Node, given: Any = None, **options: Any) -> Statement:
        """Run a graph in this event loop."""
        books = self.books.as_async()
        return await run_async(
            graph(root), given, ledger=books, under="acme", **{"budget": "1", **options}
        )

    @property
    def spent(self) -> Money:
        """What is settled on `acme`."""
        return self.books.balances("acme")[0].settled

    @property
    def held(self) -> Money:
        """What is held on `acme`."""
        return self.books.balances("acme")[0].held

    def check(self, statement: Statement) -> None:
        """Assert that the statement, its lines and the ledger tell one story."""
        (balance,) = self.books.balances(statement.budget)
        assert statement.spent == balance.settled
        assert statement.held == balance.held
        assert sum((line.settled for line in statement.lines), Money()) == statement.spent
        assert statement.unaccounted == Money()
        assert self.books.audit().ok


def graph(root: Node) -> Composition:
    """Return a composition of *root*."""
    return Composition(description="a test", root=root)


@pytest.fixture
def house() -> Iterator[House]:
    """Books with 10 USD on `acme`."""
    house = House()
    yield house
    house.books.close()


@pytest.fixture
def make_house() -> Iterator[Callable[..., House]]:
    """Books to order."""
    made: list[House] = []

    def make(*given: Any, **options: Any) -> House:
        made.append(House(*given, **options))
        return made[-1]

    yield make
    for each in made:
        each.books.close()


class Gate:
    """A meeting point: opens when so many have come, and counts how many were inside at once."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._opened = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def pass_through(self) -> None:
        """Wait until all have come."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= self._wanted:
            self._opened.set()
        await self._opened.wait()
        self.inside -= 1


@pytest.fixture
def gate() -> Callable[[int], Gate]:
    """Meeting points of so many."""
    return Gate
