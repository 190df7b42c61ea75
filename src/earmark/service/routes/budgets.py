"""Budgets: list and look, and for admins: set, pause, resume, extend."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from earmark.budget.budget import Budget
from earmark.service import bodies
from earmark.service.answers import answer, answers
from earmark.service.auth import AdminCaller, ReadCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import USUAL, Cursor, LimitParam, after_texts, page
from earmark.service.routes.params import BudgetFilter, BudgetPathParam, check_not_past
from earmark.workspace.resources.books import BUDGET, BUDGET_TREE, BudgetStanding

router = APIRouter(route_class=IdempotentRoute, tags=["budgets"])

#: How many budgets below one are shown with it; the list has them all.
MOST_BELOW = 1000

Runs = Annotated[bool, Query(description="Also those that runs and sessions opened.")]


@router.get("/budgets", **answers(BUDGET, page=True))
def list_budgets(
    service: ServiceDep,
    _: ReadCaller,
    *,
    prefix: BudgetFilter = None,
    runs: Runs = False,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List budgets by path, each with its limits as they stand now."""
    (after,) = after_texts(cursor, 1)
    service.workspace.ledger.sweep()
    workspace = service.workspace
    found = workspace.budgets.find(prefix=prefix or "", after=after, most=limit + 1, runs=runs)
    return page(_with_balances(service, found), limit, BUDGET.encode, lambda each: each.path)


@router.get("/budgets/{path:path}", **answers(BUDGET_TREE))
def get_budget(service: ServiceDep, _: ReadCaller, path: BudgetPathParam) -> Response:
    """Show one budget and those below it, each with its limits as they stand now."""
    service.workspace.ledger.sweep()
    budgets = service.workspace.budgets
    budget = budgets.get(path)
    found = budgets.find(prefix=budget.path, after=budget.path, most=MOST_BELOW)
    own, *below = _with_balances(service, [budget, *found])
    return answer(BUDGET_TREE, own, below=below)


@router.put("/budgets/{path:path}", **answers(BUDGET))
def set_budget(
    service: ServiceDep, caller: AdminCaller, path: BudgetPathParam, body: bodies.BudgetBody
) -> Response:
    """Make a budget, or change what is given of it; what was spent stays spent."""
    budget = service.workspace.ledger.set_budget(
        path,
        actor=caller.name,
        reason=body.reason,
        count_back=body.count_back,
        **body.given(),
    )
    return _answer(service, budget)


@router.post("/budgets/{path:path}/pause", **answers(BUDGET))
def pause_budget(
    service: ServiceDep,
    caller: AdminCaller,
    path: BudgetPathParam,
    body: bodies.PauseBody,
    _: OperationName,
) -> Response:
    """Refuse every later reservation at or below a budget, until resumed or until then."""
    until = None if body.until is None else check_not_past(body.until, service.clock)
    ledger = service.workspace.ledger
    budget = ledger.pause(path, actor=caller.name, reason=body.reason, until=until)
    return _answer(service, budget)


@router.post("/budgets/{path:path}/resume", **answers(BUDGET))
def resume_budget(
    service: ServiceDep,
    caller: AdminCaller,
    path: BudgetPathParam,
    body: bodies.ReasonBody,
    _: OperationName,
) -> Response:
    """End a pause."""
    budget = service.workspace.ledger.resume(path, actor=caller.name, reason=body.reason)
    return _answer(service, budget)


@router.post("/budgets/{path:path}/extend", **answers(BUDGET))
def extend_budget(
    service: ServiceDep,
    caller: AdminCaller,
    path: BudgetPathParam,
    body: bodies.ExtensionBody,
    operation: OperationName,
) -> Response:
    """Add to a limit for a while; under an Idempotency-Key once, however often it is sent."""
    until = check_not_past(body.until, service.clock)
    budget = service.workspace.ledger.extend_budget(
        path, body.limit, until=until, actor=caller.name, reason=body.reason, key=operation
    )
    return _answer(service, budget)


def _answer(service: Service, budget: Budget) -> Response:
    balances = service.workspace.budgets.balances(budget)
    return answer(BUDGET, BudgetStanding(budget, balances, service.clock.instant()))


def _with_balances(service: Service, budgets: list[Budget]) -> list[BudgetStanding]:
    found = service.workspace.budgets.balances_of_all(budgets)
    now = service.clock.instant()
    return [BudgetStanding(*each, now) for each in zip(budgets, found, strict=True)]
