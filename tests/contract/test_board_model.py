"""Any sequence of moves: the board on every store answers what the pure rules answer."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from earmark.board import moves
from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.task import Priority, Task, TaskDraft, TaskStatus
from earmark.testing import ManualClock
from support.board_books import MODEL, SECOND, Repeating, open_board, quality
from support.board_model import Model, answer
from support.ledger_books import IN_MEMORY, STORES
from support.postgres_session import recycle

AGENTS = ("Cloud Lu", "AG Lu")

agents = st.sampled_from(AGENTS)
leases = st.sampled_from([1 * SECOND, 60 * SECOND])
priorities = st.sampled_from(Priority)
#: Completed, failed, failed and to be retried, unknown.
endings = st.sampled_from("cccfru")
assignees = st.sampled_from(["", "", "AG Lu"])
#: Which of the tasks there are; the number is taken around.
picks = st.integers(0, 30)

#: How people judge, and tasks of which states.
_JUDGED = {
    "grade": (TaskStatus.COMPLETED,),
    "accept": (TaskStatus.COMPLETED, TaskStatus.GRADED),
    "reject": (TaskStatus.GRADED,),
    "retry": (TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.REJECTED),
}
_DONE = frozenset(status for states in _JUDGED.values() for status in states)


class Machine(RuleBasedStateMachine):
    """Two boards on one store, one of which does everything twice, and the model."""

    store: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.clock = ManualClock()
        self.model = Model()
        self.opened = ExitStack()
        url = STORES[self.store](self.folder)
        first = self.opened.enter_context(open_board(url, self.clock))
        # In memory, the only other one there can be is on the same tables.
        other = (
            first if url == "memory:" else self.opened.enter_context(open_board(url, self.clock))
        )
        self.board, self.other = first, Board(Repeating(other._tables), self.clock)

    def teardown(self) -> None:
        """Let go of the boards."""
        self.opened.close()
        recycle(self.folder)
        shutil.rmtree(self.folder)

    # What is asked --------------------------------------------------------------------------------

    @initialize(ranks=st.lists(st.tuples(priorities, assignees), min_size=3, max_size=5))
    def begin(self, ranks: list[tuple[Priority, str]]) -> None:
        """Start with a few tasks that can be claimed, and one that waits for two of them."""
        for priority, assignee in ranks:
            self.add(priority=priority, needs=[], destructive=False, assignee=assignee, most=2)
        self.add(priority=Priority.P0, needs=[0, 1], destructive=False, assignee="", most=2)

    @rule(
        priority=priorities,
        needs=st.just([]) | st.lists(picks, max_size=2),
        destructive=st.sampled_from([False, False, True]),
        assignee=assignees,
        most=st.integers(1, 2),
    )
    def add(
        self, *, priority: Priority, needs: list[int], destructive: bool, assignee: str, most: int
    ) -> None:
        """Put a task on the board that may need others, a person, or one agent."""
        draft = TaskDraft(
            title=f"task {len(self.model.tasks)}",
            priority=priority,
            needs=tuple({self.pick(each).id for each in needs}) if self.model.tasks else (),
            destructive=destructive,
            assignee=assignee,
            max_attempts=most,
        )
        made = self.board.add(draft, actor="ann", key=draft.title)
        accepted = sum(self.model.tasks[each].status is TaskStatus.ACCEPTED for each in made.needs)
        assert made.needs == tuple(sorted(draft.needs))
        assert made.waiting == len(made.needs) - accepted
        self.model.added(made)
        assert self.other.add(draft, actor="bob", key=draft.title) == made
        self.compare()

    @rule(agent=agents, most=st.integers(0, 4), lease=leases)
    def claim(self, agent: str, most: int, lease: int) -> None:
        """Claim some, after looking at what can be."""
        ready = self.board.ready(agent, most)
        assert ready == self.model.ready(agent, self.now)[:most]
        self.both(
            lambda board: board.claim(agent, most, lease_ns=lease),
            lambda: self.model.claim(agent, most, lease, self.now),
        )

    @precondition(lambda self: self.model.tasks)
    @rule(agent=agents, which=st.lists(picks, max_size=3), lease=leases)
    def renew(self, agent: str, which: list[int], lease: int) -> None:
        """Renew the leases of some tasks, whoever has them."""
        ids = [self.pick(each).id for each in which]
        self.both(
            lambda board: board.renew(agent, ids, lease_ns=lease),
            lambda: self.model.renew(agent, ids, self.now + lease),
        )

    @precondition(lambda self: self.model.tasks)
    @rule(which=picks, stale=st.sampled_from([False, False, False, True]))
    def start(self, *, which: int, stale: bool) -> None:
        """Start a task that somebody has, as it is or as it was."""
        task = self.pick(which, TaskStatus.CLAIMED)
        known = _older(task) if stale else task
        self.both(
            lambda board: board.start(known, model=MODEL, budget="b"),
            lambda: self.model.start(known, MODEL, self.now),
        )

    @precondition(lambda self: self.model.tasks)
    @rule(which=picks, back=st.sampled_from([0, 0, 0, 0, -1, 1]), agent=agents, kind=endings)
    def end(self, which: int, back: int, agent: str, kind: str) -> None:
        """End a try: the last one most often, in one of four ways."""
        task = self.pick(which, TaskStatus.RUNNING)
        number = len(self.model.attempts[task.id]) - back
        agent = task.agent or agent
        due = self.now + SECOND
        call, move = {
            "c": (("complete", {"a": 1}), moves.Complete(agent=agent, result={"a": 1})),
            "f": (("fail", "no"), moves.Fail(agent=agent, error="no")),
            "r": (("fail", "no", due), moves.Fail(agent=agent, error="no", retry_at=due)),
            "u": (("unknown", "lost"), moves.Lose(agent=agent, error="lost")),
        }[kind]
        name, said, *rest = call
        given: dict[str, Any] = {"retry_at": rest[0]} if rest else {}
        self.both(
            lambda board: getattr(board, name)(task.id, number, agent, said, **given),
            lambda: self.model.end(task.id, number, move, self.now),
        )

    @precondition(lambda self: any(self.model.held()))
    @rule(which=picks, agent=agents, uncount=st.booleans())
    def park(self, *, which: int, agent: str, uncount: bool) -> None:
        """Put a task back, most often by who has it."""
        task = self.pick_held(which)
        who = task.agent if which % 4 else agent
        move = moves.Park(agent=who, due_at=0, uncount=uncount)
        self.both(
            lambda board: board.park(task.id, who, "stopped", uncount=uncount),
            lambda: self.model.move(task.id, move, self.now),
        )

    @precondition(lambda self: any(self.model.held()))
    @rule(
        which=picks,
        to=st.sampled_from([TaskStatus.PENDING, TaskStatus.UNKNOWN, TaskStatus.FAILED]),
        late=picks,
    )
    def take_back(self, which: int, to: Any, late: int) -> None:
        """Take a task back, most often one whose lease ran out."""
        if late % 3:
            self.clock.advance(timedelta(minutes=1))
        task = self.pick_held(which)
        move = moves.TakeBack(version=task.version, to=to, reason="lost")
        self.both(
            lambda board: board.take_back(task.id, task.version, to=to, reason="lost"),
            lambda: self.model.move(task.id, move, self.now),
        )

    @precondition(lambda self: self.has(TaskStatus.PENDING))
    @rule(agent=agents, accepted=st.booleans())
    def work_off(self, *, agent: str, accepted: bool) -> None:
        """An agent does the next task from claim to result, and somebody may accept it."""
        for task in self.model.ready(agent, self.now)[:1]:
            self.claim(agent=agent, most=1, lease=60 * SECOND)
            self.start(which=0, stale=False)
            self.end(which=0, back=0, agent=agent, kind="c")
            if accepted and self.model.tasks[task.id].status is TaskStatus.COMPLETED:
                self.decide(task, moves.Accept(actor="ann"))

    @precondition(lambda self: self.has(*_DONE))
    @rule(which=picks, name=st.sampled_from(list(_JUDGED)))
    def judge(self, which: int, name: str) -> None:
        """Somebody judges what came of a task, most often as its state allows."""
        self.decide(self.pick(which, *_JUDGED[name]), _decision(name))

    @precondition(lambda self: self.model.tasks)
    @rule(which=picks, name=st.sampled_from(["approve", "approve", "cancel", "accept", "retry"]))
    def interfere(self, which: int, name: str) -> None:
        """Somebody decides about any task; approves one that waits for that if there is one."""
        asked = [each for each in self.model.tasks.values() if each.approval == "wanted"]
        waits = name == "approve" and asked
        self.decide(asked[which % len(asked)] if waits else self.pick(which), _decision(name))

    def decide(self, task: Task, move: moves.PersonMove) -> None:
        """Let a person move *task*."""
        self.both(
            lambda board: (
                board.grade(task.id, move.quality, actor="ann")
                if isinstance(move, moves.Grade)
                else board.decide(task.id, move.name, actor="ann")
            ),
            lambda: self.model.move(task.id, move, self.now),
        )

    @rule(seconds=st.sampled_from([1, 61]))
    def time_passes(self, seconds: int) -> None:
        """Leases run out, and what was put off is due."""
        self.clock.advance(timedelta(seconds=seconds))

    @rule(seconds=st.sampled_from([1, 3600]))
    def clock_steps_back(self, seconds: int) -> None:
        """Somebody sets the clock back."""
        self.clock.set(self.clock.now - timedelta(seconds=seconds))

    # How it is compared ---------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The board's time."""
        return self.model.now(self.clock.instant())

    def pick(self, which: int, *states: TaskStatus) -> Task:
        """Return one of the tasks, one in these states if there is one."""
        every = list(self.model.tasks.values())
        some = [task for task in every if task.status in states] or every
        return some[which % len(some)]

    def has(self, *states: TaskStatus) -> bool:
        """Return whether there is a task in one of these states."""
        return any(task.status in states for task in self.model.tasks.values())

    def pick_held(self, which: int) -> Task:
        """Return one of the tasks that somebody has."""
        every = list(self.model.held())
        return every[which % len(every)]

    def both(self, of_board: Callable[[Board], object], of_model: Callable[[], object]) -> None:
        """Ask one of the boards and the model the same; the boards take turns."""
        said = answer(lambda: of_board(self.board))
        assert said == answer(of_model)
        self.compare()
        self.board, self.other = self.other, self.board

    def compare(self) -> None:
        """Compare all that can be seen."""
        known = list(self.model.tasks.values())
        assert self.board.find(TaskFilter(most=1000)) == known
        assert self.board.attempts_of([task.id for task in known]) == self.model.attempts
        told = [(event.task_id, event.move, event.status) for event in self.board.events(0)]
        assert told == self.model.told
        gone = sorted(
            (each.lease_until, each.number, each.id)
            for each in self.model.held()
            if each.lease_until <= self.now
        )
        assert [task.id for task in self.board.expired()] == [each for _, _, each in gone]


def _decision(name: str) -> moves.PersonMove:
    if name == "grade":
        return moves.Grade(quality=quality())
    return moves.DECISIONS[name](actor="ann")


def _older(task: Task) -> Task:
    return replace(task, version=task.version - 1)


class MemoryMachine(Machine):
    """The board in memory."""

    store = "memory"


class SqliteMachine(Machine):
    """The board in a file."""

    store = "sqlite"


class PostgresMachine(Machine):
    """The board on a server."""

    store = "postgres"


# A failure is made small before it is told, which may take minutes.
@pytest.mark.parametrize(
    ("machine", "examples"),
    [(MemoryMachine, 40), (SqliteMachine, 15), (PostgresMachine, 4)],
    ids=lambda given: getattr(given, "store", ""),
)
def test_any_sequence_of_moves_is_decided_by_the_rules(
    machine: type[Machine], examples: int
) -> None:
    """Whatever is asked in whatever order, also twice, the board answers what the rules answer."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples * (10 if "EARMARK_FIRE_SECONDS" in os.environ else 1),
            stateful_step_count=50,
        ),
    )
