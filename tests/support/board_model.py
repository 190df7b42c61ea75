"""The oracle of the board's tests: plain dicts and the pure rules, and nothing of a database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from earmark.board.moves import Accept, Claim, Complete, Fail, Lose, Move, Park, Start, TakeBack
from earmark.board.rules import advance, check_open, obstacle
from earmark.board.task import Attempt, AttemptOutcome, Task, TaskStatus


@dataclass
class Model:
    """What a board should hold."""

    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    attempts: dict[str, list[Attempt]] = field(default_factory=dict[str, list[Attempt]])
    told: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """The events: task, move, state after it."""
    last: int = 0
    """The instant of the last event."""

    def now(self, clock: int) -> int:
        """Return the board's time."""
        return max(clock, self.last)

    def added(self, task: Task) -> None:
        """Take over a task that was added."""
        self.tasks[task.id] = task
        self.attempts[task.id] = []
        self.tell(task, "added", task.created_at)

    def tell(self, task: Task, move: str, now: int) -> None:
        """Note an event about *task* as it now is."""
        self.tasks[task.id] = task
        self.told.append((task.id, move, task.status))
        self.last = now

    def ready(self, agent: str, now: int) -> list[Task]:
        """Return what *agent* can claim, in its order."""
        can = (each for each in self.tasks.values() if each.status is TaskStatus.PENDING)
        free = (each for each in can if not obstacle(each, agent, now))
        return sorted(free, key=lambda task: (task.priority, task.number))

    def claim(self, agent: str, most: int, lease: int, now: int) -> list[Task]:
        """Claim as the board does."""
        move = Claim(agent=agent, lease_until=now + lease)
        return [self.move(task.id, move, now) for task in self.ready(agent, now)[:most]]

    def renew(self, agent: str, ids: list[str], until: int) -> set[str]:
        """Renew as the board does; no event."""
        held = {each for each in ids if self._is_held(each, agent)}
        for each in held:
            task = self.tasks[each]
            self.tasks[each] = replace(task, lease_until=max(task.lease_until, until))
        return held

    def _is_held(self, task_id: str, agent: str) -> bool:
        task = self.tasks[task_id]
        return task.lease_until > 0 and task.agent == agent

    def start(self, task: Task, model: str, now: int) -> Attempt:
        """Start as the board does."""
        move = Start(agent=task.agent, version=task.version, model=model)
        self.move(task.id, move, now)
        made = Attempt(
            task_id=task.id,
            number=len(self.attempts[task.id]) + 1,
            agent=task.agent,
            model=model,
            key="",
            run_id="",
            budget="b",
            started_at=now,
            ended_at=0,
            outcome="",
        )
        self.attempts[task.id].append(made)
        return made

    def end(self, task_id: str, number: int, move: Complete | Fail | Lose, now: int) -> Task:
        """End an attempt as the board does: saying the same again changes nothing."""
        tries = self.attempts[task_id]
        tried = tries[number - 1] if 0 < number <= len(tries) else None
        outcome = _OUTCOMES[type(move)]
        if tried is not None and (tried.outcome, tried.agent) == (outcome, move.agent):
            return self.tasks[task_id]
        check_open(self.tasks[task_id], number, tried)
        return self.move(task_id, move, now)

    def move(self, task_id: str, move: Move, now: int) -> Task:
        """Move as the board does, with all that goes with it."""
        after = advance(self.tasks[task_id], move, now)
        self.tell(after, move.event_name, now)
        if type(move) in _OUTCOMES:
            self._end_open(task_id, _OUTCOMES[type(move)], now)
        if isinstance(move, Accept):
            self._unblock(task_id, now)
        return after

    def _end_open(self, task_id: str, outcome: AttemptOutcome, now: int) -> None:
        self.attempts[task_id] = [
            each if each.ended_at else replace(each, ended_at=now, outcome=outcome)
            for each in self.attempts[task_id]
        ]

    def _unblock(self, accepted: str, now: int) -> None:
        for task in [each for each in self.tasks.values() if accepted in each.needs]:
            left, version = task.waiting - 1, task.version + 1
            self.tell(replace(task, waiting=left, version=version), "unblocked", now)

    def held(self) -> Iterator[Task]:
        """Yield the tasks that somebody has."""
        return (each for each in self.tasks.values() if each.lease_until)


_OUTCOMES: dict[type[Move], AttemptOutcome] = {
    Complete: "completed",
    Fail: "failed",
    Lose: "unknown",
    Park: "parked",
    TakeBack: "lost",
}

Answer = tuple[str, object]


def answer(ask: Callable[[], object]) -> Answer:
    """Return what was answered, or the kind and the words of the error."""
    try:
        return "answered", ask()
    except Exception as error:  # noqa: BLE001 - whatever it is, both sides must say the same
        return type(error).__name__, str(error)
