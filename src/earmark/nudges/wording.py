"""What nudges say: from alerts and entries of the books to titles and data; pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from earmark.budget.budget import PPM
from earmark.budget.limit import describe_limit, show_amount
from earmark.budget.share import threshold_percent
from earmark.budget.units import USD
from earmark.clock import END_OF_TIME, iso, to_datetime
from earmark.ledger.values import Alert, Entry
from earmark.money import show_nanos
from earmark.nudges.draft import NudgeDraft


def of_alert(alert: Alert, zone: str) -> NudgeDraft:
    """Return the nudge for a threshold that was crossed; *zone* is the budget's time zone.

    Its data has the fields of the first budget alerts (`type`, `daily_spend`, `daily_cap`,
    `threshold_percent`, `date`, `timestamp`) and those that tell which limit it is about.
    """
    full = alert.threshold >= PPM
    unit, limit = alert.unit, show_amount(alert.unit, alert.limit)
    settled = show_amount(unit, alert.settled)
    per_cent = threshold_percent(alert.threshold)
    of_what = describe_limit(limit, _unit(unit), alert.window)
    resets = "" if alert.end == END_OF_TIME else f", resets {_minute(alert.end)}"
    return NudgeDraft(
        kind="exhausted" if full else "threshold",
        id=alert.id,
        budget=alert.budget,
        title=f"{alert.budget}: {per_cent} % of {of_what} is spent"
        f" ({settled} {_unit(unit)}){resets}",
        data={
            "type": "budget_alert",
            "daily_spend": settled,
            "daily_cap": limit,
            "threshold_percent": per_cent,
            "date": _date(alert, zone),
            "timestamp": iso(alert.at),
            "budget": alert.budget,
            "unit": unit,
            "window": alert.window,
            "limit": limit,
            "settled": settled,
            "starts_at": iso(alert.start) if alert.start else None,
            "resets_at": None if alert.end == END_OF_TIME else iso(alert.end),
            "entry": alert.seq,
        },
    )


def of_change(entry: Entry) -> NudgeDraft:
    """Return the nudge for a pause, a resume or an extension of a budget."""
    kind = {"pause": "paused", "resume": "resumed", "extension": "extended"}[entry.kind]
    said: Mapping[str, Any] = _sound(json.loads(entry.data))
    by = f" by {said['actor']}" if said["actor"] else ""
    because = f": {said['reason']}" if said["reason"] else ""
    end = None if said.get("until") is None else iso(said["until"])
    until = "" if end is None else f" until {end}"
    what = {
        "paused": f"is paused{by}{until}{because}",
        "resumed": f"goes on, resumed{by}{because}",
        "extended": f"has {said.get('limit')} more{until}{by}{because}",
    }[kind]
    facts = {"actor": said["actor"], "reason": said["reason"], "until": end}
    if kind == "extended":
        facts["limit"] = said["limit"]
    return _draft(kind, entry, f"{entry.budget} {what}", {"type": f"budget_{kind}", **facts})


def of_overrun(entry: Entry, hold: int, labels: str) -> NudgeDraft:
    """Return the nudge for a settlement above its *hold* in nano-USD."""
    cost, held, more = map(show_nanos, (entry.amounts.usd, hold, entry.amounts.usd - hold))
    title = (
        f"{entry.budget}: {entry.key} cost {cost} USD, {more} USD more than its hold of {held} USD"
    )
    facts = {"type": "budget_overrun", "hold": held, "settled": cost, "overrun": more}
    return _draft("overrun", entry, title, {**facts, **_call(entry, labels)})


def of_unknown(entry: Entry, hold: int, labels: str) -> NudgeDraft:
    """Return the nudge for a *hold* in nano-USD that was presumed spent, or more than that."""
    held, counted = show_nanos(hold), show_nanos(entry.amounts.usd)
    what, facts = f"its hold of {held} USD counts", {"type": "outcome_unknown", "hold": held}
    if entry.amounts.usd > hold:
        what = f"{counted} USD are known, more than its hold of {held} USD, and count"
        facts["settled"] = counted
    title = (
        f"{entry.budget}: nobody knows what {entry.key} cost; {what} as spent until"
        f" `earmark holds settle` tells the truth"
    )
    return _draft("unknown", entry, title, {**facts, **_call(entry, labels)})


def of_many(kind: str, entries: Sequence[Entry]) -> NudgeDraft:
    """Return the one nudge for many overruns or unknown outcomes, which follow others."""
    first, last = entries[0], entries[-1]
    usd = show_nanos(sum(entry.amounts.usd for entry in entries))
    what = {
        "unknown": "calls whose outcome nobody knows, counted as spent in full",
        "overrun": "calls that cost more than their hold",
    }[kind]
    trees = sorted({entry.budget.partition("/")[0] for entry in entries})
    return NudgeDraft(
        kind=kind,
        id=f"{trees[0]}/{kind}/{first.seq}-{last.seq}",
        budget=trees[0] if len(trees) == 1 else "",
        title=f"{', '.join(trees[:5])}: {len(entries):,} more {what}: {usd} USD in all",
        data={
            "type": f"many_{kind}",
            "count": len(entries),
            "settled": usd,
            "budgets": trees[:100],
            "first_entry": first.seq,
            "last_entry": last.seq,
            "timestamp": iso(last.at),
        },
    )


def _draft(kind: str, entry: Entry, title: str, facts: Mapping[str, Any]) -> NudgeDraft:
    when = {"budget": entry.budget, "entry": entry.seq, "timestamp": iso(entry.at)}
    return NudgeDraft(
        kind=kind,
        id=f"{entry.budget}/{kind}/{entry.seq}",
        budget=entry.budget,
        title=title,
        data={**facts, **when},
    )


def _call(entry: Entry, labels: str) -> dict[str, Any]:
    return {"key": entry.key, "labels": _sound(json.loads(labels)) if labels else {}}


def _sound(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return *facts* without halves of characters, which people can type and nobody can be told."""
    return {
        key.encode(errors="replace").decode(): value.encode(errors="replace").decode()
        if isinstance(value, str)
        else value
        for key, value in facts.items()
    }


def _date(alert: Alert, zone: str) -> str:
    """Return the day it was spent on: within its interval, also when it was settled later."""
    at = to_datetime(min(alert.at, alert.end - 1))
    return at.astimezone(ZoneInfo(zone)).date().isoformat()


def _unit(unit: str) -> str:
    return unit.upper() if unit == USD else unit


def _minute(instant: int) -> str:
    return f"{to_datetime(instant):%Y-%m-%dT%H:%MZ}"
