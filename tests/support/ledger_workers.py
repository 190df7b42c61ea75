"""Programs that real processes run in the tests under fire; started by `start` in the same file.

Each opens the books by itself, says `ready`, waits for a line on its input, works, and tells what
it did: at the end on its output, or operation by operation in a file, after each answer.
"""

import asyncio
import itertools
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from earmark.errors import BudgetExceeded, EarmarkError, Refusal
from earmark.ledger.ledger import Ledger
from earmark.ledger.values import Amounts, Extend, Operation, Presume, Release, Reserve, Settle
from earmark.stores.open import open_ledger
from support.last_resort import LAST_RESORT_S
from support.ledger_books import STORES
from support.ledger_history import Record

_TESTS: Final = str(Path(__file__).parents[1])
#: One hour in nanoseconds: longer than any of these tests.
HOUR: Final = 3600 * 10**9


#: The stores that several processes can share.
SHARED: Final = [name for name in STORES if name != "memory"]
#: A user without rights; what root may do, nobody may not.
NOBODY: Final = 65534


def start(program: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start *program* of this file in a process of its own and return once it is ready."""
    (process,) = start_all((program, *arguments))
    return process


def start_all(
    *programs: tuple[object, ...], places: Sequence[Sequence[str]] = (), file: str = __file__
) -> "list[subprocess.Popen[str]]":
    """Start several at once; each is the program's name in *file* and its arguments.

    What *places* has for a program is put before its command: where it runs.
    """
    processes = [
        subprocess.Popen(
            [*place, sys.executable, "-X", "faulthandler", file, *map(str, program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([_TESTS, *sys.path])},
        )
        for program, place in itertools.zip_longest(programs, places, fillvalue=())
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", f"{process.args} did not start"
    return processes


def go(*processes: "subprocess.Popen[str]") -> None:
    """Let *processes* begin, as nearly at once as can be."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def result(process: "subprocess.Popen[str]") -> Any:
    """Return what *process* told at its end."""
    output, _ = process.communicate(timeout=LAST_RESORT_S)
    assert process.returncode == 0, f"a worker ended with {process.returncode}"
    return json.loads(output)


def kill(*processes: "subprocess.Popen[str]") -> None:
    """End *processes* in the middle of whatever they do, by SIGKILL."""
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate()


def say_ready() -> None:
    """Tell whoever started this process that it can begin, and wait for the word to."""
    print("ready", flush=True)  # noqa: T201 - how a worker speaks
    sys.stdin.readline()


# Everybody wants one of few -----------------------------------------------------------------------


def rush_of_threads(ledger: Ledger, count: int, path: str) -> list[bool]:
    """Let *count* threads reserve 1.00 each at once; return who was admitted."""
    barrier = threading.Barrier(count)
    admitted: list[bool] = []

    def want() -> None:
        barrier.wait()
        try:
            ledger.reserve(path, "1.00")
        except BudgetExceeded:
            admitted.append(False)
        else:
            admitted.append(True)

    in_threads([want] * count)
    return admitted


async def rush_of_tasks(ledger: Ledger, count: int, path: str) -> list[bool]:
    """Let *count* tasks reserve 1.00 each at once; return who was admitted."""
    books = ledger.as_async()

    async def want() -> bool:
        try:
            await books.reserve(path, "1.00")
        except BudgetExceeded:
            return False
        return True

    return list(await asyncio.gather(*(want() for _ in range(count))))


def in_threads(works: list[Callable[[], None]]) -> None:
    """Run *works* at once; a failure of one is the test's."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def rush(url: str, kind: str, count: str, path: str) -> None:
    """Join a rush from another process."""
    with open_ledger(url) as ledger:
        say_ready()
        if kind == "threads":
            admitted = rush_of_threads(ledger, int(count), path)
        else:
            admitted = asyncio.run(rush_of_tasks(ledger, int(count), path))
        print(json.dumps(admitted))  # noqa: T201


def hopeless(url: str, path: str, amount: str) -> None:
    """Ask for what can never fit, again and again, until the input is closed."""
    asked = 0
    with open_ledger(url) as ledger:
        say_ready()
        done = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
        while not done.is_set():
            try:
                ledger.reserve(path, amount)
            except BudgetExceeded:
                asked += 1
        print(json.dumps(asked))  # noqa: T201


def race(url: str, path: str, count: str) -> None:
    """Commit *count* times, one at a time; tell the number of each commit."""
    with open_ledger(url) as ledger:
        ledger.audit()
        say_ready()
        numbers = [ledger.reserve(path, "0.01").seq for _ in range(int(count))]
        print(json.dumps(numbers))  # noqa: T201


# Everything at once -------------------------------------------------------------------------------


def operations(seed: str, path: str) -> Iterator[Operation]:
    """Yield an endless, seeded mix of operations on reservations of one's own, with repeats."""
    dice, mine, count = random.Random(seed), list[str](), 0
    while True:
        roll = dice.random()
        if roll < 0.45 or not mine:
            count += 1
            mine.append(f"{seed}.{count}")
            where = dice.choice([path, f"{path}/tight"])
            yield Reserve(mine[-1], where, Amounts(dice.randint(1, 9) * 10**8), HOUR)
            continue
        key = dice.choice(mine[-12:])
        if roll < 0.70:
            yield Settle(key, Amounts(dice.randint(0, 1) * 10**8, -1))
        elif roll < 0.85:
            yield Release(key)
        elif roll < 0.95:
            count += 1
            yield Extend(key, Amounts(dice.randint(1, 3) * 10**8, 0), f"{seed}.x{count}")
        else:
            yield Presume(key)


def churn(url: str, folder: str, seed: str, threads: str, path: str) -> None:
    """Work until killed; write each answer down, in a file per thread, after it was given."""
    ledger = open_ledger(url)

    def work(number: int) -> None:
        name = f"{seed}.{number}"
        out = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for operation in operations(name, path):
            decision = ledger.committer.submit(operation)
            answer = pickle.dumps((operation, decision))
            os.write(out, len(answer).to_bytes(4) + answer)

    say_ready()
    in_threads([lambda n=n: work(n) for n in range(int(threads))])


def read_answers(file: Path) -> list[Any]:
    """Return what was written down completely."""
    body, found, at = file.read_bytes(), list[Any](), 0
    while at + 4 <= len(body):
        size = int.from_bytes(body[at : at + 4])
        if at + 4 + size > len(body):
            break
        found.append(pickle.loads(body[at + 4 : at + 4 + size]))  # noqa: S301 - own
        at += 4 + size
    return found


def record(url: str, file: str, seed: str, workers: str, count: str, path: str) -> None:
    """Do *count* operations in each of *workers* threads and tasks; record when and what."""
    history: list[Record] = []
    ledger = open_ledger(url)

    def work(name: str) -> None:
        for _, operation in zip(range(int(count)), operations(name, path), strict=False):
            invoked = time.monotonic_ns()
            decision = ledger.committer.submit(operation)
            history.append(Record(invoked, time.monotonic_ns(), operation, decision))

    async def task(name: str) -> None:
        for _, operation in zip(range(int(count)), operations(name, path), strict=False):
            invoked = time.monotonic_ns()
            decision = await ledger.committer.submit_async(operation)
            history.append(Record(invoked, time.monotonic_ns(), operation, decision))

    async def tasks() -> None:
        await asyncio.gather(*(task(f"{seed}.a{n}") for n in range(int(workers))))

    say_ready()
    works = [lambda n=n: work(f"{seed}.t{n}") for n in range(int(workers))]
    in_threads([*works, lambda: asyncio.run(tasks())])
    ledger.close()
    Path(file).write_bytes(pickle.dumps(history))
    print(json.dumps(len(history)))  # noqa: T201


# Single steps -------------------------------------------------------------------------------------


def call(url: str, path: str, key: str) -> None:
    """Reserve, then be in the middle of a call for ever."""
    ledger = open_ledger(url)
    ledger.reserve(path, "1.00", key=key, deadline="10min")
    say_ready()
    threading.Event().wait()


def attempt(url: str) -> None:
    """As a user without rights open, reserve and read; tell the error's code and sentence."""
    # Once as oneself: what is imported late is imported now, while it may be read.
    with tempfile.TemporaryDirectory() as folder, open_ledger(f"sqlite:///{folder}/b.db") as own:
        own.set_budget("acme", limits=["1 usd per day"])
        own.audit()
    if os.getuid() == 0:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    say_ready()
    told: list[str] = []
    try:
        with open_ledger(url) as ledger:
            ledger.set_budget("acme", limits=["1 usd per day"])
            ledger.reserve("acme", "0.1")
            ledger.audit()
    except EarmarkError as error:
        told = [error.code, str(error)]
    print(json.dumps(told))  # noqa: T201


def forked(url: str) -> None:
    """Fork with open books; tell what each method says in the child, and that the parent's work."""
    say_ready()
    ledger = open_ledger(url)
    ledger.set_budget("acme", limits=["1 usd per day"])
    ledger.reserve("acme", "0.1", key="mine")
    acts: dict[str, Callable[[], object]] = {
        "reserve": lambda: ledger.reserve("acme", "0.1"),
        "settle": lambda: ledger.settle("mine", "0.1"),
        "balances": lambda: ledger.balances("acme"),
        "reservation": lambda: ledger.reservation("mine"),
        "holds": ledger.holds,
        "entries": ledger.entries,
        "alerts": ledger.alerts,
        "budgets": ledger.budgets,
        "audit": ledger.audit,
    }
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        told = {name: _told(act) for name, act in acts.items()}
        told["close"] = _told(ledger.close)
        os.write(writes, json.dumps(told).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = json.loads(os.read(reads, 100_000))
    ledger.reserve("acme", "0.1")
    told["parent"] = [str(ledger.audit().ok), str(len(ledger.holds()))]
    ledger.close()
    print(json.dumps(told))  # noqa: T201


def _told(act: Callable[[], object]) -> list[str]:
    try:
        act()
    except Refusal as error:
        return ["refused", str(error)]
    except Exception as error:  # noqa: BLE001 - whatever it is, the test reads it
        return [getattr(error, "code", type(error).__name__), str(error)]
    return ["done", ""]


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
