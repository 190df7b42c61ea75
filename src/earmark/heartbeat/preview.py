"""What a heartbeat would dispatch now, and what each task can cost: known without a call."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, structs

from earmark.board.task import CompositionWork, Task
from earmark.clock import Clock
from earmark.config.settings import HeartbeatSettings
from earmark.errors import EarmarkError
from earmark.heartbeat.affordability import amounts_of_call, refusals
from earmark.heartbeat.model_task import request_of
from earmark.heartbeat.runtime import Runtime
from earmark.ledger.amounts import nothing
from earmark.ledger.values import Amounts
from earmark.money import Money
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
    needs = needs_of(ready, settings, runtime)
    amounts = [nothing() if isinstance(need, EarmarkError) else need for need in needs]
    found = refusals(workspace.ledger, clock, settings.budget, amounts, together=True)
    return [
        _planned(task, settings, None, str(need))
        if isinstance(need, EarmarkError)
        else _planned(task, settings, need, "" if refusal is None else str(refusal))
        for task, need, refusal in zip(ready, needs, found, strict=True)
    ]


def needs_of(
    tasks: Iterable[Task], settings: HeartbeatSettings, runtime: Runtime
) -> list[Amounts | EarmarkError]:
    """Return what each task needs, or why a dispatch of it would end before a call is made."""
    return [_need(task, settings, runtime) for task in tasks]


def _need(task: Task, settings: HeartbeatSettings, runtime: Runtime) -> Amounts | EarmarkError:
    try:
        if isinstance(task.work, CompositionWork):
            # How much of other units its stages may take is not known before it runs.
            return structs.replace(nothing(), usd=Money(task.work.budget).in_nanos, calls=1)
        model = task.work.model or settings.model
        call = provider_of(model, runtime.providers).call(request_of(task, task.work, model))
        return amounts_of_call(call.bound)
    except EarmarkError as error:
        return error


def _planned(
    task: Task, settings: HeartbeatSettings, need: Amounts | None, why: str
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
