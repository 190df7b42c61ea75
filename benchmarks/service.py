"""The service as a process: how fast health is told, how fast events spread, how long pages take.

A bare ASGI application on the same server is what health is set against. Clients and servers share
the machine, so both rates are a part of what the server could do alone.
"""

import asyncio
import json
import statistics
from contextlib import closing
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from benchmarks.figure import Figure, at_least, at_most, micros, per_s
from benchmarks.http_load import Client, rate
from benchmarks.pages import pages
from benchmarks.served import Served, process, served
from benchmarks.settings import Settings, tell
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.tokens import Tokens

AREA: Final = "service"
_CONNECTIONS: Final = 8
#: Requests a second that a probe, a balancer and a page may come to together.
_WANTED: Final = 1000


def measure(settings: Settings) -> list[Figure]:
    """Return the figures of the service."""
    return [*_health(settings), *_streams(settings), *pages(AREA, settings)]


# Health -------------------------------------------------------------------------------------------


def _health(settings: Settings) -> list[Figure]:
    tell(f"service: /health on {_CONNECTIONS} connections, against a bare ASGI application")
    url, _ = _books(settings.folder / "health.db")
    ours: list[float] = []
    bare: list[float] = []
    with served(url) as server:
        size = len(asyncio.run(_once(server.url, "/health")))
        with process("-m", "benchmarks.bare_asgi", str(size)) as other:
            for _ in range(settings.rounds):
                ours.append(_rate(server.url, "/health", settings))
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
    with served(url) as server:
        asyncio.run(_once(server.url, "/v1/tasks"))
        before = server.resident
        sizes: list[float] = []
        for _ in range(settings.rounds):
            taken, size = asyncio.run(_spread(server, token, many))
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


async def _spread(server: Served, token: str, many: int) -> tuple[int, int]:
    """Return the time until all streams have an event, and the memory that they take."""
    streams = [await Client.to(server.url) for _ in range(many)]
    for each in streams:
        each.send("GET", "/v1/events")
    for each in streams:
        await each.until(b": here\n\n")
    size = server.resident
    client = await Client.to(server.url)
    body = json.dumps({"title": "measured"}).encode()
    told = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    hear = [asyncio.ensure_future(each.until(b"event: task")) for each in streams]
    await client.ask("POST", "/v1/tasks", body, **told)
    added = perf_counter_ns()
    heard = await asyncio.gather(*hear)
    for each in (*streams, client):
        each.close()
    return max(max(heard) - added, 0), size


# What is measured ---------------------------------------------------------------------------------


def _books(file: Path) -> tuple[str, str]:
    """Make books with a budget; return their URL and a token."""
    url = f"sqlite:///{file}"
    with open_ledger(url) as ledger:
        ledger.set_budget("c8/cloud-lu", limits=["10 usd per day", "3 calls per 30min"])
        with closing(open_tables(ledger.store)) as tables:
            _, token = Tokens(tables, ledger.clock).create("measured", ["admin"])
    return url, token
