"""Whether the board slows down as tasks pile up on it, on each durable store.

What is put on it: `benchmarks.fill_board`.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from time import perf_counter_ns
from typing import Final

from benchmarks.figure import Figure, Target, at_most, micros
from benchmarks.fill_board import COMMON, RARE, WORD, fill
from benchmarks.postgres_place import postgres
from benchmarks.settings import NotHereError, Settings, tell
from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.task import TaskDraft, TaskStatus
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables

AREA: Final = "board"
_AGENT: Final = "Cloud Lu"
_LEASE_NS: Final = 3600 * 10**9
_CLAIMED: Final = 3
_PAGE: Final = 50

#: What is asked of each board, and how much slower the large one may be.
_ASKED: Final[dict[str, tuple[Callable[[Board, int], object], Target | None]]] = {
    f"claim {_CLAIMED}": (lambda board, _: _claim(board), at_most(1.5)),
    f"list {_PAGE}": (
        lambda board, tasks: board.find(TaskFilter(most=_PAGE, after=tasks // 2)),
        at_most(1.5),
    ),
    f"list {_PAGE} pending and accepted, newest first": (
        lambda board, _: board.find(
            TaskFilter(
                status=frozenset({TaskStatus.PENDING, TaskStatus.ACCEPTED}),
                most=_PAGE,
                newest_first=True,
            )
        ),
        at_most(1.5),
    ),
    f"list {_PAGE} with a label that all have": (
        lambda board, _: board.find(TaskFilter(label=COMMON, most=_PAGE, newest_first=True)),
        at_most(1.5),
    ),
    "list the first 20, by a label that no other has": (
        lambda board, _: board.find(TaskFilter(label=RARE, most=_PAGE, newest_first=True)),
        at_most(1.5),
    ),
    "list the first 20, by a word that no other has": (
        lambda board, _: board.find(TaskFilter(text=WORD, most=_PAGE, newest_first=True)),
        None,
    ),
    "add 1 with 2 labels": (
        lambda board, _: board.add(
            TaskDraft(title="one more", labels=(COMMON, "new")), actor="benchmark"
        ),
        at_most(1.5),
    ),
    "expired": (lambda board, _: board.expired(), None),
    "counts": (lambda board, _: board.counts(), None),
}


def measure(settings: Settings) -> list[Figure]:
    """Return how much slower an operation is on a board of many tasks than on one of few."""
    files = [f"sqlite:///{settings.folder / name}.db" for name in ("few", "many")]
    figures = _store("SQLite", files, settings)
    with ExitStack() as stack:
        try:
            place = stack.enter_context(postgres())
        except NotHereError as reason:
            return [*figures, *_missing("PostgreSQL", settings, str(reason))]
        schemas = [place.fresh(), place.fresh()]
        return [*figures, *_store("PostgreSQL", schemas, settings, place.flush)]


def _store(
    name: str, urls: list[str], settings: Settings, settle: Callable[[], None] = lambda: None
) -> list[Figure]:
    few, many = settings.tasks
    tell(f"board: filling {name} boards of {few:,} and {many:,} tasks")
    with ExitStack() as stack:
        for url, tasks in zip(urls, settings.tasks, strict=True):
            fill(url, tasks)
        boards = [stack.enter_context(_board(url)) for url in urls]
        settle()
        times = {what: [(0.0, 0.0)] * 0 for what in _ASKED}
        for number in range(settings.rounds):
            tell(f"board: {name}: round {number + 1} of {settings.rounds}")
            for what in _ASKED:
                times[what].append(_round(boards, settings, what))
    return [_figure(name, what, times[what], settings) for what in _ASKED]


def _round(boards: list[Board], settings: Settings, what: str) -> tuple[float, float]:
    """Return the median times on the two boards, asked in turns."""
    ask, _ = _ASKED[what]
    taken: tuple[list[int], list[int]] = ([], [])
    for turn in range(settings.turns):
        # Now one first, now the other: a disk that slows down does so for both.
        for which in (0, 1) if turn % 2 else (1, 0):
            began = perf_counter_ns()
            ask(boards[which], settings.tasks[which])
            taken[which].append(perf_counter_ns() - began)
            _give_back(boards[which])
    few, many = (statistics.median(each) for each in taken)
    return few, many


def _claim(board: Board) -> None:
    assert len(board.claim(_AGENT, _CLAIMED, lease_ns=_LEASE_NS)) == _CLAIMED


def _give_back(board: Board) -> None:
    for task in board.find(TaskFilter(status=frozenset({TaskStatus.CLAIMED}))):
        board.park(task.id, _AGENT, "measured")


@contextmanager
def _board(url: str) -> Iterator[Board]:
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        yield Board(tables, ledger.clock)


def _figure(store: str, what: str, times: list[tuple[float, float]], settings: Settings) -> Figure:
    few, many = (statistics.median(each) for each in zip(*times, strict=True))
    return Figure(
        area=AREA,
        what=_what(store, what, settings),
        samples=tuple(many / few for few, many in times),
        target=_ASKED[what][1],
        detail=f"{micros(many)} / {micros(few)}",
    )


def _missing(store: str, settings: Settings, reason: str) -> list[Figure]:
    return [
        Figure(
            area=AREA,
            what=_what(store, what, settings),
            samples=(),
            target=target,
            detail=f"not measured: {reason}",
        )
        for what, (_, target) in _ASKED.items()
    ]


def _what(store: str, what: str, settings: Settings) -> str:
    few, many = settings.tasks
    return f"{store}: {what}: {many:,} tasks / {few:,}"
