"""Tasks: list and look, add, and move: approve, deny, grade, accept, reject, retry, cancel."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from earmark.board.listing import TaskFilter
from earmark.board.moves import DECISIONS, PersonDecision
from earmark.board.task import (
    Priority,
    Quality,
    Task,
    TaskCost,
    TaskDraft,
    TaskStatus,
)
from earmark.service import bodies
from earmark.service.answers import answer, answers
from earmark.service.auth import Caller, ReadCaller, RequiresScope, SpendCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import Cursor, LimitParam, after_number, page
from earmark.service.routes.params import NameParam, OptionalQuery
from earmark.service.struct_body import body_of, takes
from earmark.workspace import approvals
from earmark.workspace.resources.board import TASK, TASK_DETAILS
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


@router.get("/tasks", **answers(TASK, page=True))
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
) -> Response:
    """List tasks in the order they were added."""
    task_filter = TaskFilter(
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
    found = service.workspace.board.find(task_filter)
    booked = _costs(service, found) if costs else {}
    return page(
        found,
        min(limit, 999),
        lambda each: TASK.encode(each, cost=booked.get(each.id)),
        lambda each: each.number,
    )


@router.get("/tasks/{task_id}", **answers(TASK_DETAILS))
def get_task(service: ServiceDep, _: ReadCaller, task_id: NameParam) -> Response:
    """Show one task with its cost, its tries and its history."""
    board = service.workspace.board
    task = board.get(task_id)
    attempts = board.attempts(task.id)
    cost = task_cost(service.workspace.ledger, attempts)
    return answer(TASK_DETAILS, task, cost=cost, tries=attempts, history=board.history(task.id))


@router.post("/tasks", **answers(TASK, 201), **takes(TaskDraft))
def add_task(
    service: ServiceDep,
    caller: SpendCaller,
    draft: Annotated[TaskDraft, Depends(body_of(TaskDraft))],
    operation: OperationName,
) -> Response:
    """Put a task on the board; under an Idempotency-Key once, however often it is sent."""
    task = approvals.add_task(
        service.workspace,
        draft,
        actor=caller.name,
        key=operation,
        approval_for=service.approval_for,
    )
    return answer(TASK, task, code=201, headers={"Location": f"/v1/tasks/{task.id}"}, cost=None)


@router.post("/tasks/{task_id}/grade", **answers(TASK))
def grade_task(
    service: ServiceDep,
    caller: SpendCaller,
    task_id: NameParam,
    body: bodies.GradeBody,
    _operation: OperationName,
) -> Response:
    """Say how good the result of a completed task is."""
    quality = Quality(
        overall=body.overall,
        passed=body.passed,
        graded_by=caller.name,
        graded_at=service.clock.instant(),
        note=body.note,
    )
    task = service.workspace.board.grade(task_id, quality, actor=caller.name)
    return answer(TASK, task, cost=None)


def _add_decision(decision: type[PersonDecision]) -> None:
    caller_ = Depends(RequiresScope(decision.scope))

    @router.post(
        f"/tasks/{{task_id}}/{decision.name}",
        **answers(TASK),
        name=f"{decision.name}_task",
        description=decision.summary,
    )
    def decide(
        service: ServiceDep,
        caller: Annotated[Caller, caller_],
        task_id: NameParam,
        body: bodies.NoteBody,
        _operation: OperationName,
    ) -> Response:
        board = service.workspace.board
        task = board.decide(task_id, decision.name, actor=caller.name, note=body.note)
        return answer(TASK, task, cost=None)


for _decision in DECISIONS.values():
    _add_decision(_decision)


def _costs(service: Service, found: list[Task]) -> dict[str, TaskCost]:
    attempts = service.workspace.board.attempts_of([each.id for each in found])
    return task_costs(service.workspace.ledger, attempts)
