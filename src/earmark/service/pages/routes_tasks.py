"""`/tasks/…`: a new task, one task, and what people decide about it."""

from collections.abc import Callable, Mapping
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from earmark.board.board import Board
from earmark.board.task import TYPES, Priority, Task
from earmark.errors import EarmarkError, NotFound, StoreError
from earmark.ids import new_key
from earmark.service.auth import allowed
from earmark.service.pages.failures import PageRoute, refusal
from earmark.service.pages.forms import COMPOSITION, draft_of, quality_of
from earmark.service.pages.office import Reader, Refused, Sender, Spender, Visit, see_other, shown
from earmark.service.pages.views_agents import beats
from earmark.service.pages.views_task import TaskFacts, bare_title, task_view
from earmark.workspace.approvals import add_task
from earmark.workspace.task_costs import task_cost

router: Final = APIRouter(route_class=PageRoute)

#: Fields that are folded away until something stands in one of them.
_WORK: Final = ("model", "max_tokens", "prompt", "system", "graph", "input", "budget")
_WHEN: Final = ("assignee", "needs", "due")

Decide = Callable[[Board, str, Visit], Task]


@router.get("/tasks/new")
def new(visit: Reader) -> Response:
    """Show the form of a new task, to those who may add one."""
    allowed(visit.caller, "spend")
    return _form(visit, new_key(visit.workspace.ledger.clock))


@router.post("/tasks/new")
def add(visit: Spender) -> Response:
    """Put the task on the board; the form sent twice makes one task."""
    workspace, key = visit.workspace, visit.typed("key") or new_key(visit.workspace.ledger.clock)
    try:
        draft = draft_of(visit.form, workspace.ledger.clock)
        task = add_task(
            workspace, draft, actor=visit.caller.name, key=key, approval_for=visit.approval_for
        )
    except EarmarkError as error:
        return _form(visit, key, refusal(error))
    return see_other(f"/tasks/{task.id}")


@router.get("/tasks/{task_id}")
def task(visit: Reader, task_id: str) -> Response:
    """Show one task."""
    return _page(visit, visit.workspace.board.get(task_id))


@router.post("/tasks/{task_id}/{move}")
def decide(visit: Sender, task_id: str, move: str) -> Response:
    """Do what a person decided; where the task's state does not allow it, say so."""
    if move not in _DECISIONS:
        raise NotFound(kind="page", name=f"/tasks/{task_id}/{move}")
    scope, how = _DECISIONS[move]
    allowed(visit.caller, scope)
    board = visit.workspace.board
    try:
        how(board, task_id, visit)
    except (NotFound, StoreError):
        raise
    except EarmarkError as error:
        return _page(visit, board.get(task_id), refusal(error))
    return see_other(f"/tasks/{task_id}")


def _grade(board: Board, task_id: str, visit: Visit) -> Task:
    actor = visit.caller.name
    quality = quality_of(visit.form, actor=actor, now=visit.now)
    return board.grade(task_id, quality, actor=actor)


def _noted(do: Callable[..., Task]) -> Decide:
    """Return the decision that takes a note and nothing else."""
    return lambda board, task_id, visit: do(
        board, task_id, actor=visit.caller.name, note=visit.typed("note")
    )


#: The scope and the deed of each form of the page.
_DECISIONS: Final[Mapping[str, tuple[str, Decide]]] = {
    "approve": ("admin", _noted(Board.approve)),
    "deny": ("admin", _noted(Board.deny)),
    "grade": ("spend", _grade),
    "accept": ("spend", _noted(Board.accept)),
    "reject": ("spend", _noted(Board.reject)),
    "retry": ("spend", _noted(Board.retry)),
    "cancel": ("spend", _noted(Board.cancel)),
}


def _page(visit: Visit, task: Task, refused: Refused | None = None) -> Response:
    workspace = visit.workspace
    attempts = workspace.board.attempts(task.id)
    facts = TaskFacts(
        task=task,
        attempts=attempts,
        history=workspace.board.history(task.id),
        cost=task_cost(workspace.ledger, attempts),
        needs=[workspace.board.get(each) for each in task.needs],
        beats=beats(workspace.agents.all(), visit.now),
    )
    view = task_view(facts, visit.now)
    address = f"/tasks/{task.id}"
    title = bare_title(task)
    return shown(visit, "task.html", title, view, here="board", address=address, refused=refused)


def _form(visit: Visit, key: str, refused: Refused | None = None) -> Response:
    work, when = (any(visit.typed(name) for name in names) for names in (_WORK, _WHEN))
    view = {
        "key": key,
        "types": TYPES,
        "priorities": [each.name for each in Priority],
        "work_open": work or visit.typed("kind") == COMPOSITION,
        "when_open": when,
    }
    return shown(visit, "new_task.html", "New task", view, here="board", refused=refused)
