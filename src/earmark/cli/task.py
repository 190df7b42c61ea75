"""`earmark task`: tasks of the board, added, listed, shown and decided about."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer
from msgspec.structs import replace

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.moves import DECISIONS, PersonDecision
from earmark.board.task import ModelWork, Priority, Quality, Task, TaskDraft, TaskStatus
from earmark.cli.options import ActorOption
from earmark.cli.session import Session, command, group
from earmark.cli.store_access import open_books, open_existing, operator, settings_of
from earmark.cli.task_input import CompositionOptions, check_stdin, text_of, work_of
from earmark.cli.task_tables import TaskReport, tasks_table
from earmark.cli.time_options import AHEAD, WHEN
from earmark.clock import from_datetime
from earmark.errors import NotFound
from earmark.ledger.ledger import Ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.approvals import add_task
from earmark.workspace.resources.board import TASK, TASK_DETAILS
from earmark.workspace.task_costs import task_cost, task_costs
from earmark.workspace.time_expressions import parse_future
from earmark.workspace.workspace import open_workspace

app = group("Add, list, show, approve, grade and accept tasks of the board.")

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="Its number, its id, or how its id begins.")
]
NoteOption = Annotated[str, typer.Option(help="Why, kept in its history.")]
TEXT_METAVAR = "TEXT|@FILE|-"


class Urgency(StrEnum):
    """A priority as people type it."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


# What a task is made of ---------------------------------------------------------------------------

Title = Annotated[
    str, typer.Argument(metavar="TITLE", help="'[SELF-10] Persistent budget tracker'.")
]
Description = Annotated[str, typer.Option(metavar=TEXT_METAVAR, help="Markdown.")]
TypeOption = Annotated[
    str, typer.Option(metavar="NAME", help="code_gen, consult, review, deploy or your own.")
]
Rank = Annotated[Urgency, typer.Option(help="P0 goes first.")]
Labels = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Repeatable.")]
Destructive = Annotated[
    bool, typer.Option("--destructive", help="A person approves it, nothing repeats it.")
]
Assignee = Annotated[str, typer.Option(metavar="AGENT", help="The one agent that may claim it.")]
ModelOption = Annotated[
    str, typer.Option(metavar="PROVIDER/MODEL", help="The heartbeat's own unless given.")
]
PromptOption = Annotated[
    str,
    typer.Option(metavar=TEXT_METAVAR, help="What is sent; title and description unless given."),
]
System = Annotated[str, typer.Option(metavar=TEXT_METAVAR, help="The system text.")]
TokensOption = Annotated[int | None, typer.Option(metavar="N", help="Of the answer, at most.")]
GraphOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="A composition to run instead, or -.")
]
Input = Annotated[
    str | None, typer.Option(metavar="JSON", help="The composition's: JSON, @FILE or -.")
]
BudgetOption = Annotated[
    str | None, typer.Option(metavar="USD", help="The most the composition may spend.")
]
Needs = Annotated[
    list[str] | None, typer.Option(metavar="TASK", help="To be accepted first; repeatable.")
]
AttemptsOption = Annotated[int, typer.Option(metavar="N", help="At most so many tries.")]
Due = Annotated[str | None, typer.Option(metavar=WHEN, help=f"Not before: {AHEAD}")]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="Adding again under it adds nothing.")
]


@command(app)
def add(
    session: Session,
    title: Title,
    *,
    description: Description = "",
    type: TypeOption = "consult",  # noqa: A002 - the task's own word
    priority: Rank = Urgency.P2,
    label: Labels = None,
    destructive: Destructive = False,
    assignee: Assignee = "",
    model: ModelOption = "",
    prompt: PromptOption = "",
    system: System = "",
    max_tokens: TokensOption = None,
    graph: GraphOption = None,
    input: Input = None,  # noqa: A002 - the format's own word
    budget: BudgetOption = None,
    needs: Needs = None,
    attempts: AttemptsOption = 3,
    due: Due = None,
    key: KeyOption = None,
    actor: ActorOption = None,
) -> None:
    """Put a task on the board; a heartbeat gives it to a model, or runs its composition."""
    check_stdin(description, prompt, system, graph, input)
    model_work = ModelWork(
        model=model, prompt=text_of(prompt), system=text_of(system), max_tokens=max_tokens
    )
    draft = TaskDraft(
        title=title,
        description=text_of(description),
        type=type,
        priority=Priority[priority.value],
        labels=tuple(label or ()),
        destructive=destructive,
        assignee=assignee,
        work=work_of(model_work, CompositionOptions(graph, input, budget)),
        needs=tuple(needs or ()),
        max_attempts=attempts,
    )
    _answer(session, _added(session, draft, due, _who(actor), key))


def _added(
    session: Session, draft: TaskDraft, due: str | None, actor: str, key: str | None
) -> Task:
    settings = settings_of(session)
    approval = frozenset(settings.heartbeat.approve)
    sibling, channels = settings.heartbeat.sibling, tuple(settings.nudges)
    with (
        open_books(session, settings) as ledger,
        open_workspace(ledger, sibling=sibling, channels=channels) as workspace,
    ):
        start = parse_future(due, ledger.clock)
        dated = replace(draft, due_at=0 if start is None else from_datetime(start))
        return add_task(workspace, dated, actor=actor, key=key, approval_for=approval)


@command(app, "list")
def list_(
    session: Session,
    *,
    status: Annotated[
        list[TaskStatus] | None, typer.Option(help="In this state; repeatable.")
    ] = None,
    type: Annotated[  # noqa: A002 - the task's own word
        str | None, typer.Option(metavar="NAME", help="Of this type.")
    ] = None,
    priority: Annotated[Urgency | None, typer.Option(help="Of this priority.")] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="With this label.")] = None,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="AGENT", help="That this agent has, or had last."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="With this in title or description."),
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Go on after the task of this number.")] = 0,
    newest: Annotated[
        bool, typer.Option("--newest/--oldest", help="Which come first: the newest unless told.")
    ] = True,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List tasks, the newest first, with what each has cost."""
    wanted = TaskFilter(
        status=frozenset(status or ()),
        type=type,
        label=label,
        priority=None if priority is None else Priority[priority.value],
        agent=agent,
        text=text,
        after=after,
        most=limit,
        newest_first=newest,
    )
    with open_existing(session) as ledger, _board(ledger) as board:
        found = board.find(wanted)
        costs = task_costs(ledger, board.attempts_of([task.id for task in found]))
        now = ledger.clock.instant()
    last = found[-1].number if found else after
    session.answer(
        {"tasks": [TASK.encode(task, cost=costs[task.id]) for task in found], "after": last},
        tasks_table(found, costs, now),
    )
    if len(found) == limit and not session.json:
        session.tell(f"there may be more: go on with --after {last}")


@command(app)
def show(session: Session, task: TaskName) -> None:
    """Show a task: what is asked, who has it, its quality, its cost, its result, its history."""
    with open_existing(session) as ledger, _board(ledger) as board:
        found = _get(board, task)
        tries, history = board.attempts(found.id), board.history(found.id)
        cost = task_cost(ledger, tries)
        needed = [board.get(each) for each in found.needs]
        now = ledger.clock.instant()
    report = TaskReport(
        task=found, attempts=tries, history=history, cost=cost, needed=needed, now=now
    )
    session.answer(
        TASK_DETAILS.encode(found, cost=cost, tries=tries, history=history),
        *report.parts(),
    )


@command(app)
def grade(
    session: Session,
    task: TaskName,
    *,
    overall: Annotated[int, typer.Option(metavar="PERCENT", min=0, max=100, help="How good.")],
    passed: Annotated[bool, typer.Option("--pass/--fail", help="Whether it is good enough.")],
    note: NoteOption = "",
    actor: ActorOption = None,
) -> None:
    """Say how good the result of a completed task is."""
    who = _who(actor)

    def say(board: Board, task_id: str) -> Task:
        now = board.now()
        quality = Quality(overall=overall, passed=passed, graded_by=who, graded_at=now, note=note)
        return board.grade(task_id, quality, actor=who)

    _decide(session, task, say)


def _add_decision(decision: type[PersonDecision]) -> None:
    def decide(
        session: Session, task: TaskName, *, note: NoteOption = "", actor: ActorOption = None
    ) -> None:
        def say(board: Board, task_id: str) -> Task:
            return board.decide(task_id, decision.name, actor=_who(actor), note=note)

        _decide(session, task, say)

    decide.__doc__ = decision.summary
    command(app, decision.name)(decide)


for _decision in DECISIONS.values():
    _add_decision(_decision)


def _decide(session: Session, task: str, decision: Callable[[Board, str], Task]) -> None:
    with open_existing(session) as ledger, _board(ledger) as board:
        decided = decision(board, _get(board, task).id)
    _answer(session, decided)


def _answer(session: Session, task: Task) -> None:
    approval_note = ", waits for a person's approval" if task.approval == "wanted" else ""
    said = f"#{task.number} {task.status}{approval_note}: {task.title}"
    session.answer(TASK.encode(task, cost=None), said, f"task {task.id}")


@contextmanager
def _board(ledger: Ledger) -> Generator[Board]:
    tables = open_tables(ledger.store)
    try:
        yield Board(tables, ledger.clock)
    finally:
        tables.close()


def _get(board: Board, name: str) -> Task:
    try:
        return board.get(name)
    except NotFound as missing:
        missing.hint = missing.hint or "`earmark task list` shows what there is"
        raise


def _who(actor: str | None) -> str:
    return operator() if actor is None else actor
