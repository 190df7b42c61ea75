"""Tasks: list and look, add, and move: approve, deny, grade, accept, reject, retry, cancel."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from earmark.board.listing import TaskFilter
from earmark.board.task import (
    CompositionWork,
    ModelWork,
    Priority,
    Quality,
    Task,
    TaskDraft,
    TaskStatus,
    TaskWork,
)
from earmark.clock import from_datetime
from earmark.service import models
from earmark.service.auth import Caller, ReadCaller, RequiresScope, SpendCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import Cursor, LimitParam, after_number, page
from earmark.service.routes.params import NameParam, OptionalQuery
from earmark.workspace.approvals import add_task
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import attempt_json, event_json, task_json
from earmark.workspace.task_costs import task_cost, task_costs

router = APIRouter(route_class=IdempotentRoute, tags=["tasks"])

#: Fewer than of other things: each may bring a description of 256 KiB.
USUAL = 50

InStates = Annotated[
    list[TaskStatus], Query(max_length=len(TaskStatus), description="In one of them.")
]
OfPriority = Annotated[Literal["P0", "P1", "P2", "P3"] | None, Query()]
TextQuery = Annotated[str | None, Query(max_length=200, description="In the title or description.")]
Newest = Annotated[bool, Query(description="The newest first.")]
Costs = Annotated[bool, Query(description="With what each cost, from the ledger.")]


@router.get("/tasks", response_model=models.Page[models.Task])
def list_tasks(
    service: ServiceDep,
    _: ReadCaller,
    *,
    status: InStates = [],  # noqa: B006 - FastAPI's own form
    type: OptionalQuery = None,  # noqa: A002 - the task's own word
    label: OptionalQuery = None,
    priority: OfPriority = None,
    agent: OptionalQuery = None,
    text: TextQuery = None,
    newest: Newest = False,
    costs: Costs = False,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List tasks in the order they were added."""
    wanted = TaskFilter(
        status=frozenset(status),
        type=type,
        label=label,
        priority=None if priority is None else Priority[priority],
        agent=agent,
        text=text,
        after=after_number(cursor),
        most=min(limit, 999) + 1,
        newest_first=newest,
    )
    found = service.workspace.board.find(wanted)
    forms = _forms(service, found, costs=costs)
    return page(found, min(limit, 999), lambda each: forms[each.id], lambda each: each.number)


@router.get("/tasks/{task_id}", response_model=models.TaskDetails)
def get_one(service: ServiceDep, _: ReadCaller, task_id: NameParam) -> dict[str, Any]:
    """Show one task with its cost, its tries and its history."""
    board = service.workspace.board
    task = board.get(task_id)
    tries = board.attempts(task.id)
    return to_jsonable_utf8(
        {
            **task_json(task, task_cost(service.workspace.ledger, tries)),
            "tries": [attempt_json(each) for each in tries],
            "history": [event_json(each) for each in board.history(task.id)],
        }
    )


@router.post("/tasks", response_model=models.Task, status_code=201)
def add(
    service: ServiceDep,
    caller: SpendCaller,
    body: models.TaskBody,
    operation: OperationName,
    response: Response,
) -> dict[str, Any]:
    """Put a task on the board; under an Idempotency-Key once, however often it is sent."""
    task = add_task(
        service.workspace,
        _draft(body),
        actor=caller.name,
        key=operation,
        approval_for=service.approval_for,
    )
    response.headers["Location"] = f"/v1/tasks/{task.id}"
    return to_jsonable_utf8(task_json(task))


@router.post("/tasks/{task_id}/grade", response_model=models.Task)
def grade(
    service: ServiceDep,
    caller: SpendCaller,
    task_id: NameParam,
    body: models.GradeBody,
    _operation: OperationName,
) -> dict[str, Any]:
    """Say how good the result of a completed task is."""
    quality = Quality(
        overall=body.overall,
        passed=body.passed,
        graded_by=caller.name,
        graded_at=service.clock.instant(),
        note=body.note,
    )
    return to_jsonable_utf8(
        task_json(service.workspace.board.grade(task_id, quality, actor=caller.name))
    )


#: What is decided with a note and nothing else: the move, the scope it takes, what it does.
_DECISIONS: Final = (
    ("accept", "spend", "Take the result; tasks that need it wait for one less."),
    ("reject", "spend", "Do not take the result."),
    ("retry", "spend", "Make a failed, unknown or rejected task pending again."),
    ("cancel", "spend", "Give up a task that nobody has begun, or that ended badly."),
    ("approve", "admin", "Let a task run that waits for a person."),
    ("deny", "admin", "Cancel a task that waits for a person."),
)


def _add_decision(move: str, scope: str, said: str) -> None:
    caller_ = Depends(RequiresScope(scope))

    @router.post(
        f"/tasks/{{task_id}}/{move}", response_model=models.Task, name=move, description=said
    )
    def decide(
        service: ServiceDep,
        caller: Annotated[Caller, caller_],
        task_id: NameParam,
        body: models.NoteBody,
        _operation: OperationName,
    ) -> dict[str, Any]:
        do: Callable[..., Task] = getattr(service.workspace.board, move)
        return to_jsonable_utf8(task_json(do(task_id, actor=caller.name, note=body.note)))


for _decision in _DECISIONS:
    _add_decision(*_decision)


def _forms(service: Service, found: list[Task], *, costs: bool) -> dict[str, dict[str, Any]]:
    if not costs:
        return {each.id: task_json(each) for each in found}
    tries = service.workspace.board.attempts_of([each.id for each in found])
    booked = task_costs(service.workspace.ledger, tries)
    return {each.id: task_json(each, booked[each.id]) for each in found}


def _draft(body: models.TaskBody) -> TaskDraft:
    return TaskDraft(
        title=body.title,
        description=body.description,
        type=body.type,
        priority=Priority[body.priority],
        labels=tuple(body.labels),
        destructive=body.destructive,
        assignee=body.assignee,
        work=_work(body.work),
        needs=tuple(body.needs),
        max_attempts=body.max_attempts,
        due_at=0 if body.due_at is None else from_datetime(body.due_at),
    )


def _work(work: models.ModelWork | models.CompositionWork) -> TaskWork:
    match work:
        case models.ModelWork():
            return ModelWork(
                model=work.model,
                prompt=work.prompt,
                system=work.system,
                max_tokens=work.max_tokens,
            )
        case models.CompositionWork():
            return CompositionWork(graph=work.graph, input=work.input, budget=work.budget)
