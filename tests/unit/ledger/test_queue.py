"""Whose turn it is: the bookkeeping of those who wait for a budget."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.budget.path import ancestors
from earmark.ledger.queue import AdmissionQueue, Waiter


@dataclass
class Crowd:
    """Waiters by name, and the order in which they were told that it is their turn."""

    queue: AdmissionQueue = field(default_factory=AdmissionQueue)
    waiters: dict[str, Waiter] = field(default_factory=dict[str, Waiter])
    told: list[str] = field(default_factory=list[str])

    def join(self, name: str, budget: str = "acme") -> Waiter:
        """Let *name* take a place."""
        waiter = self.queue.join(budget, lambda: self.told.append(name))
        self.waiters[name] = waiter
        return waiter

    def block(self, name: str, budget: str = "acme") -> None:
        """Let *name* be refused at *budget*."""
        self.queue.blocked(self.waiters[name], budget)

    def leave(self, name: str) -> None:
        """Let *name* go."""
        self.queue.leave(self.waiters[name])

    def trying(self) -> set[str]:
        """Return whose turn it is."""
        return {name for name, waiter in self.waiters.items() if waiter.trying}


def crowd(*names: str, budget: str = "acme") -> Crowd:
    """Return a crowd of which all have tried and been refused, in this order."""
    made = Crowd()
    for name in names:
        made.join(name, budget)
        if made.waiters[name].trying:
            made.block(name, budget)
    return made


def test_first_come_first_served() -> None:
    """Those who wait get their turns in the order in which they came."""
    made = crowd("a", "b", "c")
    made.queue.wake(["acme"])
    made.leave("a")
    made.leave("b")
    assert made.told == ["a", "b", "c"]


def test_newcomer_joins_behind() -> None:
    """A newcomer does not try while somebody waits on its path."""
    made = crowd("a")
    assert not made.join("late", "acme/team").trying
    assert made.trying() == set()


def test_newcomer_beside_is_not_held_up() -> None:
    """Somebody who waits for another budget is in nobody's way."""
    made = crowd("a", budget="acme/one")
    assert made.join("b", "acme/two").trying


def test_admission_passes_the_turn_on() -> None:
    """What came back may be enough for several: each admission lets the next one try."""
    made = crowd("a", "b", "c")
    made.queue.wake(["acme"])
    made.leave("a")
    assert made.trying() == {"b"}


def test_refused_again_keeps_its_place() -> None:
    """Who is refused again stays first, and those behind wait on."""
    made = crowd("a", "b")
    made.queue.wake(["acme"])
    made.block("a")
    assert made.trying() == set()
    made.queue.wake(["acme"])
    assert made.told == ["a", "a"]


def test_no_wake_up_is_lost() -> None:
    """What comes back while somebody is being refused gives that one another turn at once."""
    made = Crowd()
    made.join("a")
    made.queue.wake(["acme"])
    made.block("a")
    assert made.trying() == {"a"}


def test_wake_elsewhere_is_not_a_turn() -> None:
    """A settlement under another root wakes nobody here."""
    made = crowd("a")
    made.queue.wake(["other"])
    assert made.trying() == set()


def test_a_queue_is_empty_only_while_nobody_tries() -> None:
    """Each commit asks for that before it tells anybody."""
    queue = AdmissionQueue()
    assert queue.empty
    waiter = queue.join("a/b", lambda: None)
    assert not queue.empty
    queue.leave(waiter)
    assert queue.empty


def test_cancelled_waiter_leaves_no_trace() -> None:
    """Who leaves while waiting is forgotten, and the others move up."""
    made = crowd("a", "b")
    made.leave("a")
    assert made.trying() == {"b"}
    made.leave("b")
    assert made.queue.waiting == 0
    assert made.queue.empty


def test_leaving_with_the_turn_hands_it_on() -> None:
    """Who is cancelled when its turn has come does not keep it."""
    made = crowd("a", "b")
    made.queue.wake(["acme"])
    made.leave("a")
    assert made.trying() == {"b"}


def test_older_one_from_elsewhere_stands_first() -> None:
    """Who is refused at a second budget takes the place there that its arrival gives it."""
    made = Crowd()
    made.join("old", "acme/team")
    made.join("young", "acme")
    made.block("young", "acme")
    made.block("old", "acme")
    made.queue.wake(["acme"])
    assert made.told == ["old"]


def test_line_is_not_held_up_by_one_who_waits_twice() -> None:
    """Who is first at the root but behind somebody at its leaf lets the rest of the root pass."""
    made = Crowd()
    made.join("at-leaf", "acme/one")
    made.join("both", "acme/one")
    made.join("at-root", "acme/two")
    made.block("at-leaf", "acme/one")
    made.block("both", "acme")
    made.block("at-root", "acme")
    made.queue.wake(["acme"])
    assert made.trying() == {"at-root"}
    made.leave("at-root")
    made.queue.wake(["acme/one", "acme"])
    assert made.trying() == {"at-leaf"}
    made.leave("at-leaf")
    assert made.trying() == {"both"}


def test_waiting_for_a_window_holds_up_nobody() -> None:
    """Who waits for the end of a window lets others pass and still gets its turn when it ends."""
    made = Crowd()
    made.join("spent")
    made.queue.blocked(made.waiters["spent"], "acme", "spent")
    assert made.join("small").trying
    made.leave("small")
    made.queue.wake(["acme"])
    assert made.trying() == set()
    made.queue.retry(made.waiters["spent"])
    assert made.trying() == {"spent"}


def test_changed_limits_reach_everybody() -> None:
    """A raised limit gives a turn to those who waited for the end of the window, one by one."""
    made = Crowd()
    for name in ("a", "b"):
        made.join(name)
        made.queue.blocked(made.waiters[name], "acme", "spent")
    made.queue.reopen(["acme"])
    assert made.trying() == {"a"}
    made.leave("a")
    assert made.trying() == {"b"}


def test_leaving_twice_is_leaving_once() -> None:
    """A place that has ended can be ended again."""
    made = crowd("a", "b")
    made.leave("a")
    made.leave("a")
    assert made.trying() == {"b"}


PATHS = ("acme", "acme/one", "acme/two", "acme/one/leaf")


class Model:
    """A naive queue beside the real one: names the rules it must never break."""

    def __init__(self) -> None:
        self.queue = AdmissionQueue()
        self.waiters: list[tuple[Waiter, str]] = []

    def step(self, action: str, pick: int, path: str) -> None:
        """Do one thing to the queue."""
        trying = [(w, p) for w, p in self.waiters if w.trying]
        if action == "join":
            self.join(path)
        elif action == "block" and trying:
            waiter, own = trying[pick % len(trying)]
            at = ancestors(own)[pick % len(ancestors(own))]
            self.queue.blocked(waiter, at)
        elif action == "leave" and self.waiters:
            waiter, _ = self.waiters.pop(pick % len(self.waiters))
            self.queue.leave(waiter)
        elif action == "wake":
            self.queue.wake(ancestors(path))
        self.check()

    def join(self, path: str) -> None:
        """Let one more take a place."""
        waiter = self.queue.join(path, lambda: self.told(waiter))
        self.waiters.append((waiter, path))

    def told(self, waiter: Waiter) -> None:
        """Check that nobody older stands in any line before who is given a turn."""
        for spot in waiter.spots:
            assert not [each for each in spot.held if each < waiter]

    def check(self) -> None:
        """Check what must hold after every step."""
        lines = [spot.held for spot in self.queue._spots.values()]
        assert all(line == sorted(line) for line in lines)
        assert sum(map(len, lines)) == self.queue.waiting


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "join", "block", "block", "leave", "wake"]),
            st.integers(0, 7),
            st.sampled_from(PATHS),
        ),
        max_size=60,
    )
)
def test_nobody_is_forgotten(steps: list[tuple[str, int, str]]) -> None:
    """After any history, waking every budget and serving whoever tries empties the queue."""
    model = Model()
    for step in steps:
        model.step(*step)
    for _ in range(2 * len(model.waiters) + 2):
        model.queue.reopen()
        for waiter, path in [pair for pair in model.waiters if pair[0].trying]:
            model.queue.leave(waiter)
            model.waiters.remove((waiter, path))
    assert model.waiters == []
    assert model.queue.empty


@pytest.mark.parametrize("path", PATHS)
def test_old_is_served_before_young(path: str) -> None:
    """On one path two waiters never try at the same time once the older one waits there."""
    made = crowd("old", "young", budget=path)
    made.queue.reopen()
    assert made.trying() == {"old"}
