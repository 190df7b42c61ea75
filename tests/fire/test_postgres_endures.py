"""Clients and server are killed, stopped and cut off, again and again: one order explains it all.

Each blow is struck once; `EARMARK_FIRE_SECONDS=600` goes on for so long; `EARMARK_TEST_SEED`
repeats a trial.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.stores.open import open_ledger
from support.fire_nemesis import Nemesis
from support.last_resort import LAST_RESORT_S
from support.ledger_clients import Clients
from support.ledger_history import check_history, counts
from support.postgres_server import PostgresServer
from support.tcp_proxy import TcpProxy, cut_by_chance

SECONDS = float(os.environ.get("EARMARK_FIRE_SECONDS", "0"))
#: What is stopped or cut off comes back within this time; a lock's holder gets five seconds.
LONGEST_S = 0.7 if SECONDS < 60 else 8.0
BETWEEN_S = 0.6 if SECONDS < 60 else 3.0
#: A long trial asks less at a time, so that its history fits into memory.
PACE_S = 0.0 if SECONDS < 60 else 0.02


@pytest.fixture
def dice() -> random.Random:
    """Dice whose seed is told when the test fails."""
    seed = int(os.environ.get("EARMARK_TEST_SEED", random.randrange(1 << 32)))
    print(f"EARMARK_TEST_SEED={seed}")  # noqa: T201 - pytest shows it when this fails
    return random.Random(seed)


@pytest.fixture
def proxy(doomed_postgres: PostgresServer) -> Iterator[TcpProxy]:
    """A line to the server that can be cut and frozen."""
    with TcpProxy(("127.0.0.1", doomed_postgres.port)) as made:
        yield made


@pytest.mark.timeout(2 * LAST_RESORT_S + 3 * SECONDS)
def test_nothing_acknowledged_is_lost_whatever_dies(
    doomed_postgres: PostgresServer, proxy: TcpProxy, dice: random.Random, tmp_path: Path
) -> None:
    """Whatever dies: no answer is lost or doubled, no limit passed, and all go on by themselves."""
    url = doomed_postgres.url(schema="endures")
    with open_ledger(url) as ledger:
        ledger.set_budget("acme", limits=["20 usd total"])
        ledger.set_budget("acme/tight", limits=["6 usd total"])
    clients = Clients([url, proxy.via(url)], tmp_path / "history", pace_s=PACE_S)
    nemesis = Nemesis(doomed_postgres, proxy, clients, dice, LONGEST_S)
    with clients:
        clients.start(4)
        proxy.judge = cut_by_chance(dice, one_in=200)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until or len(nemesis.done) < len(nemesis.blows):
            nemesis.pause(0, BETWEEN_S)
            nemesis.strike()
        proxy.judge = None
        clients.until_accepted(50)
        clients.until_answered(time.monotonic_ns())
        unknown = clients.finish()
    history = clients.history
    with open_ledger(url) as ledger:
        check_history(ledger, history)
    report = {"blows": nemesis.done, "cuts": proxy.cuts, "asked": counts(history), "lost": unknown}
    print(json.dumps(report, indent=1))  # noqa: T201 - for `pytest -s`
