"""How long pages take where many tasks, runs and nudges have piled up, and where few have.

Each page is asked for in turns of two servers, one on a board of many tasks and one on a board of
few; what else stands in their stores: `benchmarks.fill_board`.
"""

import asyncio
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Final
from urllib.parse import quote

from benchmarks.figure import Figure, Target, at_most, micros
from benchmarks.fill_board import ACCEPTED, COMMON, RARE, WORD, fill
from benchmarks.http_load import Client
from benchmarks.load import LEAF
from benchmarks.postgres_place import postgres
from benchmarks.served import served
from benchmarks.settings import NotHereError, Settings, tell

_AS_QUICK: Final = at_most(1.5)

#: Addresses, and how much slower each may be. Both boards fill a page of each.
_ASKED: Final[dict[str, tuple[str, Target | None]]] = {
    "25 tasks as JSON": ("/v1/tasks?limit=25&status=pending&newest=true", _AS_QUICK),
    "the board": ("/", _AS_QUICK),
    "the board, accepted tasks": ("/?status=accepted", _AS_QUICK),
    "the board by urgency": ("/?order=priority&status=pending", _AS_QUICK),
    "the board, a label that all have": (f"/?label={COMMON}", _AS_QUICK),
    "the board, a label of the first 20": (f"/?label={RARE}", _AS_QUICK),
    "the board, a word of the first 20": (f"/?text={WORD}", None),
    "a task": (f"/tasks/{ACCEPTED}", _AS_QUICK),
    # Three of them: those of the runs, one for each tenth task, are passed over one by one.
    "the budgets": ("/budgets", None),
    "the budgets, those of runs too": ("/budgets?runs=all", _AS_QUICK),
    # It draws each entry of the window, to 5,000 of them.
    "a budget": (f"/budgets/{quote(LEAF)}", None),
    "the runs": ("/runs", _AS_QUICK),
    "the nudges": ("/nudges", _AS_QUICK),
}
_Times = dict[str, list[tuple[float, float]]]


def pages(area: str, settings: Settings) -> list[Figure]:
    """Return how much slower each page is where much has piled up, on each durable store."""
    files = [f"sqlite:///{settings.folder / name}.db" for name in ("few", "many")]
    figures = _store(area, "SQLite", files, settings)
    if "PostgreSQL" not in settings.stores:
        return figures
    with ExitStack() as stack:
        try:
            place = stack.enter_context(postgres())
        except NotHereError as reason:
            why = f"not measured: {reason}"
            return [*figures, *(_missing(area, what, why, settings) for what in _ASKED)]
        schemas = [place.fresh(), place.fresh()]
        return [*figures, *_store(area, "PostgreSQL", schemas, settings, place.flush)]


def _store(
    area: str,
    name: str,
    urls: list[str],
    settings: Settings,
    settle: Callable[[], None] = lambda: None,
) -> list[Figure]:
    few, many = settings.tasks
    tell(f"{area}: filling {name} boards of {few:,} and {many:,} tasks")
    for url, tasks in zip(urls, settings.tasks, strict=True):
        fill(url, tasks)
    settle()
    times: _Times = {what: [] for what in _ASKED}
    with served(urls[0]) as small, served(urls[1]) as large:
        for number in range(settings.rounds):
            tell(f"{area}: pages on {name}: round {number + 1} of {settings.rounds}")
            asyncio.run(_round((small.url, large.url), times, settings.turns))
    return [_figure(area, name, what, times[what], settings) for what in _ASKED]


async def _round(urls: tuple[str, str], times: _Times, turns: int) -> None:
    clients = [await Client.to(url) for url in urls]
    for what, (address, _) in _ASKED.items():
        taken: tuple[list[int], list[int]] = ([], [])
        for turn in range(-1, turns):
            # Now one first, now the other; the first turn of all only warms up.
            for which in (0, 1) if turn % 2 else (1, 0):
                began = perf_counter_ns()
                await clients[which].ask("GET", address)
                taken[which].append(perf_counter_ns() - began)
        few, many = (statistics.median(each[1:]) for each in taken)
        times[what].append((few, many))
    for client in clients:
        client.close()


def _figure(
    area: str, store: str, what: str, times: list[tuple[float, float]], settings: Settings
) -> Figure:
    few, many = (statistics.median(each) for each in zip(*times, strict=True))
    return Figure(
        area=area,
        what=_what(store, what, settings),
        samples=tuple(many / few for few, many in times),
        target=_ASKED[what][1],
        detail=f"{micros(many)} / {micros(few)}",
    )


def _missing(area: str, what: str, why: str, settings: Settings) -> Figure:
    what, target = _what("PostgreSQL", what, settings), _ASKED[what][1]
    return Figure(area=area, what=what, samples=(), target=target, detail=why)


def _what(store: str, what: str, settings: Settings) -> str:
    few, many = settings.tasks
    return f"{store}: page: {what}: {many:,} tasks / {few:,}"
