"""Each benchmark, run for a moment: it measures what it says and leaves nothing behind."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from benchmarks import (
    board,
    bounds,
    growth,
    heartbeat,
    ledger,
    memory,
    modules,
    runner,
    service,
    startup,
)
from benchmarks import postgres as postgres_area
from benchmarks.__main__ import main
from benchmarks.figure import Figure
from benchmarks.fill import fill
from benchmarks.fill_board import ACCEPTED, COMMON, RARE, WORD
from benchmarks.fill_board import fill as fill_board
from benchmarks.folded import folded as folded_loop
from benchmarks.folded import learn
from benchmarks.load import COST, HOLD, LEAF, make_budgets, one_caller, tasks, threads
from benchmarks.postgres_baseline import prepare, transactions
from benchmarks.postgres_folded import folded
from benchmarks.postgres_place import GIVEN, Place
from benchmarks.raw import fdatasync, plain_books
from benchmarks.settings import Settings
from benchmarks.worker import ROOT
from earmark.board.listing import TaskFilter
from earmark.board.task import TaskStatus
from earmark.ledger.store import Filter
from earmark.money import Money
from earmark.stores.open import open_ledger
from earmark.workspace.task_costs import task_costs
from earmark.workspace.workspace import open_workspace
from support.postgres_server import Server


def tiny(folder: Path) -> Settings:
    """Return the settings of a run that takes a moment."""
    return Settings(
        folder=folder,
        rounds=1,
        seconds=0.03,
        drift=math.inf,  # a moment on a busy machine is never like the next
        holds=(20, 60),
        tasks=(10, 40),
        turns=1,
        streams=5,
        blocks=20,
        stages=5,
        stages_most=20,
        starts=1,
    )


def measured(figures: list[Figure]) -> dict[str, float]:
    """Return the medians by what was measured; each was, and is a number above zero."""
    medians = {figure.what: figure.median for figure in figures}
    assert all(median is not None and median >= 0 for median in medians.values()), medians
    return {what: median for what, median in medians.items() if median is not None}


@pytest.mark.slow
def test_the_ledger_benchmark_measures_every_way_of_calling(tmp_path: Path) -> None:
    """One caller, tasks, threads and processes are set against the disk, SQLite or each other."""
    said = measured(ledger.measure(tiny(tmp_path)))
    for way, batch in (("1 caller", "1"), ("16 tasks", "16"), ("256 tasks", "the same size")):
        assert any(
            each.startswith(way) and each.endswith(f"folded loop, batches of {batch}")
            for each in said
        ), way
    for what in ("16 threads", "4 processes", "only asked and answered", "before a round"):
        assert any(what in each for each in said), what


@pytest.fixture
def given(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The tests' own server, given to the benchmarks as another server would be."""
    url = os.environ.get("EARMARK_TEST_POSTGRES") or postgres.url(schema="none").partition("?")[0]
    monkeypatch.setenv(GIVEN, url)
    return postgres


def schemas(server: Server) -> int:
    """Return how many schemas of benchmarks there are on *server*."""
    with server.connect() as connection:
        rows = connection.execute("SELECT FROM pg_namespace WHERE nspname LIKE 'bench\\_%'")
        return len(rows.fetchall())


@pytest.mark.slow
def test_the_postgres_benchmark_measures_every_way_of_calling(
    tmp_path: Path, given: Server
) -> None:
    """One caller is set against bare commits, tasks against batches and plain transactions."""
    said = measured(postgres_area.measure(tiny(tmp_path)))
    for way, limit in (
        ("1 caller", "share of a raw commit"),
        ("16 tasks", "share of the raw folded batch of 16"),
        ("256 tasks", "share of the raw folded batch of 256"),
        ("256 tasks", "one transaction per operation"),
        ("4 processes", "share of 1 process x 256"),
    ):
        assert any(each.startswith(way) and each.endswith(limit) for each in said), way
    assert schemas(given) == 0, "nothing stays on a given server"


@pytest.mark.slow
def test_the_service_benchmark_asks_a_real_server(tmp_path: Path) -> None:
    """Health, streams of events and pages, each from a process of its own."""
    said = measured(service.measure(replace(tiny(tmp_path), stores=("SQLite",))))
    for what in ("/health", "bare ASGI", "5 streams", "KiB"):
        assert any(what in each for each in said), what
    for page in ("25 tasks as JSON", "the board", "a task", "the budgets", "the runs"):
        assert f"SQLite: page: {page}: 40 tasks / 10" in said


@pytest.mark.slow
def test_the_heartbeat_benchmark_does_real_cycles(tmp_path: Path, given: Server) -> None:
    """On each durable store, cycles that dispatch and cycles at the cap."""
    said = measured(heartbeat.measure(tiny(tmp_path)))
    kinds = ("a cycle that dispatches 3", "a cycle at the cap")
    shown = (": 40 tasks / 10", ", ms of processor time")
    assert list(said) == [
        f"{store}: {kind}{what}"
        for store in ("SQLite", "PostgreSQL")
        for what in shown
        for kind in kinds
    ]
    assert schemas(given) == 0


def test_a_filled_board_is_as_if_it_had_been_used(tmp_path: Path, given: Server) -> None:
    """Each third task is accepted and has its try and its cost; labels and counts are right."""
    place = Place(given)
    for url in (f"sqlite:///{tmp_path / 'board.db'}", place.fresh()):
        fill_board(url, 100)
        with open_ledger(url) as books, open_workspace(books) as workspace:
            counts = {each: count for each, count in workspace.board.counts().items() if count}
            assert counts == {
                TaskStatus.PENDING: 34,
                TaskStatus.ACCEPTED: 33,
                TaskStatus.CANCELLED: 33,
            }
            accepted = workspace.board.find(TaskFilter(status=frozenset({TaskStatus.ACCEPTED})))
            costs = task_costs(books, workspace.board.attempts_of([task.id for task in accepted]))
            assert {cost.settled for cost in costs.values()} == {Money("0.042")}
            assert accepted[0].id == ACCEPTED
            for label, most in ((COMMON, 100), (RARE, 20)):
                found = workspace.board.find(TaskFilter(label=label, most=1000))
                assert [task.number for task in found] == list(range(1, most + 1))
                assert all(label in task.labels for task in found)
            assert len(workspace.board.find(TaskFilter(text=WORD, most=1000))) == 20
            assert len(workspace.nudges.find(acked=False)) == 60
            wrong = books.audit().problems
            assert all("/run-" in problem for problem in wrong), wrong
    place.clean()


@pytest.mark.slow
def test_the_board_benchmark_measures_every_store(tmp_path: Path, given: Server) -> None:
    """Claims, lists and counts on many tasks are set against the same on few."""
    said = measured(board.measure(tiny(tmp_path)))
    for what in ("SQLite: claim 3", "SQLite: list 50", "PostgreSQL: claim 3", "PostgreSQL: counts"):
        assert any(each.startswith(f"{what}: 40 tasks / 10") for each in said), what
    assert schemas(given) == 0, "nothing stays on a given server"


def test_one_transaction_per_operation_keeps_the_same_books(given: Server) -> None:
    """What Earmark is set against is a real ledger: nothing stays held, each entry has its hold."""
    place = Place(given)
    conninfo = place.fresh_conninfo()
    prepare(conninfo)
    assert transactions(conninfo, 3, 0.1, None) > 0
    with psycopg.connect(conninfo) as connection:
        sums = connection.execute("SELECT sum(actual), count(*) FROM plain_hold").fetchone()
        accounts = connection.execute("SELECT settled, held FROM plain_account").fetchall()
        entries = connection.execute("SELECT count(*) FROM plain_entry").fetchone()
        over = "SELECT plain_reserve('over', 1000000000000000)"
        with pytest.raises(psycopg.errors.RaiseException, match="over the limit of 3"):
            connection.execute(over)
    assert sums is not None
    assert accounts == [(sums[0], 0)] * 3
    assert entries == (2 * sums[1],)
    place.clean()


def test_the_growth_benchmark_compares_two_tables(tmp_path: Path, given: Server) -> None:
    """On each durable store, one caller's time and many callers' rate."""
    assert len(measured(growth.measure(tiny(tmp_path)))) == 4
    assert schemas(given) == 0


def test_books_filled_by_the_database_are_as_right_as_the_ledgers_own(
    tmp_path: Path, given: Server
) -> None:
    """The audit finds each balance to be what the entries say, before and after another call."""
    place = Place(given)
    for url in (f"sqlite:///{tmp_path / 'books.db'}", place.fresh()):
        fill(url, 60)
        with open_ledger(url) as books:
            report = books.audit()
            assert (report.ok, report.problems, report.reservations) == (True, (), 60)
            assert report.settled == Money("2.52")
            one_caller(books, 0.02)
            assert books.audit().ok
    place.clean()


def test_the_memory_benchmark_measures_a_block(tmp_path: Path) -> None:
    """One ratio: the block to the reserve on dicts."""
    assert len(measured(memory.measure(tiny(tmp_path)))) == 1


def test_the_bounds_benchmark_times_a_request_and_a_reply(tmp_path: Path) -> None:
    """Each of three times has its target, and its ratio to reading the body's JSON."""
    figures = bounds.measure(tiny(tmp_path))
    assert [figure.target is not None for figure in figures] == [True, False] * 3
    assert all(median > 0 for median in measured(figures).values())


@pytest.mark.slow
def test_the_runner_benchmark_measures_wide_and_deep(tmp_path: Path) -> None:
    """Both shapes are set against bare tasks, in time and in memory."""
    said = measured(runner.measure(tiny(tmp_path)))
    assert sum("bare asyncio task" in what for what in said) == 4
    assert sum("memory" in what for what in said) == 3


def test_the_startup_benchmark_starts_the_interpreter(tmp_path: Path) -> None:
    """Importing, the version and the help, each beside a bare start; the version in seconds too."""
    figures = startup.measure(tiny(tmp_path))
    ratio = " / python -c pass"
    assert [figure.what for figure in figures] == [
        f"import earmark{ratio}", f"earmark --version{ratio}", f"earmark --help{ratio}",
        "earmark --version, seconds",
    ]  # fmt: skip
    assert all(figure.median is not None and figure.median > 0 for figure in figures)


@pytest.mark.slow
def test_the_modules_are_those_that_a_stage_and_a_task_pass(tmp_path: Path) -> None:
    """What must run for each is counted, in the committer's thread too; what is beside it, not."""
    stage, task = modules.measure(tiny(tmp_path))
    for figure, what in ((stage, "graph to statement"), (task, "add to completed")):
        passed = modules.modules_of(figure.what.partition(":")[0])
        assert what in figure.what
        assert figure.samples == (len(passed),)
        assert {"earmark.ledger.rules", "earmark.stores.sqlite_rows"} <= set(passed)
        assert not any("postgres" in name or ".cli" in name for name in passed)
    assert "board" in task.detail
    assert "board" not in stage.detail


def test_the_benchmarks_start_from_the_root_of_the_project() -> None:
    """`python -m benchmarks` finds all it imports, without a path that only tests have."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_callers_settle_all_they_reserve(tmp_path: Path) -> None:
    """After each load the books agree and nothing is held: every reserve was settled."""
    with open_ledger(f"sqlite:///{tmp_path / 'load.db'}") as books:
        make_budgets(books)
        loads = [one_caller(books, 0.02), threads(books, 3, 0.02), tasks(books, 5, 0.02)]
        assert all(load.operations >= len(load.latencies()) for load in loads)
        assert loads[0].batch == 1
        assert all(1 <= load.batch <= most for load, most in zip(loads[1:], (3, 5), strict=True))
        assert loads[2].batch > 1
        assert not books.holds()
        assert books.audit().ok


@pytest.mark.parametrize("batch", [1, 7, 16])
def test_the_folded_loop_writes_the_ledgers_own_rows(tmp_path: Path, batch: int) -> None:
    """Its rows differ from the ledger's in key and number only, so both write as much."""
    file = tmp_path / "folded.db"
    assert folded_loop(file, batch, 0.01) > 0
    with open_ledger(f"sqlite:///{file}") as books:
        written = books.holds(LEAF, state="settled", most=100)
        waiting = books.holds(LEAF, state="open", most=100)
        entries = books.entries(LEAF, most=10_000)
    first, later = written[0], written[-1]
    assert first.key != later.key
    same = ("budget", "asked", "hold", "state", "accounts", "actual", "labels")
    assert [getattr(first, name) for name in same] == [getattr(later, name) for name in same]
    # What is settled was opened by another batch, as a caller waits for its answer in between.
    assert batch - 1 <= len(waiting) <= batch + 1
    settles = [entry.key for entry in entries if entry.kind == "settle"][1:]
    opened = [entry.key for entry in entries if entry.kind == "reserve"][1:]
    assert settles == opened[: len(settles)]


def test_the_folded_batches_write_the_ledgers_own_rows(given: Server) -> None:
    """The ledger reads what they wrote: holds of its size, all but the last batch's settled."""
    place = Place(given)
    url = place.fresh()
    assert folded(url, 16, 0.01) > 0
    with open_ledger(url) as books:
        written = books.store.reservations(Filter(most=10_000))
        kinds = [entry.kind for entry in books.entries(LEAF, most=10_000)]
    settled = [each for each in written if each.state == "settled"]
    assert len(written) - len(settled) == 16 // 2
    assert (kinds.count("reserve"), kinds.count("settle")) == (len(written), len(settled))
    assert {(each.budget, str(each.amount), str(each.settled)) for each in settled} == {
        (LEAF, HOLD.rstrip("0"), COST)
    }
    place.clean()


def test_what_a_settle_changes_is_learned_from_the_ledger(tmp_path: Path) -> None:
    """The loop updates the columns that the ledger updates, whatever they are called."""
    learned = learn(tmp_path / "learn.db")
    assert learned.opened["state"] == "open"
    assert learned.closed["state"] == "settled"
    assert "key" not in learned.closed
    assert len(learned.accounts) == 3


def test_the_plain_books_refuse_like_a_ledger() -> None:
    """The baseline is a real reserve: a key counts once, and what does not fit changes nothing."""
    reserve = plain_books(("a", "b"))
    assert reserve("k", 1 << 59)
    assert reserve("k", 1 << 59)
    assert reserve("l", 1 << 59)
    assert not reserve("m", 1)


def test_a_sync_probe_gives_a_rate_and_its_quantiles(tmp_path: Path) -> None:
    """The raw limit of the disk: its median is not above its 99 % quantile."""
    syncs = fdatasync(tmp_path, 0.01)
    assert syncs.rate > 0
    assert syncs.p50_ns <= syncs.p99_ns


def test_an_area_run_from_the_command_line_prints_json_and_cleans_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers on stdout, progress on stderr, the section saved, no database left."""
    results, folder = tmp_path / "RESULTS.md", tmp_path / "bench"
    main(["memory", "--json", "--dir", str(folder), "--results", str(results)])
    out, err = capsys.readouterr()
    assert json.loads(out)["figures"][0]["area"] == "memory"
    assert "memory: round 1 of 3" in err
    assert "### memory" in results.read_text()
    assert list(folder.iterdir()) == []


def test_an_unknown_area_or_too_few_rounds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which areas there are, and that a median needs three rounds."""
    for arguments, said in ((["speed"], "ledger"), (["memory", "--rounds", "2"], "3 rounds")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert said in capsys.readouterr().err
