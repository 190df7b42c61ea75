"""The admission queue: FIFO lines of reservations that wait for budgets to free up.

Pure bookkeeping behind one lock: no clock, no thread, no store; `earmark.ledger.waiting` drives it
for tasks and for threads. Each waiter has the number of its arrival, and is in the line of the
budget that refused it. It may try when no earlier arrival is in a line of any budget on its path,
and only the first of a line tries. So those who wait are served in order where
they compete, and never wait for each other where they do not.

    join → trying ─(refused)→ blocked: in a line → notified → trying → … → leave

Who waits for a window to end, not for what is in flight, is in a line apart and blocks nobody.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import Literal

from earmark.budget.path import ancestors

QueueLine = Literal["held", "spent"]


class _Spot:
    """One budget that somebody tries or waits under; gone when nobody does."""

    __slots__ = ("changes", "held", "path", "spent", "users")

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self.changes = 0
        """How often something came back here: a refusal older than that is out of date."""
        self.held: list[Waiter] = []
        """Refused because of what is in flight, by arrival."""
        self.spent: list[Waiter] = []
        """Refused until the window ends, by arrival; they block nobody."""


class Waiter:
    """A place in the queue; made by `AdmissionQueue.join`, ended by `AdmissionQueue.leave`.

    Drivers read `trying`: whether this waiter may submit now. The rest is the queue's.
    """

    __slots__ = ("arrival", "line", "notify", "seen", "spots", "trying")

    def __init__(self, arrival: int, spots: tuple[_Spot, ...], notify: Callable[[], None]) -> None:
        self.arrival = arrival
        self.spots = spots
        self.notify = notify
        self.trying = False
        self.line: list[Waiter] | None = None
        self.seen: tuple[int, ...] = ()

    def __lt__(self, other: "Waiter") -> bool:
        return self.arrival < other.arrival

    def __repr__(self) -> str:
        return f"Waiter({self.arrival}, trying={self.trying})"


class AdmissionQueue:
    """The lines of one ledger object; shared by its threads and tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spots: dict[str, _Spot] = {}
        self._arrivals = 0
        self._waiting = 0
        self.empty = True
        """Whether nobody tries or waits, so that nobody need be notified; read at each commit."""

    @property
    def waiting(self) -> int:
        """How many have been refused and wait."""
        return self._waiting

    @property
    def trees(self) -> set[str]:
        """The first parts of the paths of those who try or wait."""
        with self._lock:
            return {path for path in self._spots if "/" not in path}

    def join(self, budget: str, notify: Callable[[], None]) -> Waiter:
        """Take the next place for a reservation under *budget*.

        The waiter is `trying` at once unless somebody waits on its path; then it stands behind
        them. *notify* is called when its turn comes: from any thread, while the queue is locked, so
        it only sets an event.
        """
        with self._lock:
            self.empty = False
            self._arrivals += 1
            waiter = Waiter(self._arrivals, self._enter(ancestors(budget)), notify)
            blocker = _older(waiter)
            if blocker is None:
                _begin(waiter)
            else:
                self._insert(waiter, blocker.held)
            return waiter

    def blocked(self, waiter: Waiter, budget: str, line: QueueLine = "held") -> None:
        """Note that *waiter*'s attempt was refused at *budget*, a budget on its path.

        It stands in that line now. If something came back there while it asked, it is its turn
        again at once, so no wake-up is lost.
        """
        with self._lock:
            assert waiter.trying, "only who tries is refused"
            waiter.trying = False
            spot = self._spots[budget]
            left = self._step_out(waiter)
            self._insert(waiter, spot.held if line == "held" else spot.spent)
            if left is not None:
                self._advance_others(left, waiter)
            if spot.changes != waiter.seen[waiter.spots.index(spot)]:
                self._advance(spot.held)
                self._advance(spot.spent)

    def leave(self, waiter: Waiter) -> None:
        """End *waiter*'s place, admitted, refused or cancelled; the next one's turn comes."""
        with self._lock:
            waiter.trying = False
            left = self._step_out(waiter)
            for spot in waiter.spots:
                spot.users -= 1
                if not spot.users:
                    del self._spots[spot.path]
            self.empty = not self._spots
            waiter.spots = ()
            if left is not None:
                self._advance(left)

    def first(self, waiter: Waiter) -> bool:
        """Return whether nobody older waits on its path."""
        with self._lock:
            return _older(waiter) is None

    def retry(self, waiter: Waiter) -> None:
        """Let *waiter* try if nobody older waits on its path: the time it waited for has come."""
        with self._lock:
            if waiter.trying or waiter.line is None:
                return
            blocker = _older(waiter)
            if blocker is None:
                _let_try(waiter)
            elif waiter.line is not blocker.held:
                self._move(waiter, blocker.held)

    def wake(self, budgets: Iterable[str]) -> None:
        """Note that something came back on *budgets*: the first of each line tries."""
        if not self._spots:
            return
        with self._lock:
            for path in budgets:
                if spot := self._spots.get(path):
                    spot.changes += 1
                    self._advance(spot.held)

    def reopen(self, budgets: Iterable[str] | None = None) -> None:
        """Note that limits may have changed, or anything by another process; `None`: everywhere.

        Those who wait for a window to end try as well, one after the other.
        """
        if not self._spots:
            return
        with self._lock:
            for path in list(self._spots) if budgets is None else budgets:
                if spot := self._spots.get(path):
                    spot.changes += 1
                    self._advance(spot.held)
                    self._advance(spot.spent)

    def wake_all(self) -> None:
        """Notify all who wait, though it is nobody's turn: what they wait for does not come."""
        with self._lock:
            for spot in self._spots.values():
                for waiter in (*spot.held, *spot.spent):
                    waiter.notify()

    def _enter(self, paths: tuple[str, ...]) -> tuple[_Spot, ...]:
        spots = tuple(
            self._spots.get(path) or self._spots.setdefault(path, _Spot(path)) for path in paths
        )
        for spot in spots:
            spot.users += 1
        return spots

    def _insert(self, waiter: Waiter, line: list[Waiter]) -> None:
        insort(line, waiter)
        waiter.line = line
        self._waiting += 1

    def _step_out(self, waiter: Waiter) -> list[Waiter] | None:
        line, waiter.line = waiter.line, None
        if line is not None:
            del line[bisect_left(line, waiter)]
            self._waiting -= 1
        return line

    def _move(self, waiter: Waiter, line: list[Waiter]) -> None:
        self._step_out(waiter)
        self._insert(waiter, line)

    def _advance_others(self, line: list[Waiter], waiter: Waiter) -> None:
        # The one just refused here asks again when something changes, not because it was refused.
        if line and line[0] is not waiter:
            self._advance(line)

    def _advance(self, line: list[Waiter]) -> None:
        """Give the first of *line* its turn; one behind an older waiter elsewhere moves there."""
        while line and not line[0].trying:
            head = line[0]
            blocker = _older(head)
            if blocker is None:
                _let_try(head)
                return
            self._move(head, blocker.held)


def _older(waiter: Waiter) -> _Spot | None:
    """Return the budget nearest the leaf where an earlier arrival waits."""
    for spot in waiter.spots:
        if spot.held and spot.held[0].arrival < waiter.arrival:
            return spot
    return None


def _let_try(waiter: Waiter) -> None:
    _begin(waiter)
    waiter.notify()


def _begin(waiter: Waiter) -> None:
    waiter.trying = True
    waiter.seen = tuple([spot.changes for spot in waiter.spots])
