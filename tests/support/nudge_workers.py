"""Programs about nudges that real processes run; started by `ledger_workers.start_all`."""

import asyncio
import json
import sys
from typing import Final

from earmark.errors import BudgetExceeded
from earmark.nudges.channels.webhook import WebhookChannel
from earmark.nudges.courier import Courier
from support.ledger_workers import say_ready
from support.nudge_books import Outbox, open_outbox
from support.webhook_receiver import SECRET

#: This file, for `start_all`.
PROGRAMS: Final = __file__


def spend_and_collect(url: str, path: str, usd: str) -> None:
    """Spend *usd* again and again until it is exhausted, collect after each; tell how many."""
    from earmark.clock import SystemClock

    with open_outbox(url, SystemClock()) as outbox:
        say_ready()
        print(json.dumps(_spend(outbox, path, usd)))  # noqa: T201 - how a worker speaks


def _spend(outbox: Outbox, path: str, usd: str) -> int:
    raised = 0
    while True:
        try:
            outbox.spend(path, usd)
        except BudgetExceeded:
            return raised + outbox.collect("hook")
        raised += outbox.collect("hook")


def deliver(url: str, address: str) -> None:
    """Deliver what is due to the webhook at *address*, once."""
    from earmark.clock import SystemClock

    clock = SystemClock()
    with open_outbox(url, clock) as outbox:
        hook = WebhookChannel("hook", address, SECRET, clock=clock)
        say_ready()
        asyncio.run(Courier(outbox.nudges, {"hook": hook}, clock).deliver_due())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
