"""What is shown of a run while it goes on."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console

from earmark.cli.event_lines import line_of
from earmark.cli.progress import ProgressLine
from earmark.cli.run_tree import RunTree, RunTreeRow, rows_of, visible_rows
from earmark.composition.parse import parse_composition
from earmark.composition.plan import Plan
from earmark.composition.types import ANY
from earmark.money import Money
from earmark.runs.events import RunStarted, StageEnded, StageRetried, StageStarted
from earmark.runs.statement_line import LineOutcome, StatementLine
from earmark.testing import ManualClock
from support.shell import DRAFT_AND_CRITICS, Shell

PLAN = Plan(
    composition_id="c" * 64,
    min=Money("0.09"),
    max=None,
    hold=Money(),
    lines=(),
    input=ANY,
    output=ANY,
    effects=(),
    warnings=(),
)
STARTED = RunStarted(
    run_id="1", composition_id="c" * 64, budget="a/run-1", limit=Money(1), plan=PLAN
)


def ended(path: str, outcome: LineOutcome, settled: str = "0.05", detail: str = "") -> StageEnded:
    """Return the end of an attempt."""
    line = StatementLine(
        path=path,
        stage="draft",
        stage_id="d" * 64,
        attempt=1,
        outcome=outcome,
        started_at=0,
        duration_ns=1_500_000_000,
        key="k",
        settled=Money(settled),
        detail=detail,
    )
    return StageEnded(line=line, spent=Money("0.07"))


def test_lines_say_what_happened() -> None:
    """One line for each event that matters: the plan, each attempt with its cost, each retry."""
    assert line_of(STARTED) == "run 1 on 'a/run-1': 1 USD, plan [0.09, unknown] USD"
    assert line_of(replace(STARTED, warnings=("no limit",))).startswith("WARNING: no limit\nrun 1 ")
    assert line_of(StageStarted(path="", stage="draft", attempt=1)) == ""
    assert line_of(ended("/stages/0", LineOutcome.OK)) == (
        "/stages/0 draft: ok 0.05 USD in 1.50s; 0.07 USD spent"
    )
    assert line_of(ended("", LineOutcome.FAILED, detail="no luck\nmore")) == (
        "/ draft: failed 0.05 USD in 1.50s; 0.07 USD spent (no luck)"
    )
    retried = StageRetried(path="/x", attempt=1, max_attempts=3, delay_ms=20, detail="no luck")
    assert line_of(retried) == "/x: attempt 1 of 3 failed, again after 20 ms: no luck"


def test_the_tree_has_a_row_for_each_node() -> None:
    """Nodes in document order, indented, branches by their names."""
    rows = list(rows_of(parse_composition(DRAFT_AND_CRITICS).root))
    assert [(row.depth, row.label, row.leaf) for row in rows] == [
        (0, "sequential", False),
        (1, "stage", True),
        (1, "parallel", False),
        (2, "a: stage", True),
        (2, "b: stage", True),
    ]


def drawn(tree: RunTree) -> str:
    """Return what a terminal would show now."""
    console = Console(file=io.StringIO(), width=100)
    console.print(tree.render())
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def tree(clock: ManualClock) -> Iterator[RunTree]:
    """A tree that was told of a run's start."""
    stream = io.StringIO()
    with RunTree(parse_composition(DRAFT_AND_CRITICS), clock, stream) as tree:
        tree.show(STARTED)
        yield tree


def test_the_tree_shows_states_and_running_totals(tree: RunTree, clock: ManualClock) -> None:
    """What runs counts its seconds, what is done shows its cost, the totals follow."""
    tree.show(StageStarted(path="/stages/0", stage="draft", attempt=1))
    clock.advance(timedelta(seconds=2))
    assert "running" in drawn(tree)
    assert "2.00s" in drawn(tree)
    assert "0 of 1 USD spent · 0 of 3 stages done, 1 running" in drawn(tree)
    tree.show(ended("/stages/0", LineOutcome.OK))
    assert "0.05 USD" in drawn(tree)
    assert "0.07 of 1 USD spent · 1 of 3 stages done, 0 running" in drawn(tree)


def test_attempts_of_one_stage_add_up(tree: RunTree) -> None:
    """A retried stage shows its latest state and all of its cost."""
    tree.show(ended("/stages/0", LineOutcome.FAILED))
    tree.show(StageStarted(path="/stages/0", stage="draft", attempt=2))
    assert "running (attempt 2)" in drawn(tree)
    tree.show(ended("/stages/0", LineOutcome.OK))
    assert "0.1 USD" in drawn(tree)


def test_a_tree_taller_than_the_screen_shows_what_matters() -> None:
    """Of more rows than fit, those that run or went wrong are left."""
    rows = [RunTreeRow(path=f"/{i}", depth=1, label=str(i), leaf=True) for i in range(100)]
    rows[3].state = "running"
    rows[5].state = str(LineOutcome.OK)
    rows[7].state = str(LineOutcome.FAILED)
    assert [row.label for row in visible_rows(rows, 10)] == ["3", "7"]
    assert len(visible_rows(rows, 100)) == 100


def test_on_a_terminal_the_tree_is_drawn(workshop: Shell) -> None:
    """With standard error on a terminal, the tree is there, the answer still on its own stream."""
    leader, follower = pty.openpty()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "earmark.cli.main", "run", "graph.json", "--json"),
            *("--stages", "stages.py", "--input", '"hi"', "--budget", "1"),
        ],
        cwd=workshop.folder,
        stdout=subprocess.PIPE,
        stderr=follower,
        check=True,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(follower)
    seen = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert done.stdout.startswith(b"{")
    assert "a: critic" in seen
    assert "3 of 3 stages done" in seen


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_progress_is_silent_for_a_second(clock: ManualClock) -> None:
    """What is done within a second is not told of; later each second, and at the end wiped."""
    screen = Terminal()
    with ProgressLine(clock, screen) as progress:
        progress.tell("1 row")
        assert screen.getvalue() == ""
        clock.advance(timedelta(seconds=1))
        progress.tell("2 rows")
        progress.tell("3 rows")
        assert screen.getvalue() == "\r\x1b[K2 rows …"
    assert screen.getvalue().endswith("\r\x1b[K")


def test_progress_in_a_file_is_lines(clock: ManualClock) -> None:
    """Where there is no terminal, a plain line each ten seconds."""
    log = io.StringIO()
    with ProgressLine(clock, log) as progress:
        for rows in range(12):
            clock.advance(timedelta(seconds=1))
            progress.tell(f"{rows} rows")
    assert log.getvalue() == "0 rows …\n10 rows …\n"
