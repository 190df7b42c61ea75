"""Clients that work on through everything that is done to them and to the store.

Each thread of theirs writes down what it asks before it asks, and what it was told when it was, so
that a client that is killed leaves all that a history needs. Asked for what may or may not have
been done, a client does as the error says: it asks again with the same key.
"""

import itertools
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from earmark.errors import StoreUnavailable
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import (
    Amounts,
    Decision,
    Extend,
    Operation,
    Presume,
    Refused,
    Release,
    Reserve,
    Settle,
)
from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S, until
from support.ledger_history import NEVER, Record, counts
from support.ledger_workers import HOUR, go, in_threads, result, say_ready, start_all

#: Where `start_all` finds the programs of this file.
PROGRAMS: Final = __file__
#: Reservations that one thread keeps open.
MOST_OPEN: Final = 8


def steady(
    seed: str, trees: Sequence[str], left: Sequence[str] = ()
) -> Generator[Operation, Decision]:
    """Yield an endless, seeded mix of operations that never leaves much open nor spends much.

    It is sent what became of each; reservations that somebody *left* open are its own.
    """
    dice, mine, count = random.Random(seed), list(left), 0
    while True:
        count += 1
        if len(mine) < dice.randint(1, MOST_OPEN):
            key, where = f"{seed}.{count}", dice.choice(trees) + dice.choice(["", "/tight"])
            told = yield Reserve(key, where, Amounts(dice.randint(1, 9) * 10**8), HOUR)
            mine += [] if isinstance(told, Refused) else [key]
            continue
        key, roll = dice.choice(mine), dice.random()
        if roll < 0.3:
            yield Extend(key, Amounts(dice.randint(1, 3) * 10**8, 0), f"{seed}.x{count}")
            continue
        mine.remove(key)
        closing = Settle(key, Amounts(dice.randint(0, 1000), -1)) if roll < 0.8 else Release(key)
        yield Presume(key) if roll > 0.95 else closing
        if roll > 0.9:
            # What was presumed spent is known now; or a client that is not sure asks again.
            yield closing


def left_open(files: Iterable[Path]) -> list[str]:
    """Return what clients that were killed, one after the other, may have left open."""
    opened = dict[str, None]()
    for record in itertools.chain.from_iterable(map(_records, files)):
        operation = record.operation
        if isinstance(operation, Reserve):
            opened[operation.key] = None
        elif isinstance(operation, Settle | Release) and record.decision is not None:
            opened.pop(operation.key, None)
    return list(opened)


def endure(
    url: str, folder: str, name: str, after: str, trees: str, threads: str, pace_s: str
) -> None:
    """Work until the input ends, then tell how often the store could not be had.

    It comes *after* clients that were killed, if any, and goes on with what they left.
    """
    done, lost = threading.Event(), Counter[str]()
    _be_patient()
    ledger = _opened(url)

    def work(number: int) -> None:
        out = os.open(f"{folder}/{name}.{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        left = left_open(Path(f"{folder}/{each}.{number}") for each in after.split())
        operations = steady(f"{name}.{number}", trees.split(","), left)
        operation = next(operations)
        while not done.wait(float(pace_s)):
            while isinstance(told := _asked(ledger, operation, out), str):
                if not lost[told]:
                    print(f"{name}: {told}", file=sys.stderr, flush=True)  # noqa: T201
                lost[told] += 1
            operation = operations.send(told)

    say_ready()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    in_threads([lambda n=n: work(n) for n in range(int(threads))])
    ledger.close()
    print(json.dumps(lost.total()))  # noqa: T201 - how a worker speaks


def _asked(ledger: Ledger, operation: Operation, out: int) -> Decision | str:
    """Ask for *operation* once and write down what came of it; return that, or why nobody knows."""
    _write(out, (time.monotonic_ns(), operation))
    try:
        decision = ledger.committer.submit(operation)
    except StoreUnavailable as error:
        _write(out, (NEVER, None))
        return str(error)
    _write(out, (time.monotonic_ns(), decision))
    return decision


def _be_patient() -> None:
    """Have the store try again for as long as a server may need to start on a busy machine."""
    from earmark.stores import postgres_link

    pauses = postgres_link.PAUSES_S
    tries = round(LAST_RESORT_S / pauses[-1])
    vars(postgres_link)["PAUSES_S"] = (*pauses, *pauses[-1:] * tries)


def _opened(url: str) -> Ledger:
    pause = threading.Event()
    for _ in range(6000):
        try:
            return open_ledger(url)
        except StoreUnavailable:
            pause.wait(0.1)
    return open_ledger(url)


def _write(out: int, what: object) -> None:
    body = pickle.dumps(what)
    os.write(out, len(body).to_bytes(4) + body)


def _records(file: Path) -> Iterator[Record]:
    asked: tuple[int, Operation] | None = None
    for instant, what in _read(file):
        if asked is None:
            asked = instant, what
        else:
            yield Record(asked[0], instant, asked[1], what)
            asked = None
    if asked is not None:
        yield Record(asked[0], NEVER, asked[1], None)


def _read(file: Path) -> Iterator[Any]:
    # A client that was killed early wrote nothing.
    body, at = file.read_bytes() if file.exists() else b"", 0
    while at + 4 <= len(body):
        size = int.from_bytes(body[at : at + 4])
        if at + 4 + size > len(body):
            return
        yield pickle.loads(body[at + 4 : at + 4 + size])  # noqa: S301 - own
        at += 4 + size


def hold_lock(url: str, tree: str) -> None:
    """Lock a tree's row as the store does, in a transaction of the store's own, and stay so."""
    from earmark.stores.postgres_link import Link
    from earmark.stores.postgres_session import transaction
    from earmark.stores.postgres_url import PostgresUrl

    parsed = PostgresUrl.parse(url)
    connection = Link(parsed).connection
    with transaction(connection):
        statement = f"SELECT pg_backend_pid() FROM {parsed.schema}.tree WHERE name = %s FOR UPDATE"  # noqa: S608
        (pid,) = connection.execute(statement.encode(), (tree,)).fetchall()[0]
        say_ready()
        print(pid, flush=True)  # noqa: T201 - how a worker speaks
        sys.stdin.read()


class Clients:
    """Client processes that can be killed, stopped and replaced; none outlives the block.

    Args:
        urls: Where they open the books; the first client has the first, and so on around.
        folder: Where they write down what they ask and are told.
        trees: The trees of budgets that they work on.
        threads: How many ask at once in each of them.
        pace_s: How long each thread waits after an answer.
    """

    def __init__(
        self,
        urls: list[str],
        folder: Path,
        *,
        trees: tuple[str, ...] = ("acme",),
        threads: int = 3,
        pace_s: float = 0.0,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._urls = urls
        self._threads = threads
        self._rest = (",".join(trees), threads, pace_s)
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._before: dict[str, str] = {}
        """Of each client, whom it came after, and its own name."""
        self._count = 0

    def start(
        self, count: int = 1, places: Sequence[Sequence[str]] = (), *, after: str = ""
    ) -> None:
        """Start *count* more; one that comes *after* others goes on with what they left."""
        numbers = range(self._count, self._count + count)
        self._count += count
        urls = [self._urls[number % len(self._urls)] for number in numbers]
        started = start_all(
            *(
                ("endure", url, self._folder, f"c{number}", after, *self._rest)
                for number, url in zip(numbers, urls, strict=True)
            ),
            places=places,
            file=PROGRAMS,
        )
        self._before |= {f"c{n}": f"{after} c{n}".strip() for n in numbers}
        self._running |= {f"c{n}": each for n, each in zip(numbers, started, strict=True)}
        go(*started)

    def one(self, dice: random.Random) -> "subprocess.Popen[str]":
        """Return any of those that run."""
        return self._running[dice.choice(sorted(self._running))]

    def kill(self, dice: random.Random) -> None:
        """Kill any of them by SIGKILL and start another in its place."""
        name = dice.choice(sorted(self._running))
        process = self._running.pop(name)
        process.kill()
        process.communicate()
        self.start(after=self._before[name])

    @property
    def history(self) -> list[Record]:
        """What all of them asked and were told, those that were killed too."""
        files = sorted(self._folder.iterdir())
        return [record for file in files for record in _records(file)]

    @staticmethod
    def rest(seconds: float) -> None:
        """Let them work for so long."""
        threading.Event().wait(seconds)

    def until_answered(self, since: int, threads: Sequence[str] | None = None) -> None:
        """Return once each thread that runs, or each of *threads*, was answered after *since*."""
        for name in self.threads() if threads is None else threads:
            until(lambda name=name: self.answered(name, since), every_s=0.05)

    def until_accepted(self, count: int) -> None:
        """Return once so many operations of all clients have been accepted."""
        until(lambda: counts(self.history)["Accepted"] >= count, every_s=0.2)

    def answered(self, thread: str, since: int) -> bool:
        """Return whether *thread* was answered after *since*."""
        return self.answers(thread, since) > 0

    def answers(self, thread: str, since: int) -> int:
        """Return how often *thread* was answered after *since*."""
        records = _records(self._folder / thread)
        return sum(since < record.answered < NEVER for record in records)

    def threads(self, *names: str) -> list[str]:
        """Return the names of the threads of these clients, or of all that run."""
        return [
            f"{name}.{number}" for name in names or self._running for number in range(self._threads)
        ]

    def finish(self) -> int:
        """Let them end what they are at; return how often they were told that nobody knows."""
        for process in self._running.values():
            assert process.stdin is not None
            process.stdin.close()
        # Not `communicate`, which would write to the closed input.
        for process in self._running.values():
            process.stdin = None
        return sum(int(_result(process)) for process in self._running.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._running.values():
            process.kill()
            process.communicate()


def _result(process: "subprocess.Popen[str]") -> Any:
    try:
        return result(process)
    except subprocess.TimeoutExpired:
        # Its last words are where each of its threads hangs.
        process.send_signal(signal.SIGABRT)
        process.wait()
        raise


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
