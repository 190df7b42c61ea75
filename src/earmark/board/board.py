"""The board: tasks given out under leases, each once, however many ask.

The rules decide (`rules.py`, pure); what they decide is written in one transaction, alone among all
that write to the board, with an event that says who did what. Time on the board never runs back:
a change happens at the later of the clock and the last event, so a clock that steps back frees no
lease early.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from earmark.board import listing, rows, task_history
from earmark.board.draft import checked, checked_name
from earmark.board.listing import TaskFilter
from earmark.board.moves import (
    DECISIONS,
    Accept,
    Claim,
    Complete,
    Fail,
    Grade,
    Lose,
    Move,
    Park,
    Start,
    TakeBack,
)
from earmark.board.rules import DESTRUCTIVE
from earmark.board.status_counts import StatusCounter
from earmark.board.task import Attempt, Quality, Task, TaskDecision, TaskDraft, TaskStatus
from earmark.board.task_creation import add_draft
from earmark.board.text import as_kept, clean
from earmark.board.transaction import (
    BoardTransaction,
    WriteBeside,
    end_attempt,
    ending,
    moved,
    nothing,
    start_attempt,
    unblock,
)
from earmark.clock import Clock
from earmark.ids import new_key
from earmark.stores.tables import Rows, Tables

T = TypeVar("T")

#: All who write to the board go by this name, one after the other.
LOCK: Final = "board"
#: The longest page of events.
MOST_EVENTS: Final = 10_000
_EVERYTHING: Final = TaskFilter()


class Board:
    """The tasks beside a ledger's books; any thread may call.

    Every change is durable before it is answered, and all of it or none is kept. Each may raise
    `StoreUnavailable`: then it is not known whether it was kept, and reading the task tells. Where
    a method takes a *task_id*, it takes an id, its unique beginning of at least 8 characters, or
    the task's number, and raises `NotFound` where there is no such task.
    """

    def __init__(self, tables: Tables, clock: Clock) -> None:
        """Use *tables*, which stay the caller's to close, and *clock* for every instant."""
        self._tables = tables
        self._clock = clock
        self._counter = StatusCounter()

    def add(
        self,
        draft: TaskDraft,
        *,
        actor: str,
        key: str | None = None,
        approval_for: frozenset[str] = DESTRUCTIVE,
    ) -> Task:
        """Put a task on the board and return it.

        Args:
            draft: What is to be done; the tasks it needs must stand on the board.
            actor: Who wants it.
            key: Adding again under it returns the task it made, as that stands now.
            approval_for: For what a person is asked first: `destructive`, types, priorities (`P1`).

        Raises:
            InputError: Something of the draft cannot be on the board; says what to give.
            KeyReused: The key made a task with other content. `due_at` is not compared: it moves.
        """
        new_draft, name = checked(draft), checked_name(actor, "actor")
        operation = "" if key is None else f"add:{checked_name(key, 'key')}"
        return self._write(
            lambda transaction: add_draft(transaction, new_draft, name, self._clock, approval_for),
            operation,
        )

    # What stands ----------------------------------------------------------------------------------

    def get(self, task_id: str) -> Task:
        """Return a task."""
        return self._tables.read(lambda read: rows.find_task(read, task_id))

    def find(self, task_filter: TaskFilter = _EVERYTHING) -> list[Task]:
        """Return a page of tasks in the order of their numbers; at most 1,000."""
        return self._tables.read(lambda read: listing.find_tasks(read, task_filter))

    def counts(self) -> dict[TaskStatus, int]:
        """Return how many tasks are in each state, zero where none is."""
        return self._tables.read(self._counter.count)

    def attempts(self, task_id: str) -> list[Attempt]:
        """Return the tries of a task, the first one first."""

        def work(read: Rows) -> list[Attempt]:
            found = rows.find_task(read, task_id).id
            return task_history.attempts_of(read, [found])[found]

        return self._tables.read(work)

    def next_attempt(self, task_id: str) -> int:
        """Return the number that the next attempt of a task gets; its holder alone may make one."""
        return len(self.attempts(task_id)) + 1

    def attempts_of(self, task_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """Return the tries of several tasks by their whole ids; empty for what is not there."""
        return self._tables.read(lambda read: task_history.attempts_of(read, task_ids))

    def history(self, task_id: str) -> list[TaskDecision]:
        """Return what was decided about a task, the first decision first."""
        return self._tables.read(
            lambda read: task_history.events_of(read, rows.find_task(read, task_id).id)
        )

    def events(self, after: int, most: int = 1000) -> list[TaskDecision]:
        """Return the decisions about all tasks that come after the one numbered *after*."""
        first, count = max(0, min(after, listing.LARGEST)), max(0, min(most, MOST_EVENTS))
        return self._tables.read(lambda read: task_history.events_after(read, first, count))

    def last_event(self) -> int:
        """Return the number of the latest decision, 0 before the first: whether anything moved."""
        return self._tables.read(task_history.last_event)[0]

    def now(self) -> int:
        """Return the board's time: the later of the clock and the last event."""
        return self._tables.read(self._now)

    # By an agent ----------------------------------------------------------------------------------

    def claim(
        self,
        agent: str,
        most: int,
        *,
        lease_ns: int,
        only: Collection[str] | None = None,
        without: Collection[int] = (),
        also: Callable[[Rows], None] | None = None,
    ) -> list[Task]:
        """Claim up to *most* tasks for *agent*, by priority and age, each for *lease_ns*.

        One transaction, whatever other processes do: a task is claimed once. It takes what is
        pending, due, approved where that is asked, not waiting for another task, and for this agent
        or any; with *only*, of the tasks with these ids, as far as they are among the first 1,000;
        none with the numbers *without*. Where it claims any, *also* writes in the same transaction.
        """
        checked_name(agent, "agent")

        def work(transaction: BoardTransaction) -> list[Task]:
            if done := task_history.events_under(transaction.rows, transaction.operation):
                return _in_order(rows.tasks_of(transaction.rows, [event.task_id for event in done]))
            move = Claim(agent=agent, lease_until=transaction.now + lease_ns)
            count = most if only is None else listing.MOST
            ready = listing.ready_tasks(transaction.rows, agent, transaction.now, count, without)
            if only is not None:
                ready = [task for task in ready if task.id in only][: max(0, most)]
            if ready and also is not None:
                also(transaction.rows)
            return [
                transaction.move(task, move, actor=agent, part=i) for i, task in enumerate(ready)
            ]

        return self._write(work)

    def ready(self, agent: str, most: int, *, without: Collection[int] = ()) -> list[Task]:
        """Return what `claim` would take now; changes nothing."""
        return self._tables.read(
            lambda read: listing.ready_tasks(read, agent, self._now(read), most, without)
        )

    def renew(self, agent: str, task_ids: Collection[str], *, lease_ns: int) -> set[str]:
        """Let the leases of *agent* last until *lease_ns* from now; return which it still has.

        A lease that ran out is renewed too, as long as nobody took the task back. It makes no
        event, and a task keeps its version: nothing was decided.
        """

        def work(transaction: BoardTransaction) -> set[str]:
            until = transaction.now + lease_ns
            return {
                each for each in task_ids if rows.renew_lease(transaction.rows, each, agent, until)
            }

        return self._write(work)

    def start(
        self, task: Task, *, model: str, key: str = "", run_id: str = "", budget: str
    ) -> Attempt:
        """Write, before anything is sent, that a claimed *task* is given to *model*.

        The number of the attempt it returns is one more than there were: no number, and so no key
        made of it, comes twice. `next_attempt` tells it before.

        Args:
            task: As `claim` returned it.
            model: `provider/model`.
            key: Of the reservation that is going to be made; none that an earlier attempt had.
            run_id: Of the run, for a composition.
            budget: Who pays.

        Raises:
            TaskMoved: It is not its agent's any more, or the lease ran out.
            TaskRefused: It is not claimed.
            KeyReused: An earlier attempt had this key.
        """
        agent = task.agent
        made = Attempt(
            task_id=task.id,
            number=0,
            agent=agent,
            model=model,
            key=key,
            run_id=run_id,
            budget=budget,
            started_at=0,
            ended_at=0,
            outcome="",
        )
        move = Start(agent=agent, version=task.version, model=model)
        return self._write(lambda transaction: start_attempt(transaction, made, move))

    def complete(
        self,
        task_id: str,
        attempt: int,
        agent: str,
        result: Mapping[str, Any],
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> Task:
        """Keep the *result* of a try; saying it again changes nothing.

        Raises:
            TaskMoved: The try was taken away from the agent, or it ended otherwise.
            InvalidTask: The result is not JSON.
        """
        ends = ending("completed", (input_tokens, output_tokens))
        move = Complete(agent=agent, result=as_kept(result))
        return self._write(
            lambda transaction: end_attempt(transaction, task_id, attempt, move, "", ends)
        )

    def fail(
        self,
        task_id: str,
        attempt: int,
        agent: str,
        error: str,
        *,
        retry_at: int | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> Task:
        """Say that a try failed; saying it again changes nothing.

        With *retry_at* the task is pending again, due then, while it has tries left and is not
        destructive. Else it stays failed until a person retries it.

        Raises:
            TaskMoved: The try was taken away from the agent, or it ended otherwise.
        """
        kept = None if result is None else as_kept(result)
        move = Fail(agent=agent, error=clean(error), retry_at=retry_at, result=kept)
        ends = ending("failed")
        return self._write(
            lambda transaction: end_attempt(transaction, task_id, attempt, move, error, ends)
        )

    def unknown(self, task_id: str, attempt: int, agent: str, error: str) -> Task:
        """Say that nobody knows what became of a try: a person decides.

        Raises:
            TaskMoved: The try was taken away from the agent, or it ended otherwise.
        """
        move = Lose(agent=agent, error=clean(error))
        ends = ending("unknown")
        return self._write(
            lambda transaction: end_attempt(transaction, task_id, attempt, move, error, ends)
        )

    def park(
        self, task_id: str, agent: str, reason: str, *, due_at: int = 0, uncount: bool = False
    ) -> Task:
        """Put a task back that *agent* has, claimed or running, before anything was sent.

        Args:
            task_id: The task.
            agent: Who has it.
            reason: For the history: `the budget is paused`.
            due_at: Not to be claimed before this.
            uncount: A try that began does not count against the task's most.

        Raises:
            TaskMoved: The agent does not have it.
        """
        move = Park(agent=agent, due_at=due_at, uncount=uncount)
        return self._move(task_id, move, agent, reason, ending("parked"))

    def expired(self, now: int | None = None, most: int = 100) -> list[Task]:
        """Return tasks whose lease ran out by *now*, or by the board's own time."""

        def work(read: Rows) -> list[Task]:
            moment = self._now(read) if now is None else now
            return listing.expired_tasks(read, moment, most)

        return self._tables.read(work)

    def awaiting_approval(self, most: int, and_also: str = "true") -> list[str]:
        """Return the ids of tasks that wait for a person; *and_also*: a further SQL condition."""
        return self._tables.read(lambda read: listing.awaiting_approval(read, most, and_also))

    def take_back(
        self,
        task_id: str,
        version: int,
        *,
        to: Literal[TaskStatus.PENDING, TaskStatus.UNKNOWN, TaskStatus.FAILED],
        reason: str,
        actor: str = "",
    ) -> Task:
        """Take a task whose lease ran out from whoever had it; its open try ends as lost.

        Back to pending only while it has tries left: the last one lost is a failure.

        Raises:
            TaskMoved: It has another version by now, or the lease was renewed.
        """
        move = TakeBack(version=version, to=to, reason=clean(reason))
        return self._move(task_id, move, actor, reason, ending("lost"))

    # By people, and by those who grade for them ---------------------------------------------------

    def grade(self, task_id: str, quality: Quality, *, actor: str) -> Task:
        """Say how good the result of a completed task is; raises `TaskRefused` for any other."""
        return self._move(task_id, Grade(quality=quality), actor, quality.note)

    def decide(self, task_id: str, name: str, *, actor: str, note: str = "") -> Task:
        """Do what a person decided: one of `DECISIONS`, by its name.

        In the transaction of `accept`, the tasks that need this one wait for one less.

        Raises:
            TaskRefused: The task's state does not allow it; says what it does allow.
        """
        decision = DECISIONS[name](actor=actor)
        beside = unblock if isinstance(decision, Accept) else nothing
        return self._move(task_id, decision, actor, note, beside)

    # How it is written ----------------------------------------------------------------------------

    def _move(
        self, task_id: str, move: Move, actor: str, note: str, beside: WriteBeside = nothing
    ) -> Task:
        def work(transaction: BoardTransaction) -> Task:
            task = rows.find_task(transaction.rows, task_id)
            return (
                task if transaction.done() else moved(transaction, task, move, actor, note, beside)
            )

        return self._write(work)

    def _write(self, work: Callable[[BoardTransaction], T], operation: str = "") -> T:
        # Named before the first try: a second one after a lost connection finds what the first did.
        named = operation or new_key(self._clock)
        return self._tables.write(
            LOCK, lambda all_: work(BoardTransaction(all_, self._now(all_), named))
        )

    def _now(self, read: Rows) -> int:
        return max(self._clock.instant(), task_history.last_event(read)[1])


def _in_order(tasks: list[Task]) -> list[Task]:
    """Return tasks as they are claimed: the most urgent first, then the oldest."""
    return sorted(tasks, key=lambda task: (task.priority, task.number))
