"""What a heartbeat would dispatch now, and what each task can cost: known without a call."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, structs

from earmark.board.task import CompositionWork, Task
from earmark.clock import Clock
from earmark.config.settings import HeartbeatSettings
from earmark.errors import EarmarkError
from earmark.heartbeat.affordability import Need, obstacle
from earmark.heartbeat.model_task import request_of
from earmark.heartbeat.runtime import Runtime
from earmark.ledger.values import Account
from earmark.money import Money
from earmark.pricing.bound import DeclaredBound
from earmark.stages.kinds.model import provider_of
from earmark.workspace.workspace import Workspace


class DispatchPreview(Struct, frozen=True, kw_only=True):
    """One task that would be claimed next."""

    task_id: str
    number: int
    title: str
    priority: str
    model: str
    bound_usd: str
    """The most it can cost; empty where that is not known."""
    fits: bool
    """Whether that fits together with those before it."""
    why: str = ""
    """Why it does not, or cannot go at all."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return structs.asdict(self)


def preview(
    workspace: Workspace, settings: HeartbeatSettings, runtime: Runtime, clock: Clock, *, most: int
) -> list[DispatchPreview]:
    """Return the next *most* tasks with what is in the way of each; changes and sends nothing."""
    ready = workspace.board.ready(settings.agent, most)
    accounts = workspace.ledger.store.accounts(settings.budget, clock.instant())
    planned: list[DispatchPreview] = []
    for task in ready:
        need = _need(task, settings, runtime)
        if isinstance(need, EarmarkError):
            planned.append(_planned(task, settings, None, str(need)))
            continue
        found = obstacle(accounts, need)
        if found is None:
            accounts = tuple(_taken(account, need) for account in accounts)
        planned.append(_planned(task, settings, need, "" if found is None else str(found.refusal)))
    return planned


def needs_of(
    tasks: Iterable[Task], settings: HeartbeatSettings, runtime: Runtime
) -> list[Need | EarmarkError]:
    """Return what each task needs, or why a dispatch of it would end before a call is made."""
    return [_need(task, settings, runtime) for task in tasks]


def _need(task: Task, settings: HeartbeatSettings, runtime: Runtime) -> Need | EarmarkError:
    try:
        if isinstance(task.work, CompositionWork):
            return Need.of(DeclaredBound(Money(task.work.budget)))
        model = task.work.model or settings.model
        call = provider_of(model, runtime.providers).call(request_of(task, task.work, model))
        return Need.of(call.bound)
    except EarmarkError as error:
        return error


def _planned(
    task: Task, settings: HeartbeatSettings, need: Need | None, why: str
) -> DispatchPreview:
    work = task.work
    composed = isinstance(work, CompositionWork)
    return DispatchPreview(
        task_id=task.id,
        number=task.number,
        title=task.title,
        priority=task.priority.name,
        model="composition" if composed else work.model or settings.model,
        bound_usd="" if need is None else str(Money.nanos(need.usd)),
        fits=not why,
        why=why,
    )


def _taken(account: Account, need: Need) -> Account:
    return structs.replace(account, held=account.held + getattr(need, account.line.unit))
