"""The scenario that Earmark and its peers share, and what is said of a peer that is not here."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.peer_places import DURABLE, environment, redis_program, redis_server
from benchmarks.peer_scenario import AsyncCall, Call, Order, Outcome, Refused, in_tasks, in_threads
from benchmarks.peer_subjects import SUBJECTS, Subject
from benchmarks.postgres_place import Place
from benchmarks.settings import NotHereError, Settings

ORDER = Order(place="", tag="t", seconds=0.02, callers=16, limit_usd=5)


@contextmanager
def exact(_: Order, __: str, limit_usd: int) -> Generator[Call]:
    """A guard that asks and counts in one step."""
    left, lock = limit_usd, threading.Lock()

    def call(provider: Callable[[], None]) -> None:
        nonlocal left
        with lock:
            if not left:
                raise Refused
            left -= 1
        provider()

    yield call


@contextmanager
def late(_: Order, __: str, limit_usd: int) -> Generator[Call]:
    """A guard that asks before a call and counts after it."""
    left = limit_usd

    def call(provider: Callable[[], None]) -> None:
        nonlocal left
        if left <= 0:
            raise Refused
        provider()
        left -= 1

    yield call


@asynccontextmanager
async def late_in_tasks(_: Order, __: str, limit_usd: int) -> AsyncGenerator[AsyncCall]:
    """The same for tasks."""
    left = limit_usd

    async def call(provider: Callable[[], Awaitable[None]]) -> None:
        nonlocal left
        if left <= 0:
            raise Refused
        await provider()
        left -= 1

    yield call


@contextmanager
def broken(_: Order, __: str, limit_usd: int) -> Generator[Call]:
    """A guard that lets some through and fails for the others."""
    with exact(_, __, limit_usd) as guarded:

        def call(provider: Callable[[], None]) -> None:
            try:
                guarded(provider)
            except Refused:
                raise ConnectionError("no server") from None

        yield call


def test_a_guard_that_counts_in_one_step_lets_the_crowd_spend_its_limit() -> None:
    """Five of sixteen call at $5; each of the others was refused, none failed."""
    crowd = in_threads("1", ORDER, exact).crowd
    assert (crowd.spent_usd, crowd.refused, crowd.failed) == (5, 11, 0)


@pytest.mark.parametrize("style", ["threads", "tasks"])
def test_a_guard_that_counts_after_the_call_lets_the_whole_crowd_through(style: str) -> None:
    """No call ends before all are decided, so asking first and counting later spends sixteen."""
    if style == "threads":
        crowd = in_threads("1", ORDER, late).crowd
    else:
        crowd = asyncio.run(in_tasks("1", ORDER, late_in_tasks)).crowd
    assert (crowd.spent_usd, crowd.refused) == (16, 0)


def test_a_failure_is_no_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    """What a package raises beside its refusal is counted apart and told."""
    crowd = in_threads("1", ORDER, broken).crowd
    assert (crowd.spent_usd, crowd.refused, crowd.failed) == (5, 0, 11)
    assert "ConnectionError: no server" in capsys.readouterr().err


def test_only_calls_that_were_made_and_booked_count_for_the_rate() -> None:
    """A guard that refuses and fails has no rate, only failures."""
    with broken(ORDER, "", 0) as call:
        outcome = in_threads("1", ORDER, lambda *_: _same(call))
    assert outcome.alone.per_s == 0
    assert outcome.together.failed > 0


@contextmanager
def _same(call: Call) -> Generator[Call]:
    yield call


def test_earmark_is_asked_the_same_by_a_program_of_its_own(tmp_path: Path) -> None:
    """Threads and tasks, each a process of its own: of $5 exactly $5 is spent."""
    for mode in ("threads", "tasks"):
        place = f"sqlite:///{tmp_path / mode}.db"
        order = Order(mode=mode, place=place, tag="t", seconds=0.05, callers=8, limit_usd=5)
        outcome = peers.run(Path(sys.executable), "earmark", order)
        assert (outcome.crowd.spent_usd, outcome.crowd.refused) == (5, 3)
        assert outcome.alone.per_s > 0
        assert outcome.together.failed == 0


def test_a_peer_that_is_not_here_gets_a_line_that_says_why(tmp_path: Path) -> None:
    """A Python that nobody has: the reason is in the report, without a verdict."""
    subject = Subject(
        name="future, Redis", script="none", ground="files", packages=("none",),
        least=(4, 0), against="Earmark, SQLite", used="",
    )  # fmt: skip
    measured = {each.name: peers.Measured() for each in (*SUBJECTS, subject)}
    settings = Settings(folder=tmp_path)
    with peers.ExitStack() as stack:
        grounds = peers.Grounds(tmp_path, stack)
        peers.measure_once(subject, grounds, settings, 0, measured[subject.name])
    figures = list(peers.figures_of(subject, measured))
    assert "not measured: it needs Python >= 4.0" in figures[0].detail
    assert [figure.median for figure in figures] == [None, None, None]
    assert not any(figure.verdict for figure in figures)


def test_a_script_that_fails_is_not_measured() -> None:
    """A package that does not import is no zero in the table."""
    with pytest.raises(NotHereError, match="exit 1"):
        peers.run(Path(sys.executable), "earmark", Order(place="nowhere:", tag="t"))


def test_the_report_sets_each_peer_against_earmark() -> None:
    """Twice as many calls of ours per one of theirs is 2, one ratio a round."""
    measured = {each.name: peers.Measured() for each in SUBJECTS}
    tokencap = next(each for each in SUBJECTS if each.script == "tokencap")
    for name, rate in (("Earmark, SQLite, threads", 200.0), (tokencap.name, 100.0)):
        outcome = Outcome(version="1")
        outcome.alone.per_s = rate
        measured[name].outcomes = [outcome] * 3
    _, alone, together = peers.figures_of(tokencap, measured)
    assert alone.what.endswith("1 caller: calls of Earmark, SQLite per one of its")
    assert alone.samples == (2.0, 2.0, 2.0)
    assert together.samples == (), "Earmark's tasks were not measured"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the packages of peers are put; a former benchmark's are used."""
    former = peers.ROOT / "build" / "bench" / "peers"
    return former if former.exists() else tmp_path_factory.mktemp("peers")


@pytest.mark.parametrize(
    ("script", "spent"),
    [
        ("tokencap-client", 9),  # it counts half of a call until the call is over
        ("tokencap-backend", 5),
        ("deltav-", 5),
        ("escrowmint-", 5),
        ("budgetgate-", 5),
    ],
)
def test_a_peer_is_used_as_it_works(
    tmp_path: Path, installed: Path, script: str, spent: int, request: pytest.FixtureRequest
) -> None:
    """Each script drives its package: calls succeed, none fails, and a crowd gets an answer."""
    if not os.environ.get("EARMARK_TEST_INDEX"):
        pytest.skip("it installs packages from the index: make neighbours")
    subject = next(each for each in SUBJECTS if f"{each.script}-{each.mode}" == script)
    try:
        python = environment(installed / subject.script, subject.packages, subject.least)
        with ground(subject, tmp_path, installed, request) as place:
            outcome = peers.run(python, subject.script, tiny(subject, place))
    except NotHereError as reason:
        pytest.skip(str(reason))
    assert (outcome.crowd.spent_usd, outcome.crowd.failed) == (spent, 0)
    assert outcome.alone.per_s > 0
    assert outcome.together.per_s > 0
    assert outcome.version == subject.packages[0].partition("==")[2]


@contextmanager
def ground(
    subject: Subject, folder: Path, installed: Path, request: pytest.FixtureRequest
) -> Generator[str]:
    """Yield where *subject* keeps its books."""
    if subject.ground == "files":
        yield str(folder)
    elif subject.ground == "postgres":
        place = Place(request.getfixturevalue("postgres"))
        yield place.fresh_conninfo()
        place.clean()
    else:
        with redis_server(redis_program(installed), folder, DURABLE) as url:
            yield url


def tiny(subject: Subject, place: str) -> Order:
    """Return an order that takes a moment; of few callers, as deltav gives up in a crowd."""
    callers = 6 if subject.script == "deltav" else 16
    return Order(
        mode=subject.mode, place=place, tag="tiny", seconds=0.1, callers=callers, limit_usd=5
    )
