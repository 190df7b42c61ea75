"""The board from the command line: tasks are added, listed, shown and decided about."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from earmark.board.board import Board
from earmark.board.task import Task, TaskDraft
from earmark.cli.task_tables import age, safe
from earmark.clock import SystemClock
from earmark.ledger.ledger import Ledger
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.workspace.workspace import open_workspace
from support.shell import DRAFT_AND_CRITICS, Shell

AGENT = "Cloud Lu"
MODEL = "anthropic/claude-sonnet-4-20250514"
RESULT = {
    "cost": {"input_tokens": 163, "output_tokens": 3025, "estimated_usd": 0.045864},
    "model": "claude-sonnet-4-20250514",
    "status": "success",
    "response_text": "I'll \x1b[2J implement \x9b31m it",
}
HOUR = 3600 * 10**9


@contextmanager
def the_board() -> Iterator[tuple[Board, Ledger]]:
    """Open the board that the commands work on."""
    with open_ledger("sqlite:///earmark.db") as ledger:
        tables = open_tables(ledger.store)
        yield Board(tables, ledger.clock), ledger
        tables.close()


def complete(number: str) -> Task:
    """Do what a heartbeat does with a task: claim, start, spend, complete."""
    with the_board() as (board, ledger):
        ledger.set_budget("c8", limits=["1 usd per day"])
        task = next(
            each for each in board.claim(AGENT, 9, lease_ns=HOUR) if str(each.number) == number
        )
        key = f"task-{task.id}-1"
        board.start(task, model=MODEL, key=key, budget="c8")
        ledger.reserve("c8", "0.10", key=key)
        ledger.settle(key, "0.045864")
        return board.complete(task.id, 1, AGENT, RESULT, input_tokens=163, output_tokens=3025)


def test_a_task_is_added_and_listed(shell: Shell) -> None:
    """What was given is on the board, and the first task makes the books."""
    added = shell.json(
        *("task", "add", "[SELF-10] Budget tracker", "--description", "## Do it", "--type"),
        *("code_gen", "--priority", "P0", "--label", "GCP", "--label", "x y", "--assignee", AGENT),
        *("--model", "local/tiny", "--prompt", "Say hi.", "--system", "Be brief.", "--max-tokens"),
        *("9", "--attempts", "5", "--actor", "ann"),
    )
    (listed,) = shell.json("task", "list")["tasks"]
    assert listed == {**added, "cost": listed["cost"]}
    assert (listed["series"], listed["priority"], listed["labels"]) == (
        "SELF-10",
        "P0",
        ["GCP", "x y"],
    )
    assert (listed["created_by"], listed["max_attempts"]) == ("ann", 5)
    assert listed["work"] == {
        "kind": "model",
        "model": "local/tiny",
        "prompt": "Say hi.",
        "system": "Be brief.",
        "max_tokens": 9,
    }
    line = shell.ok("task", "list").out.splitlines()[1].split()
    assert line[:5] == ["#1", "pending", "P0", "code_gen", "[SELF-10]"]


def test_texts_come_from_files_and_from_standard_input(shell: Shell) -> None:
    """`@FILE` and `-` are read, as they are, to the last line."""
    shell.write("what.md", "# Title\n\n100 % é\n")
    given = ["task", "add", "t", "--description", "@what.md", "--prompt", "-", "--json"]
    said = subprocess.run(
        [sys.executable, "-m", "earmark.cli.main", *given],
        input=b"a prompt\n",
        capture_output=True,
        check=True,
    )
    added = json.loads(said.stdout)
    assert added["description"] == "# Title\n\n100 % é\n"
    assert added["work"]["prompt"] == "a prompt\n"


def test_a_composition_is_a_task(shell: Shell) -> None:
    """`--graph` with an input and a budget of its own; the graph is the one that was read."""
    shell.write("graph.json", DRAFT_AND_CRITICS)
    added = shell.json(
        *("task", "add", "t", "--graph", "graph.json", "--input", '{"a": 1}', "--budget", "0.50")
    )
    assert added["work"]["kind"] == "composition"
    assert (added["work"]["input"], added["work"]["budget"]) == ({"a": 1}, "0.50")
    assert added["work"]["graph"] == json.loads(DRAFT_AND_CRITICS)


def test_a_key_adds_once(shell: Shell) -> None:
    """Adding again under a key gives the same task; other content under it is refused."""
    first = shell.json("task", "add", "t", "--key", "k")
    assert shell.json("task", "add", "t", "--key", "k")["id"] == first["id"]
    refused = shell("task", "add", "other", "--key", "k")
    assert (refused.code, "title t, now other" in refused.err) == (2, True)
    assert len(shell.json("task", "list")["tasks"]) == 1


def test_a_task_page_has_the_panels_of_the_seed(shell: Shell) -> None:
    """`show` says status, chips, who at both levels, quality, cost from the ledger, the result."""
    shell.ok(
        "task", "add", "[SELF-10] Budget tracker", "--description", "Keep it.", "--label", "GCP"
    )
    task = complete("1")
    shown = shell.ok("task", "show", "1").out
    for line in (
        "#1 [SELF-10] Budget tracker",
        "completed · consult · P2 · GCP",
        "Keep it.",
        "  assignee      -",
        "  claimed by    Cloud Lu → claude-sonnet-4-20250514",
        "  not graded",
        "  input tokens  163",
        "  output tokens 3025",
        "  usd           0.045864",
        '    "estimated_usd": 0.045864',
        f"task {task.id}",
    ):
        assert line in shown.splitlines(), line
    machine = shell.json("task", "show", task.id)
    assert machine["cost"]["settled"] == "0.045864"
    assert (machine["result"], machine["quality"]) == (RESULT, None)
    assert [each["key"] for each in machine["tries"]] == [f"task-{task.id}-1"]
    assert [each["move"] for each in machine["history"]] == [
        *("added", "claimed", "started", "completed")
    ]


def test_what_a_model_wrote_does_not_steer_the_terminal(shell: Shell) -> None:
    """Control characters in a result, an error or a note are shown, not sent."""
    shell.ok("task", "add", "t")
    complete("1")
    shell.ok("task", "reject", "1", "--note", "a\x1b[31mb")
    shown = shell.ok("task", "show", "1").out
    assert not {"\x1b", "\x9b"} & set(shown)
    assert "implement" in shown
    assert safe("a\nb\tc é\x1b\u202e") == "a\nb\tc é��"


def test_a_grade_is_shown(shell: Shell) -> None:
    """A person grades a completed task: how good, whether that is enough, who and when."""
    shell.ok("task", "add", "t")
    complete("1")
    graded = shell.json(
        *("task", "grade", "1", "--overall", "85", "--pass", "--actor", "ann", "--note", "neat")
    )
    assert graded["status"] == "graded"
    assert (graded["quality"]["overall"], graded["quality"]["passed"]) == (85, True)
    shown = shell.ok("task", "show", "1").out
    for line in ("  overall       85 %", "  pass          PASS", "  graded by     ann"):
        assert line in shown
    assert "  graded at     2" in shown
    assert shell.json("task", "accept", "1")["status"] == "accepted"


def test_people_decide(shell: Shell) -> None:
    """Approve, deny, reject, retry and cancel move a task, and say who and why in its history."""
    shell.ok("task", "add", "a", "--destructive")
    asked = shell.ok("task", "add", "b", "--destructive")
    assert "waits for a person's approval" in asked.out
    assert shell.json("task", "deny", "2", "--note", "not today")["status"] == "cancelled"
    shell.ok("task", "approve", "1", "--actor", "ann")
    complete("1")
    assert shell.json("task", "reject", "1")["status"] == "rejected"
    assert shell.json("task", "retry", "1", "--note", "again")["status"] == "pending"
    assert shell.json("task", "cancel", "1")["status"] == "cancelled"
    history = shell.json("task", "show", "1")["history"]
    assert [(each["move"], each["note"]) for each in history][-3:] == [
        *(("rejected", ""), ("retried", "again"), ("cancelled", ""))
    ]
    assert ("ann", "approved") in {(each["actor"], each["move"]) for each in history}


def test_needs_are_shown_until_they_are_accepted(shell: Shell) -> None:
    """A task says for how many it waits; accepting the last of them frees it."""
    shell.ok("task", "add", "first")
    shell.ok("task", "add", "second", "--needs", "1")
    assert "waits for 1 of its needs" in shell.ok("task", "list").out
    assert "  needs         #1 pending: first" in shell.ok("task", "show", "2").out
    complete("1")
    shell.ok("task", "accept", "1")
    assert "waits" not in shell.ok("task", "list").out


def test_tasks_are_filtered_and_paged(shell: Shell) -> None:
    """By state, type, priority, label and text; a page says where the next one goes on."""
    for name in ("a", "b", "c"):
        shell.ok("task", "add", name, "--type", f"is_{name}", "--label", name, "--priority", "P1")
    shell.ok("task", "cancel", "2")

    def titles(*arguments: str) -> list[str]:
        return [each["title"] for each in shell.json("task", "list", *arguments)["tasks"]]

    assert titles("--status", "cancelled") == titles("--type", "is_b") == ["b"]
    assert titles("--status", "cancelled", "--status", "pending") == ["c", "b", "a"]
    assert titles("--oldest") == ["a", "b", "c"]
    assert titles("--label", "c") == titles("--text", "C") == ["c"]
    assert titles("--priority", "P0") == titles("--agent", AGENT) == []
    assert titles("--newest", "--limit", "2") == titles("--limit", "2") == ["c", "b"]
    page = shell("task", "list", "--limit", "2")
    assert "go on with --after 2" in page.err
    assert titles("--after", "2") == ["a"]
    assert titles("--oldest", "--after", "2") == ["c"]


def test_of_many_tasks_the_newest_are_listed(shell: Shell) -> None:
    """What was just added is on the page, however many there are."""
    with open_ledger("sqlite:///earmark.db") as ledger, open_workspace(ledger) as workspace:
        for number in range(60):
            workspace.board.add(TaskDraft(title=f"t{number}"), actor="ann")
    listed = shell.json("task", "list")["tasks"]
    assert [each["title"] for each in listed] == [f"t{n}" for n in range(59, 9, -1)]


def test_the_configuration_says_who_is_asked(shell: Shell) -> None:
    """`approve` of `[heartbeat]` names the types that wait for a person."""
    shell.configure(
        '[heartbeat]\napprove = ["deploy"]\nsibling = "VS Lu"\n'
        '[nudges.ops]\nkind = "command"\nargv = ["true"]\n',
    )
    assert shell.json("task", "add", "t", "--type", "deploy")["approval"] == "wanted"
    (nudge,) = shell.json("nudge", "list")["nudges"]
    assert (nudge["kind"], nudge["recipient"]) == ("approval", "VS Lu")
    assert [each["channel"] for each in nudge["deliveries"]] == ["ops"]
    assert shell.json("task", "add", "t", "--destructive")["approval"] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", ""], 1, "'' is not a title"),
        (["add", "t", "--type", "Code Gen"], 1, "is not a type"),
        (["add", "t", "--priority", "P9"], 1, "'P9' is not one of 'P0'"),
        (["add", "t", "--model", "tiny"], 1, "provider/model"),
        (["add", "t", "--budget", "1"], 1, "give --graph too"),
        (["add", "t", "--graph", "g.json"], 1, "say the most it may spend"),
        (["add", "t", "--graph", "g.json", "--budget", "1"], 1, "there is no such file"),
        (["add", "t", "--graph", "g.json", "--prompt", "x"], 1, "names its own models"),
        (["add", "t", "--prompt", "-", "--description", "-"], 1, "one of them only"),
        (["add", "t", "--description", "@raw"], 1, "not text in UTF-8"),
        (["add", "t", "--needs", "9"], 1, "'9' is not a task on the board to need"),
        (["add", "t", "--due", "soon"], 1, "'soon' is not a moment"),
        (["show", "9"], 1, "no task '9': `earmark task list` shows what there is"),
        (["accept", "1"], 2, "it is pending, which allows claim, cancel"),
        (["approve", "1"], 2, "nobody asks for approval"),
        (["grade", "1", "--overall", "101", "--pass"], 1, "--overall"),
        (["grade", "1", "--overall", "10"], 1, "--pass"),
    ],
)
def test_what_cannot_be_is_told(shell: Shell, arguments: list[str], code: int, said: str) -> None:
    """Bad input leaves with 1 and a refused move with 2, each with one sentence; nothing moves."""
    shell.ok("task", "add", "there")
    (shell.folder / "raw").write_bytes(b"\xff\xfe")
    before = shell.json("task", "show", "1")
    answer = shell("task", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert shell.json("task", "show", "1") == before
    assert len(shell.json("task", "list")["tasks"]) == 1


@pytest.mark.parametrize("arguments", [["list"], ["show", "1"], ["accept", "1"]])
def test_looking_for_tasks_makes_no_books(shell: Shell, arguments: list[str]) -> None:
    """A mistyped store is told, not made."""
    answer = shell("task", *arguments, "--store", "sqlite:///typo.db")
    assert (answer.code, "no store 'sqlite:///typo.db'" in answer.err) == (1, True)
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("ago_s", "said"),
    [
        (0, "0s ago"),
        (-3600, "0s ago "),
        (59, "59s ago"),
        (3599, "59min ago"),
        (3600, "1h ago"),
        (47 * 3600, "1d ago"),
    ],
)
def test_ages_are_told_in_one_unit(ago_s: int, said: str) -> None:
    """The largest unit that fits; what is ahead of a clock that stepped back is now."""
    now = SystemClock().instant()
    assert age(now - ago_s * 10**9, now) == said.strip()
    assert age(0, now) == ""
