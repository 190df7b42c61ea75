"""Programs of the gateway's tables that run in processes of their own.

Started by `start_all(…, file=PROGRAMS)` of `ledger_workers`.
"""

import json
import sys
from contextlib import closing
from typing import Final

from earmark.clock import SystemClock
from earmark.gateway.session_budgets import SessionBudgets
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from support.ledger_workers import say_ready

PROGRAMS: Final = __file__


def take_sessions(url: str, token_id: str, prefix: str, times: str, most: str) -> None:
    """Ask for a new session budget so often; tell those that were given."""
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        sessions = SessionBudgets(tables, SystemClock())
        say_ready()
        paths = [f"{prefix}-{number}" for number in range(int(times))]
        given = [path for path in paths if sessions.add(token_id, path, int(most))]
    print(json.dumps(given))  # noqa: T201 - how a worker speaks


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
