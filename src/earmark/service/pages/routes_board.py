"""`/`: the board, filtered and in pages."""

from dataclasses import replace
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.task import Task
from earmark.errors import InputError
from earmark.service.pages.error_pages import PageRoute, refusal
from earmark.service.pages.page_context import (
    FormRefusal,
    PageRequest,
    ReaderPageRequest,
    render_page,
)
from earmark.service.pages.views_agents import beats
from earmark.service.pages.views_board import (
    MOST,
    BoardQuery,
    board_view,
    parse_board_query,
    task_filters,
)
from earmark.workspace.task_costs import task_costs

router: Final = APIRouter(route_class=PageRoute)


@router.get("/")
def board(page_request: ReaderPageRequest) -> Response:
    """Show the tasks that the address asks for."""
    query = parse_board_query(page_request.request.query_params)
    try:
        found = _find_tasks(page_request.workspace.board, task_filters(query))
    except InputError as error:
        return _page(page_request, query, [], refusal(error))
    return _page(page_request, query, found)


def _find_tasks(board: Board, filters: tuple[TaskFilter, ...]) -> list[Task]:
    """Return the tasks that match a filter: one more than fits on a page, where there are more."""
    found: list[Task] = []
    for each in filters:
        if len(found) <= MOST:
            found += board.find(replace(each, most=MOST + 1 - len(found)))
    return found


def _page(
    page_request: PageRequest,
    query: BoardQuery,
    found: list[Task],
    refused: FormRefusal | None = None,
) -> Response:
    workspace, now = page_request.workspace, page_request.now
    attempts = workspace.board.attempts_of([task.id for task in found])
    view = board_view(
        query,
        found,
        costs=task_costs(workspace.ledger, attempts),
        counts=workspace.board.counts(),
        beats=beats(workspace.agents.all(), now),
        now=now,
    )
    return render_page(page_request, "board.html", "Board", view, here="board", refused=refused)
