"""Programs of the board's and the tables' tests that run in processes of their own.

Started by `start_all(…, file=PROGRAMS)` of `ledger_workers`.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final

from earmark.board.board import Board
from earmark.clock import SystemClock
from earmark.errors import EarmarkError
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Rows
from support.board_books import SECOND
from support.ledger_workers import say_ready

PROGRAMS: Final = __file__


def claim_all(url: str, agent: str) -> None:
    """Claim what there is, up to three at a time, and tell the ids in the order they came.

    After the first claim it says so, and waits for the word to go on.
    """
    clock = SystemClock()
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        board = Board(tables, clock)
        say_ready()
        mine = [task.id for task in board.claim(agent, 3, lease_ns=3600 * SECOND)]
        print("claimed", flush=True)  # noqa: T201 - how a worker speaks
        sys.stdin.readline()
        while found := board.claim(agent, 3, lease_ns=3600 * SECOND):
            mine += [task.id for task in found]
    print(json.dumps(mine))  # noqa: T201 - how a worker speaks


def claim_for_ever(url: str, agent: str, lease_s: str) -> None:
    """Claim again and again, telling the ids after each claim; only a signal ends it."""
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        board = Board(tables, SystemClock())
        say_ready()
        while True:
            found = board.claim(agent, 2, lease_ns=int(lease_s) * SECOND)
            print(json.dumps([task.id for task in found]), flush=True)  # noqa: T201
            if not found:
                threading.Event().wait()


def count_up(url: str, times: str) -> None:
    """Raise one number so often, reading and writing it in two statements."""
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        say_ready()
        for _ in range(int(times)):
            tables.write("count", raise_by_one)
    print(json.dumps(None))  # noqa: T201


def raise_by_one(rows: Rows) -> int:
    """Read the number, and write the next."""
    ((number,),) = rows.run("SELECT seq FROM {schema}.nudge_mark WHERE tree = 'n'")
    rows.run("UPDATE {schema}.nudge_mark SET seq = ? WHERE tree = 'n'", number + 1)
    return number + 1


def forked(url: str) -> None:
    """Fork with open tables; tell what each method says in the child and then in the parent."""
    say_ready()
    with open_ledger(url) as ledger:
        tables = open_tables(ledger.store)
        acts: dict[str, Callable[[], object]] = {
            "read": lambda: tables.read(lambda rows: rows.run("SELECT 1")),
            "write": lambda: tables.write("count", lambda rows: rows.run("SELECT 1")),
        }
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            told = {name: _told(act) for name, act in acts.items()}
            told["close"] = _told(tables.close)
            os.write(writes, json.dumps(told).encode())
            os._exit(0)
        os.waitpid(child, 0)
        told = {"child": json.loads(os.read(reads, 100_000))}
        told["parent"] = {name: _told(act) for name, act in acts.items()}
        tables.close()
    print(json.dumps(told))  # noqa: T201


def _told(act: Callable[[], object]) -> str:
    try:
        act()
    except EarmarkError as error:
        return str(error)
    return "done"


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
