"""Budgets: list and look, and for admins: set, pause, resume, extend."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from earmark.budget.budget import Budget
from earmark.ledger.answers import Balance
from earmark.service import models
from earmark.service.auth import AdminCaller, ReadCaller
from earmark.service.context import Service, ServiceDep
from earmark.service.idempotency import IdempotentRoute, OperationName
from earmark.service.paging import USUAL, Cursor, LimitParam, after_texts, page
from earmark.service.routes.params import BudgetFilter, BudgetPathParam, check_not_past
from earmark.workspace.jsonable import to_jsonable_utf8
from earmark.workspace.resource_json import balance_json, budget_json

router = APIRouter(route_class=IdempotentRoute, tags=["budgets"])

#: How many budgets below one are shown with it; the list has them all.
MOST_BELOW = 1000

Runs = Annotated[bool, Query(description="Also those that runs and sessions opened.")]


@router.get("/budgets", response_model=models.Page[models.Budget])
def list_budgets(
    service: ServiceDep,
    _: ReadCaller,
    *,
    prefix: BudgetFilter = None,
    runs: Runs = False,
    limit: LimitParam = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List budgets by path, each with its limits as they stand now."""
    (after,) = after_texts(cursor, 1)
    service.workspace.ledger.sweep()
    workspace = service.workspace
    found = workspace.budgets.find(prefix=prefix or "", after=after, most=limit + 1, runs=runs)
    forms = {
        each.path: form for each, form in zip(found, _all_standing(service, found), strict=True)
    }
    return page(found, limit, lambda each: forms[each.path], lambda each: each.path)


@router.get("/budgets/{path:path}", response_model=models.BudgetTree)
def get_one(service: ServiceDep, _: ReadCaller, path: BudgetPathParam) -> dict[str, Any]:
    """Show one budget and those below it, each with its limits as they stand now."""
    service.workspace.ledger.sweep()
    return _tree(service, service.workspace.budgets.get(path))


@router.put("/budgets/{path:path}", response_model=models.Budget)
def set_budget(
    service: ServiceDep, caller: AdminCaller, path: BudgetPathParam, body: models.BudgetBody
) -> dict[str, Any]:
    """Make a budget, or change what is given of it; what was spent stays spent."""
    budget = service.workspace.ledger.set_budget(
        path,
        limits=body.limits,
        timezone=body.timezone,
        alerts=body.alerts,
        actor=caller.name,
        reason=body.reason,
        count_back=body.count_back,
    )
    return to_jsonable_utf8(_standing(service, budget))


@router.post("/budgets/{path:path}/pause", response_model=models.Budget)
def pause(
    service: ServiceDep,
    caller: AdminCaller,
    path: BudgetPathParam,
    body: models.PauseBody,
    _: OperationName,
) -> dict[str, Any]:
    """Refuse every later reservation at or below a budget, until resumed or until then."""
    until = None if body.until is None else check_not_past(body.until, service.clock)
    ledger = service.workspace.ledger
    budget = ledger.pause(path, actor=caller.name, reason=body.reason, until=until)
    return to_jsonable_utf8(_standing(service, budget))


@router.post("/budgets/{path:path}/resume", response_model=models.Budget)
def resume(
    service: ServiceDep,
    caller: AdminCaller,
    path: BudgetPathParam,
    body: models.ReasonBody,
    _: OperationName,
) -> dict[str, Any]:
    """End a pause."""
    budget = service.workspace.ledger.resume(path, actor=caller.name, reason=body.reason)
    return to_jsonable_utf8(_standing(service, budget))


@router.post("/budgets/{path:path}/extend", response_model=models.Budget)
def extend(
    service: ServiceDep,
    caller: AdminCaller,
    path: BudgetPathParam,
    body: models.ExtensionBody,
    operation: OperationName,
) -> dict[str, Any]:
    """Add to a limit for a while; under an Idempotency-Key once, however often it is sent."""
    until = check_not_past(body.until, service.clock)
    budget = service.workspace.ledger.extend_budget(
        path, body.limit, until=until, actor=caller.name, reason=body.reason, key=operation
    )
    return to_jsonable_utf8(_standing(service, budget))


def _standing(service: Service, budget: Budget) -> dict[str, Any]:
    return _form(service, budget, service.workspace.budgets.balances(budget))


def _all_standing(service: Service, budgets: list[Budget]) -> list[dict[str, Any]]:
    found = service.workspace.budgets.balances_of_all(budgets)
    return [_form(service, *each) for each in zip(budgets, found, strict=True)]


def _form(service: Service, budget: Budget, balances: list[Balance]) -> dict[str, Any]:
    return {
        **budget_json(budget, service.clock.instant()),
        "balances": [balance_json(each) for each in balances],
    }


def _tree(service: Service, budget: Budget) -> dict[str, Any]:
    found = service.workspace.budgets.find(prefix=budget.path, after=budget.path, most=MOST_BELOW)
    own, *below = _all_standing(service, [budget, *found])
    return to_jsonable_utf8({**own, "below": below})
