"""What the ledger decides about budgets themselves: limits, pauses, extensions; pure."""

import json
from dataclasses import replace
from typing import assert_never

from earmark.budget.budget import MOST_EXTENSIONS, Budget
from earmark.budget.settable import SETTABLE
from earmark.clock import iso
from earmark.ledger.counting import NOTHING
from earmark.ledger.values import (
    Accepted,
    Account,
    Added,
    Decision,
    Entry,
    ExtendBudget,
    Kind,
    OnBudget,
    Opened,
    PauseBudget,
    Refused,
    Repeated,
    ResumeBudget,
    SetLimits,
)

NOTHING_OPENED = Opened()


def decide_budget(
    op: OnBudget, budget: Budget | None, now: int, seq: int, opened: Opened = NOTHING_OPENED
) -> Decision:
    """Return what *op* does to *budget*, which stands at its path or is `None`.

    Setting what stands already changes nothing. What was spent stays: accounts are known by budget,
    unit, window and interval, never by the limit's amount. *opened* are the accounts that begin
    with what was before, as `counting.opening` and `counting.counted_back` say.
    """
    match op:
        case SetLimits():
            return _set_limits(op, budget, now, seq, opened)
        case PauseBudget() | ResumeBudget() | ExtendBudget():
            if budget is None:
                return Refused("not_found", budget=op.budget)
            return _past(op, now) or _change(op, budget, now, seq)
        case _:
            assert_never(op)


def fingerprint(op: OnBudget) -> str:
    """Return the content of *op*, for telling a repeat from another operation under its key."""
    given = dict(op.given) if isinstance(op, SetLimits) else {}
    content = {**given, **_request_json(op), "path": op.budget}
    return json.dumps(content, sort_keys=True, default=str)


def changed(op: SetLimits, budget: Budget | None) -> Budget:
    """Return *budget* as *op* makes it: what *op* does not give is as it was, or the default.

    A session's budget whose fields are set by others than sessions, which name their kind, becomes
    one of kind `budget`.
    """
    given = op.given
    if budget is not None and budget.kind == "session" and given:
        given = {"kind": "budget", **given}
    return replace(budget or Budget(path=op.budget), **given)


def _set_limits(
    op: SetLimits, budget: Budget | None, now: int, seq: int, opened: Opened
) -> Decision:
    kind = op.given.get("kind")
    is_taken_over = budget is not None and (budget.kind, kind) == ("session", "budget")
    if budget is not None and kind is not None and kind != budget.kind and not is_taken_over:
        # Whoever opens a budget for itself would replace the limits of one that is somebody's.
        return Refused("other_kind", budget=op.budget, first=budget.kind, now=kind)
    updated = changed(op, budget)
    if updated == budget:
        return Repeated(None, budget)
    return _accepted(op, updated, "limit", now, seq, opened)


def _past(op: PauseBudget | ResumeBudget | ExtendBudget, now: int) -> Refused | None:
    """Return the refusal of what would have ended before it begins."""
    match op:
        case PauseBudget():
            end = op.pause.until
        case ResumeBudget():
            end = None
        case ExtendBudget():
            end = op.extension.until
    if end is None or now < end:
        return None
    return Refused("past", budget=op.budget, first=iso(end), now=iso(now))


def _change(
    op: PauseBudget | ResumeBudget | ExtendBudget, budget: Budget, now: int, seq: int
) -> Decision:
    match op:
        case PauseBudget():
            return _accepted(op, replace(budget, paused=op.pause), "pause", now, seq)
        case ResumeBudget():
            if budget.paused is None:
                return Repeated(None, budget)
            return _accepted(op, replace(budget, paused=None), "resume", now, seq)
        case ExtendBudget():
            added = op.extension.limit
            if not any(added.same_window(limit) for limit in budget.limits):
                there = ", ".join(map(str, budget.limits))
                return Refused("no_limit", budget=op.budget, first=there, now=str(added))
            # Extensions that have ended are dropped here: the entries keep them.
            live = tuple(e for e in budget.extensions if now < e.until)
            if len(live) >= MOST_EXTENSIONS:
                return Refused("full", budget=op.budget)
            updated = replace(budget, extensions=(*live, op.extension))
            return _accepted(op, updated, "extension", now, seq)
        case _:
            assert_never(op)


def _accepted(
    op: OnBudget,
    budget: Budget,
    kind: Kind,
    now: int,
    seq: int,
    opened: Opened = NOTHING_OPENED,
) -> Accepted:
    body = _request_json(op) | _result(op, budget)
    pairs = list(zip(opened.accounts, opened.added, strict=True))
    if pairs:
        body["opened"] = [_opened_json(account, added) for account, added in pairs]
    data = json.dumps(body, sort_keys=True)
    entry = Entry(seq, now, kind, op.operation, budget.path, NOTHING, 0, data)
    settled = tuple(account.settled + added.settled for account, added in pairs)
    held = tuple(account.held + added.held for account, added in pairs)
    return Accepted(settled, held, None, budget, entry, (), opened.joined)


def _opened_json(account: Account, added: Added) -> dict[str, object]:
    """Return which account begins with what was before, and with how much of it."""
    line = account.line
    return {
        "unit": line.unit,
        "window": line.window,
        "start": line.start,
        "end": line.end,
        "settled": added.settled,
        "held": added.held,
        "reservations": added.reservations,
    }


def _result(op: OnBudget, budget: Budget) -> dict[str, object]:
    """Return what the entry of *op* says beside *op* itself: the whole budget it made."""
    if not isinstance(op, SetLimits):
        return {}
    body = budget.to_json()
    return {name: body[name] for name in ("path", *SETTABLE) if name in body}


def _request_json(op: OnBudget) -> dict[str, object]:
    match op:
        case SetLimits():
            return {"count_back": op.count_back, "actor": op.actor, "reason": op.reason}
        case PauseBudget():
            pause = op.pause
            return {"actor": pause.actor, "reason": pause.reason, "until": pause.until}
        case ResumeBudget():
            return {"actor": op.actor, "reason": op.reason}
        case ExtendBudget():
            extension = op.extension
            return {
                "limit": str(extension.limit),
                "actor": extension.actor,
                "reason": extension.reason,
                "until": extension.until,
            }
        case _:
            assert_never(op)
