"""Alerts and nudges as the pages show them: what happened, whom it reached, who has seen it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from earmark.budget.limit import describe_limit, show_amount
from earmark.budget.share import threshold_percent
from earmark.ledger.values import Alert
from earmark.nudges.nudges import Delivery, Nudge
from earmark.service.pages.formatting import DisplayedTime, moment, pretty

#: Rows on a page.
MOST: Final = 50
_MARKS: Final = {
    "threshold": "wanted",
    "exhausted": "failed",
    "overrun": "failed",
    "unknown": "unknown",
    "paused": "paused",
}
_DELIVERED: Final = {"delivered": "ok", "given_up": "failed", "waiting": "pending"}
_WORDS: Final = {"given_up": "given up"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """How far a nudge has come on one channel."""

    channel: str
    state: str
    mark: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NudgeView:
    """One nudge."""

    id: str
    number: int
    kind: str
    mark: str
    title: str
    budget: str
    recipient: str
    created: DisplayedTime | None
    acked_by: str
    acked: DisplayedTime | None
    deliveries: tuple[DeliveryView, ...]
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """A threshold that was crossed."""

    share: str
    """`80 %`."""
    limit: str
    settled: str
    budget: str
    at: DisplayedTime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NudgesView:
    """The page of nudges."""

    alerts: tuple[AlertView, ...]
    """The latest in the books, whether or not anybody was nudged."""
    nudges: tuple[NudgeView, ...]
    open_only: bool
    next_page: str
    first_page: str

    @property
    def said(self) -> str:
        """The latest one, or that there is none."""
        return self.nudges[0].title if self.nudges else "No nudges"


def nudges_view(
    found: Sequence[Nudge],
    deliveries: Mapping[str, Sequence[Delivery]],
    alerts: Sequence[Alert],
    now: int,
    *,
    open_only: bool,
    after: int,
) -> NudgesView:
    """Return the page; *found* holds one nudge more than fits where there is another page."""
    page, base = found[:MOST], "/nudges?show=open" if open_only else "/nudges?show=all"
    return NudgesView(
        alerts=tuple(_alert(each, now) for each in reversed(alerts)),
        nudges=tuple(_nudge(each, deliveries.get(each.id, ()), now) for each in page),
        open_only=open_only,
        next_page=f"{base}&after={page[-1].number}" if len(found) > MOST else "",
        first_page=base if after else "",
    )


def _alert(alert: Alert, now: int) -> AlertView:
    return AlertView(
        share=f"{threshold_percent(alert.threshold)} %",
        limit=describe_limit(show_amount(alert.unit, alert.limit), alert.unit, alert.window),
        settled=f"{show_amount(alert.unit, alert.settled)} {alert.unit}",
        budget=alert.budget,
        at=moment(alert.at, now),
    )


def _nudge(nudge: Nudge, deliveries: Sequence[Delivery], now: int) -> NudgeView:
    return NudgeView(
        id=nudge.id,
        number=nudge.number,
        kind=nudge.kind,
        mark=_MARKS.get(nudge.kind, "pending"),
        title=nudge.title,
        budget=nudge.budget,
        recipient=nudge.recipient,
        created=moment(nudge.created_at, now),
        acked_by=nudge.acked_by,
        acked=moment(nudge.acked_at, now),
        deliveries=tuple(_delivery(each, now) for each in deliveries),
        data=pretty(nudge.data)[0],
    )


def _delivery(delivery: Delivery, now: int) -> DeliveryView:
    return DeliveryView(
        channel=delivery.channel,
        state=_WORDS.get(delivery.state, delivery.state),
        mark=_DELIVERED[delivery.state],
        detail=_detail(delivery, now),
    )


def _detail(delivery: Delivery, now: int) -> str:
    if delivery.state == "delivered":
        at = moment(delivery.delivered_at, now)
        return at.age if at else ""
    tried = f"{delivery.tries} tries" if delivery.tries != 1 else "1 try"
    if not delivery.tries:
        return ""
    return f"{tried}: {delivery.error}" if delivery.error else tried
