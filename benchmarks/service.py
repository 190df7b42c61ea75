"""The service as a process: how fast health is told, how fast events spread, how long pages take.

A bare ASGI application on the same server is what health is set against. Clients and servers share
the machine, so both rates are a part of what the server could do alone.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from benchmarks.board import fill
from benchmarks.figure import Figure, at_least, at_most, micros, per_s
from benchmarks.http_load import Client, rate
from benchmarks.settings import Settings, tell
from benchmarks.worker import ROOT
from earmark.board.board import Board
from earmark.service.tokens import Tokens
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables

AREA: Final = "service"
_CONNECTIONS: Final = 8
#: Requests a second that a probe, a balancer and a page may come to together.
_WANTED: Final = 1000
#: A third of the tasks are pending: also the small board has a whole page of them.
_PAGE: Final = "/v1/tasks?limit=25&status=pending&newest=true"
_TURNS: Final = 25


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the service."""
    return [*_health(settings), *_streams(settings), *_pages(settings)]


# Health -------------------------------------------------------------------------------------------


def _health(settings: Settings) -> list[Figure]:
    tell(f"service: /health on {_CONNECTIONS} connections, against a bare ASGI application")
    url, _ = _books(settings.folder / "health.db")
    ours: list[float] = []
    bare: list[float] = []
    with _served(url) as served:
        size = len(asyncio.run(_once(served.url, "/health")))
        with _process("-m", "benchmarks.bare_asgi", str(size)) as other:
            for _ in range(settings.rounds):
                ours.append(_rate(served.url, "/health", settings))
                bare.append(_rate(other.url, "/", settings))
    told, least = statistics.median(ours), statistics.median(bare)
    return [
        Figure(
            area=AREA,
            what=f"/health, {_CONNECTIONS} connections: answers per {per_s(_WANTED)}",
            samples=tuple(each / _WANTED for each in ours),
            target=at_least(1),
            detail=f"{per_s(told)}, {size:,} bytes",
        ),
        Figure(
            area=AREA,
            what="/health / bare ASGI application",
            samples=tuple(a / b for a, b in zip(ours, bare, strict=True)),
            target=at_least(0.1),
            detail=f"{per_s(told)} / {per_s(least)}",
        ),
    ]


def _rate(url: str, path: str, settings: Settings) -> float:
    return asyncio.run(rate(url, path, _CONNECTIONS, settings.seconds))


async def _once(url: str, path: str) -> bytes:
    client = await Client.to(url)
    try:
        return await client.ask("GET", path)
    finally:
        client.close()


# Events -------------------------------------------------------------------------------------------


def _streams(settings: Settings) -> list[Figure]:
    many = settings.streams
    tell(f"service: {many} streams of events")
    url, token = _books(settings.folder / "streams.db")
    spread: list[float] = []
    with _served(url) as served:
        asyncio.run(_once(served.url, "/v1/tasks"))
        before = served.resident
        sizes = []
        for _ in range(settings.rounds):
            taken, size = asyncio.run(_spread(served, token, many))
            spread.append(taken / 1e9)
            sizes.append((size - before) / many / 1024)
    return [
        Figure(
            area=AREA,
            what=f"{many} streams: seconds until all have an event",
            samples=tuple(spread),
            target=at_most(1),
            detail=f"{micros(statistics.median(spread) * 1e9)} after the task was added",
        ),
        Figure(
            area=AREA,
            what="memory of an open stream, KiB",
            samples=(max(sizes),),
            target=at_most(200),
            detail=f"{before / 2**20:.0f} MiB without any",
        ),
    ]


async def _spread(served: "_Served", token: str, many: int) -> tuple[int, int]:
    """Return the time until all streams have an event, and the memory that they take."""
    streams = [await Client.to(served.url) for _ in range(many)]
    for each in streams:
        each.send("GET", "/v1/events")
    for each in streams:
        await each.until(b": here\n\n")
    size = served.resident
    client = await Client.to(served.url)
    body = json.dumps({"title": "measured"}).encode()
    told = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    hear = [asyncio.ensure_future(each.until(b"event: task")) for each in streams]
    await client.ask("POST", "/v1/tasks", body, **told)
    added = perf_counter_ns()
    heard = await asyncio.gather(*hear)
    for each in (*streams, client):
        each.close()
    return max(max(heard) - added, 0), size


# Pages --------------------------------------------------------------------------------------------


def _pages(settings: Settings) -> list[Figure]:
    few, many = settings.tasks
    tell(f"service: a page of tasks of {few:,} and of {many:,}")
    samples: list[float] = []
    details: list[tuple[float, float]] = []
    urls = [_board(settings.folder / f"{count}.db", count) for count in settings.tasks]
    with _served(urls[0]) as small, _served(urls[1]) as large:
        for _ in range(settings.rounds):
            times = [asyncio.run(_page_time(each.url)) for each in (small, large)]
            details.append((times[0], times[1]))
            samples.append(times[1] / times[0])
    small_ns, large_ns = (statistics.median(each) for each in zip(*details, strict=True))
    return [
        Figure(
            area=AREA,
            what=f"a page of 25 tasks: {many:,} tasks / {few:,}",
            samples=tuple(samples),
            target=at_most(1.5),
            detail=f"{micros(large_ns)} / {micros(small_ns)}",
        )
    ]


async def _page_time(url: str) -> float:
    """Return the median nanoseconds of a page."""
    client = await Client.to(url)
    times: list[int] = []
    for _ in range(_TURNS):
        began = perf_counter_ns()
        await client.ask("GET", _PAGE)
        times.append(perf_counter_ns() - began)
    client.close()
    return statistics.median(times)


# What is measured ---------------------------------------------------------------------------------


class _Served:
    """A server in a process of its own."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self._number = number

    @property
    def resident(self) -> int:
        """Bytes of memory that the process has."""
        status = Path(f"/proc/{self._number}/statm").read_text(encoding="ascii")
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _process(*arguments: str) -> Iterator[_Served]:
    """Run a Python program that says its URL once it serves."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        yield _Served(_url_said(process.stdout), process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _served(url: str) -> AbstractContextManager[_Served]:
    return _process("-m", "earmark.cli.main", "serve", "--port", "0", "--json", "--store", url)


def _url_said(lines: Iterable[str]) -> str:
    for line in lines:
        if "http://" in line:
            return "http://" + line.partition("http://")[2].strip().strip('",')
    raise RuntimeError("it did not start")


def _books(file: Path) -> tuple[str, str]:
    """Make books with a budget; return their URL and a token."""
    url = f"sqlite:///{file}"
    with open_ledger(url) as ledger:
        ledger.set_budget("c8/cloud-lu", limits=["10 usd per day", "3 calls per 30min"])
        with closing(open_tables(ledger.store)) as tables:
            _, token = Tokens(tables, ledger.clock).create("measured", ["admin"])
    return url, token


def _board(file: Path, count: int) -> str:
    url = f"sqlite:///{file}"
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        fill(Board(tables, ledger.clock), url, count)
    return url
