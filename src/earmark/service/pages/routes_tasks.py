"""`/tasks/…`: a new task, one task, and what people decide about it."""

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from earmark.board.moves import DECISIONS, Grade
from earmark.board.task import TYPES, Priority, Task
from earmark.errors import EarmarkError, NotFound, StoreError
from earmark.ids import new_key
from earmark.service.auth import allowed
from earmark.service.pages.error_pages import PageRoute, refusal
from earmark.service.pages.forms import COMPOSITION, draft_of, quality_of
from earmark.service.pages.page_context import (
    FormRefusal,
    PageRequest,
    ReaderForm,
    ReaderPageRequest,
    SpenderForm,
    render_page,
    see_other,
)
from earmark.service.pages.views_agents import beats
from earmark.service.pages.views_task import TaskPage
from earmark.workspace.approvals import add_task
from earmark.workspace.task_costs import task_cost

router: Final = APIRouter(route_class=PageRoute)

#: Fields that are folded away until something stands in one of them.
_WORK: Final = ("model", "max_tokens", "prompt", "system", "graph", "input", "budget")
_WHEN: Final = ("assignee", "needs", "due")


@router.get("/tasks/new")
def new(page_request: ReaderPageRequest) -> Response:
    """Show the form of a new task, to those who may add one."""
    allowed(page_request.caller, "spend")
    return _form(page_request, new_key(page_request.workspace.ledger.clock))


@router.post("/tasks/new")
def add(page_request: SpenderForm) -> Response:
    """Put the task on the board; the form sent twice makes one task."""
    workspace, key = (
        page_request.workspace,
        page_request.typed("key") or new_key(page_request.workspace.ledger.clock),
    )
    try:
        draft = draft_of(page_request.form, workspace.ledger.clock)
        task = add_task(
            workspace,
            draft,
            actor=page_request.caller.name,
            key=key,
            approval_for=page_request.approval_for,
        )
    except EarmarkError as error:
        return _form(page_request, key, refusal(error))
    return see_other(f"/tasks/{task.id}")


@router.get("/tasks/{task_id}")
def task(page_request: ReaderPageRequest, task_id: str) -> Response:
    """Show one task."""
    return _page(page_request, page_request.workspace.board.get(task_id))


@router.post("/tasks/{task_id}/{move}")
def decide(page_request: ReaderForm, task_id: str, move: str) -> Response:
    """Do what a person decided; where the task's state does not allow it, say so."""
    scope = "spend" if move == Grade.name else DECISIONS[move].scope if move in DECISIONS else None
    if scope is None:
        raise NotFound(kind="page", name=f"/tasks/{task_id}/{move}")
    allowed(page_request.caller, scope)
    board, actor = page_request.workspace.board, page_request.caller.name
    try:
        if move == Grade.name:
            quality = quality_of(page_request.form, actor=actor, now=page_request.now)
            board.grade(task_id, quality, actor=actor)
        else:
            board.decide(task_id, move, actor=actor, note=page_request.typed("note"))
    except (NotFound, StoreError):
        raise
    except EarmarkError as error:
        return _page(page_request, board.get(task_id), refusal(error))
    return see_other(f"/tasks/{task_id}")


def _page(page_request: PageRequest, task: Task, refused: FormRefusal | None = None) -> Response:
    workspace = page_request.workspace
    attempts = workspace.board.attempts(task.id)
    view = TaskPage(
        task=task,
        attempts=attempts,
        history=workspace.board.history(task.id),
        cost=task_cost(workspace.ledger, attempts),
        needs=[workspace.board.get(each) for each in task.needs],
        beats=beats(workspace.agents.all(), page_request.now),
        now=page_request.now,
    )
    address = f"/tasks/{task.id}"
    return render_page(
        page_request,
        "task.html",
        task.bare_title,
        view,
        here="board",
        address=address,
        refused=refused,
    )


def _form(page_request: PageRequest, key: str, refused: FormRefusal | None = None) -> Response:
    work, when = (any(page_request.typed(name) for name in names) for names in (_WORK, _WHEN))
    view = {
        "key": key,
        "types": TYPES,
        "priorities": [each.name for each in Priority],
        "work_open": work or page_request.typed("kind") == COMPOSITION,
        "when_open": when,
    }
    return render_page(
        page_request, "new_task.html", "New task", view, here="board", refused=refused
    )
