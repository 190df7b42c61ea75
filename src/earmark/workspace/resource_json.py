"""What stands in the books and beside them as JSON: one function for each thing.

Amounts are decimal strings, instants RFC 3339 in UTC or null, counts numbers. The command line and
the API write the same forms.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from earmark.board.task import (
    Attempt,
    CompositionWork,
    ModelWork,
    Quality,
    Task,
    TaskCost,
    TaskDecision,
    TaskWork,
)
from earmark.budget.budget import PPM, Budget
from earmark.budget.limit import present, show_amount
from earmark.clock import END_OF_TIME, iso, to_datetime
from earmark.ledger.answers import Balance
from earmark.ledger.details import read_details
from earmark.ledger.values import Alert, Amounts, Entry, Reservation
from earmark.workspace.jsonable import to_jsonable_utf8

if TYPE_CHECKING:
    # A command that lists budgets does not load the board's neighbours.
    from earmark.ledger.audit import AuditReport
    from earmark.nudges.nudges import Delivery, Nudge
    from earmark.quilt.quilt import Patch
    from earmark.runs.journal import RunRecord, RunSummary
    from earmark.workspace.agents import AgentRow
    from earmark.workspace.tokens import TokenRow

# The books ----------------------------------------------------------------------------------------


def balance_json(balance: Balance) -> dict[str, Any]:
    """Return a balance; amounts are text where they are USD, else numbers."""
    names = ("unit", "window", "limit", "settled", "held", "available", "starts_at", "resets_at")
    return {name: getattr(balance, name) for name in names}


def budget_json(budget: Budget, now: int) -> dict[str, Any]:
    """Return a budget with the pause and the extensions that are in force."""
    paused = budget.is_paused(now)
    return {
        "path": budget.path,
        "kind": budget.kind,
        "limits": [str(limit) for limit in budget.limits],
        "timezone": budget.timezone,
        "alerts": [share(alert) for alert in budget.alerts],
        "paused": paused and _noted(paused.actor, paused.reason, paused.until),
        "extensions": [
            {"limit": str(each.limit), **_noted(each.actor, each.reason, each.until)}
            for each in budget.extensions
            if now < each.until
        ],
    }


def reservation_json(reservation: Reservation) -> dict[str, Any]:
    """Return a reservation; `amount` is the hold and `settled` the actual cost, in USD."""
    closed = reservation.closed
    return {
        "key": reservation.key,
        "budget": reservation.budget,
        "state": reservation.state,
        "amount": reservation.amount,
        "settled": reservation.settled,
        "overrun": reservation.overrun,
        "units": _units(reservation.actual or reservation.hold),
        "opened_at": reservation.opened_at,
        "deadline": reservation.deadline,
        "closed_at": to_datetime(closed) if closed else None,
        "labels": labels_of(reservation),
        "details": read_details(reservation.details),
        "seq": reservation.seq,
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return an entry; amounts are the operation's own."""
    return {
        "seq": entry.seq,
        "at": entry.moment,
        "kind": entry.kind,
        "budget": entry.budget,
        "key": entry.key,
        "amount": show_amount("usd", entry.amounts.usd),
        "units": _units(entry.amounts),
        "prior": entry.prior or None,
        "data": data_of(entry),
    }


def alert_json(alert: Alert) -> dict[str, Any]:
    """Return a threshold that was crossed; amounts are text where they are USD, else numbers."""
    return {
        "id": alert.id,
        "budget": alert.budget,
        "unit": alert.unit,
        "window": alert.window,
        "threshold": share(alert.threshold),
        "limit": present(alert.unit, alert.limit),
        "settled": present(alert.unit, alert.settled),
        "starts_at": _moment(alert.start),
        "resets_at": None if alert.end == END_OF_TIME else iso(alert.end),
        "at": iso(alert.at),
        "seq": alert.seq,
    }


def audit_json(report: "AuditReport") -> dict[str, Any]:
    """Return what an audit found."""
    form: dict[str, Any] = to_jsonable_utf8(report)
    return form


def labels_of(reservation: Reservation) -> Mapping[str, str]:
    """Return the labels it was opened with."""
    return json.loads(reservation.labels) if reservation.labels else {}


def data_of(entry: Entry) -> Mapping[str, Any]:
    """Return what an entry says beside its amounts."""
    if entry.kind in {"reserve", "extend"}:
        given: dict[str, Any] = {"operation": entry.operation} if entry.operation else {}
        return given if entry.expires is None else {**given, "deadline": iso(entry.expires)}
    return json.loads(entry.data) if entry.data else {}


def share(alert: int) -> str:
    """Return a threshold in parts per million as the share of the limit: `0.8`."""
    return f"{alert / PPM:.6f}".rstrip("0").rstrip(".")


def run_json(record: "RunRecord | RunSummary", now: int) -> dict[str, Any]:
    """Return a run without its lines and its statement, as it stands at the instant *now*."""
    return {
        "run_id": record.run_id,
        "composition_id": record.composition_id,
        "budget": record.budget,
        "limit": record.limit,
        "status": record.status_at(now),
        "started_at": iso(record.started_at),
    }


# The board ----------------------------------------------------------------------------------------


def task_json(task: Task, cost: TaskCost | None = None) -> dict[str, Any]:
    """Return a task; *cost* is the ledger's, null where the ledger was not asked."""
    return {
        "id": task.id,
        "number": task.number,
        "series": task.series,
        "title": task.title,
        "description": task.description,
        "type": task.type,
        "priority": task.priority.name,
        "labels": list(task.labels),
        "destructive": task.destructive,
        "assignee": task.assignee,
        "work": work_json(task.work),
        "needs": list(task.needs),
        "waiting": task.waiting,
        "status": task.status,
        "approval": task.approval,
        "approved_by": task.approved_by,
        "attempts": task.attempts,
        "max_attempts": task.max_attempts,
        "agent": task.agent,
        "model": task.model,
        "claimed_by": task.claimed_by,
        "lease_until": _moment(task.lease_until),
        "due_at": _moment(task.due_at),
        "created_at": _moment(task.created_at),
        "created_by": task.created_by,
        "claimed_at": _moment(task.claimed_at),
        "started_at": _moment(task.started_at),
        "completed_at": _moment(task.completed_at),
        "cost": None if cost is None else cost_json(cost),
        "quality": None if task.quality is None else quality_json(task.quality),
        "result": task.result,
        "error": task.error,
        "version": task.version,
    }


def work_json(work: TaskWork) -> dict[str, Any]:
    """Return what a task asks for, its kind under `kind`."""
    match work:
        case ModelWork():
            return {
                "kind": "model",
                "model": work.model,
                "prompt": work.prompt,
                "system": work.system,
                "max_tokens": work.max_tokens,
            }
        case CompositionWork():
            return {
                "kind": "composition",
                "graph": work.graph,
                "input": work.input,
                "budget": work.budget,
            }


def cost_json(cost: TaskCost) -> dict[str, Any]:
    """Return what a task cost, as the ledger has it."""
    return {
        "settled": cost.settled,
        "held": cost.held,
        "presumed": cost.presumed,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "unknown": list(cost.unknown),
    }


def quality_json(quality: Quality) -> dict[str, Any]:
    """Return the grade of a result."""
    return {
        "overall": quality.overall,
        "passed": quality.passed,
        "graded_by": quality.graded_by,
        "graded_at": _moment(quality.graded_at),
        "note": quality.note,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """Return one attempt of a task, with its key and budget in the books."""
    return {
        "number": attempt.number,
        "agent": attempt.agent,
        "model": attempt.model,
        "key": attempt.key,
        "run_id": attempt.run_id,
        "budget": attempt.budget,
        "started_at": _moment(attempt.started_at),
        "ended_at": _moment(attempt.ended_at),
        "outcome": attempt.outcome,
        "input_tokens": attempt.input_tokens,
        "output_tokens": attempt.output_tokens,
    }


def event_json(event: TaskDecision) -> dict[str, Any]:
    """Return one decision about a task."""
    return {
        "number": event.number,
        "task_id": event.task_id,
        "at": iso(event.at),
        "actor": event.actor,
        "move": event.move,
        "status": str(event.status),
        "note": event.note,
    }


# The quilt, the nudges, the agents, the tokens ----------------------------------------------------


def patch_json(patch: "Patch") -> dict[str, Any]:
    """Return one record of the quilt in one version."""
    return {
        "type": patch.type,
        "name": patch.name,
        "data": patch.data,
        "version": patch.version,
        "author": patch.author,
        "created_at": iso(patch.created_at),
        "updated_at": iso(patch.updated_at),
    }


def nudge_json(nudge: "Nudge", deliveries: "list[Delivery] | None" = None) -> dict[str, Any]:
    """Return a nudge, with how far it has come where that was asked for."""
    ways = None if deliveries is None else [delivery_json(each) for each in deliveries]
    return {
        "id": nudge.id,
        "number": nudge.number,
        "kind": nudge.kind,
        "budget": nudge.budget,
        "recipient": nudge.recipient,
        "title": nudge.title,
        "data": nudge.data,
        "created_at": iso(nudge.created_at),
        "acked_by": nudge.acked_by,
        "acked_at": _moment(nudge.acked_at),
        "deliveries": ways,
    }


def nudge_event_json(nudge: "Nudge") -> dict[str, Any]:
    """Return what an event says of a new nudge."""
    names = ("id", "number", "kind", "budget", "recipient", "title")
    return {name: getattr(nudge, name) for name in names}


def delivery_json(delivery: "Delivery") -> dict[str, Any]:
    """Return how far a nudge has come on one channel."""
    return {
        "channel": delivery.channel,
        "state": delivery.state,
        "tries": delivery.tries,
        "next_at": _moment(delivery.next_at) if delivery.state == "waiting" else None,
        "delivered_at": _moment(delivery.delivered_at),
        "error": delivery.error,
    }


def agent_json(agent: "AgentRow", now: int) -> dict[str, Any]:
    """Return one agent, and whether a heartbeat holds its name at the instant *now*."""
    return {
        "name": agent.name,
        "held": agent.held_at(now),
        "lease_until": _moment(agent.lease_until),
        "cycles": agent.cycles,
        "state": to_jsonable_utf8(agent.state),
        "updated_at": iso(agent.updated_at),
    }


def token_json(token: "TokenRow") -> dict[str, Any]:
    """Return what is known of a token, which the token itself is not."""
    access = token.access
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": iso(token.created_at),
        "expires_at": _moment(token.expires_at),
        "revoked_at": _moment(token.revoked_at),
        "budget": None if access is None else access.budget,
        "providers": [] if access is None else list(access.providers),
        "models": [] if access is None else list(access.models),
        "most_per_request": None if access is None else access.most_per_request,
    }


def _moment(instant: int) -> str | None:
    return iso(instant) if instant else None


def _units(amounts: Amounts) -> dict[str, int]:
    tokens = {} if amounts.tokens is None else {"tokens": amounts.tokens}
    return {"calls": amounts.calls, **tokens}


def _noted(actor: str, reason: str, until: int | None) -> dict[str, Any]:
    return {"actor": actor, "reason": reason, "until": None if until is None else iso(until)}
