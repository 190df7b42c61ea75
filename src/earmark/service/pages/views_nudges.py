"""Alerts and nudges as the pages show them: what happened, whom it reached, who has seen it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from earmark.budget.limit import describe_limit, show_amount
from earmark.budget.share import threshold_percent
from earmark.ledger.values import Alert
from earmark.nudges.nudges import Delivery, Nudge

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
class NudgesPage:
    """The page of nudges."""

    alerts: Sequence[Alert]
    """The latest in the books, the newest first, whether or not anybody was nudged."""
    nudges: Sequence[Nudge]
    deliveries: Mapping[str, Sequence[Delivery]]
    """By the nudge's id."""
    open_only: bool
    next_page: str
    first_page: str

    @property
    def summary(self) -> str:
        """The latest one, or that there is none."""
        return self.nudges[0].title if self.nudges else "No nudges"


def nudges_page(
    found: Sequence[Nudge],
    deliveries: Mapping[str, Sequence[Delivery]],
    alerts: Sequence[Alert],
    *,
    open_only: bool,
    after: int,
) -> NudgesPage:
    """Return the page; *found* holds one nudge more than fits where there is another page."""
    page, base = found[:MOST], "/nudges?show=open" if open_only else "/nudges?show=all"
    return NudgesPage(
        alerts=alerts[::-1],
        nudges=page,
        deliveries=deliveries,
        open_only=open_only,
        next_page=f"{base}&after={page[-1].number}" if len(found) > MOST else "",
        first_page=base if after else "",
    )


def mark_of_nudge(nudge: Nudge) -> str:
    """Return the class of the chip that says its kind."""
    return _MARKS.get(nudge.kind, "pending")


def state_of_delivery(delivery: Delivery) -> tuple[str, str]:
    """Return how far it is, in a word, and its chip's class."""
    return _WORDS.get(delivery.state, delivery.state), _DELIVERED[delivery.state]


def attempts_of_delivery(delivery: Delivery) -> str:
    """Return how often it was tried, and why the last try failed; empty before the first."""
    tried = f"{delivery.tries} tries" if delivery.tries != 1 else "1 try"
    if not delivery.tries:
        return ""
    return f"{tried}: {delivery.error}" if delivery.error else tried


def alert_texts(alert: Alert) -> tuple[str, str, str]:
    """Return the share that was crossed, the limit, and what was settled then."""
    limit = describe_limit(show_amount(alert.unit, alert.limit), alert.unit, alert.window)
    settled = f"{show_amount(alert.unit, alert.settled)} {alert.unit}"
    return f"{threshold_percent(alert.threshold)} %", limit, settled
