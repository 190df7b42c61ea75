"""Whether the board slows down as tasks pile up on it, on each durable store.

The large board is made by the database itself from tasks that were added: a third each is pending,
accepted and cancelled, as on a board that has been in use.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from time import perf_counter_ns
from typing import Final

import psycopg

from benchmarks.figure import Figure, Target, at_most, micros
from benchmarks.postgres_place import postgres
from benchmarks.settings import NotHereError, Settings, tell
from earmark.board.board import Board
from earmark.board.listing import Wanted
from earmark.board.task import Draft, Status
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.postgres_url import PostgresUrl
from earmark.stores.tables import Rows
from earmark.stores.upkeep import TABLES

AREA: Final = "board"
_AGENT: Final = "Cloud Lu"
_LEASE_NS: Final = 3600 * 10**9
_CLAIMED: Final = 3
_PAGE: Final = 50
#: So often each operation is timed in a round; the median counts.
_TURNS: Final = 15

#: What is asked of each board, and how much slower the large one may be.
_ASKED: Final[dict[str, tuple[Callable[[Board, int], object], Target | None]]] = {
    f"claim {_CLAIMED}": (lambda board, _: _claim(board), at_most(1.5)),
    f"list {_PAGE}": (
        lambda board, tasks: board.find(Wanted(most=_PAGE, after=tasks // 2)),
        at_most(1.5),
    ),
    f"list {_PAGE} pending and accepted, newest first": (
        lambda board, _: board.find(
            Wanted(
                status=frozenset({Status.PENDING, Status.ACCEPTED}), most=_PAGE, newest_first=True
            )
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
        boards = [stack.enter_context(_board(url)) for url in urls]
        for board, url, tasks in zip(boards, urls, settings.tasks, strict=True):
            fill(board, url, tasks)
        settle()
        times = {what: [(0.0, 0.0)] * 0 for what in _ASKED}
        for number in range(settings.rounds):
            tell(f"board: {name}: round {number + 1} of {settings.rounds}")
            for what in _ASKED:
                times[what].append(_round(boards, settings.tasks, what))
    return [_figure(name, what, times[what], settings) for what in _ASKED]


def _round(boards: list[Board], tasks: tuple[int, int], what: str) -> tuple[float, float]:
    """Return the median times on the two boards, asked in turns."""
    ask, _ = _ASKED[what]
    taken: tuple[list[int], list[int]] = ([], [])
    for turn in range(_TURNS):
        # Now one first, now the other: a disk that slows down does so for both.
        for which in (0, 1) if turn % 2 else (1, 0):
            began = perf_counter_ns()
            ask(boards[which], tasks[which])
            taken[which].append(perf_counter_ns() - began)
            _give_back(boards[which])
    few, many = (statistics.median(each) for each in taken)
    return few, many


def _claim(board: Board) -> None:
    assert len(board.claim(_AGENT, _CLAIMED, lease_ns=_LEASE_NS)) == _CLAIMED


def _give_back(board: Board) -> None:
    for task in board.find(Wanted(status=frozenset({Status.CLAIMED}))):
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


# A board of many tasks ----------------------------------------------------------------------------

#: One task is added; its row and its event are then copied under other ids and numbers.
_SERIES: Final = (
    "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n)"
)
_TASKS: Final = {
    "id": "'00000000-0000-7000-8000-' || (100000000000 + i)",
    "number": "number + i",
    "title": "title || i",
    "status": "CASE i - i / 3 * 3 WHEN 0 THEN status WHEN 1 THEN 'accepted' ELSE 'cancelled' END",
}
_EVENTS: Final = {
    "number": "number + i",
    "task_id": _TASKS["id"],
    "operation": "'filled/' || i",
}


def fill(board: Board, url: str, tasks: int) -> None:
    """Make *tasks* tasks on an empty board."""
    first = board.add(Draft(title="task ", description="# What to do\n" * 40), actor="benchmark")
    with open_ledger(url) as ledger, closing(open_tables(ledger.store)) as tables:
        if tasks > 1:
            tables.write("board", lambda rows: _copy(rows, first.id, tasks - 1))
    if not url.startswith("sqlite:"):
        place = PostgresUrl.parse(url)
        with psycopg.connect(place.conninfo, autocommit=True) as database:
            # As autovacuum leaves tables that were filled in months.
            for table in ("task", "task_event"):
                database.execute(f'VACUUM ANALYZE "{place.schema}".{table}'.encode())


def _copy(rows: Rows, first: str, copies: int) -> None:
    for table, id_, instead in (("task", "id", _TASKS), ("task_event", "task_id", _EVENTS)):
        columns = [name.strip() for name in TABLES[table].split(",")]
        chosen = ", ".join(instead.get(name, name) for name in columns)
        rows.run(
            f"INSERT INTO {{schema}}.{table} ({TABLES[table]}) SELECT {chosen}"  # noqa: S608 - own
            f" FROM {_SERIES} AS series, {{schema}}.{table} WHERE {id_} = ?",
            *(copies, first),
        )
