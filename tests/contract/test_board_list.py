"""The board on every store: adding, keys, pages, filters, counts and the history."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from earmark.board.board import Board
from earmark.board.listing import TaskFilter
from earmark.board.status_counts import StatusCounter
from earmark.board.task import CompositionWork, ModelWork, Priority, TaskDraft, TaskStatus
from earmark.errors import InvalidTask, KeyReused, NotFound
from earmark.stores.open import open_ledger
from earmark.stores.open_tables import open_tables
from earmark.stores.tables import Row, Rows
from earmark.testing import ManualClock
from support.board_books import AGENT, LEASE, Repeating, add, in_state, open_board, running

GRAPH = {"description": "g", "version": "0.1.0", "root": {"op": "Stage", "id": "draft"}}


@pytest.fixture
def board(url: str, clock: ManualClock) -> Iterator[Board]:
    """An empty board."""
    with open_board(url, clock) as opened:
        yield opened


def titles(board: Board, **wanted: object) -> list[str]:
    """Return the titles of a page."""
    return [task.title for task in board.find(TaskFilter(**wanted))]  # type: ignore[arg-type]


FULL = TaskDraft(
    title="[SELF-10] Persistent budget tracker",
    description="## Keep it\n\tañd show it: 100 % of_it\\ \u0001 '%s' {schema}.",
    type="code_gen",
    priority=Priority.P0,
    labels=("GCP-RESILIENCE", "ü b"),
    destructive=True,
    assignee=AGENT,
    work=ModelWork(model="local/tiny", prompt="{not} a template", system="s", max_tokens=9),
    max_attempts=7,
    due_at=5,
)


def test_a_task_is_kept_as_it_was_given(board: Board, clock: ManualClock) -> None:
    """Everything that was given is read back, to the last character; the rest is at its start."""
    plain = TaskDraft(title="")
    same = [name for name in plain.__struct_fields__ if getattr(FULL, name) == getattr(plain, name)]
    assert same == ["needs"], "a field at its default would not show whether it is kept"
    task = board.add(FULL, actor="ann")
    assert board.get(task.id) == task
    for name in TaskDraft.__struct_fields__:
        assert getattr(task, name) == getattr(FULL, name), name
    assert (task.series, task.number, task.version) == ("SELF-10", 1, 1)
    assert (task.created_at, task.created_by) == (clock.instant(), "ann")
    assert (task.status, task.approval, task.attempts) == (TaskStatus.PENDING, "wanted", 0)
    assert (task.result, task.quality, task.claimed_by) == (None, None, "")


def test_a_composition_is_kept_as_it_was_given(board: Board) -> None:
    """Its graph, input and budget are read back."""
    work = CompositionWork(graph=GRAPH, input={"a": [1, None, "é"]}, budget="0.25")
    assert board.get(add(board, work=work).id).work == work


def test_adding_again_under_a_key_adds_nothing(board: Board) -> None:
    """The same key and content give the same task, as it stands now, whoever asks."""
    needed = add(board, "needed")
    draft = TaskDraft(title="once", labels=("a",), needs=(needed.id,))
    first = board.add(draft, actor="ann", key="k")
    board.decide(first.id, "cancel", actor="ann")
    again = board.add(draft, actor="bob", key="k")
    assert (again.id, again.status) == (first.id, TaskStatus.CANCELLED)
    assert len(board.find()) == 2
    assert board.add(draft, actor="ann").id != first.id


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "else"), ("priority", Priority.P3), ("labels", ("b",)), ("needs", ("1",))],
)
def test_a_key_stands_for_one_content(board: Board, field: str, value: object) -> None:
    """Adding something else under a key that was used says in what it differs."""
    add(board, "needed")
    draft = TaskDraft(title="once")
    board.add(draft, actor="ann", key="k")
    other = TaskDraft(**{"title": "once", field: value})  # type: ignore[arg-type]
    with pytest.raises(KeyReused) as reused:
        board.add(other, actor="ann", key="k")
    assert (reused.value.key, reused.value.field) == ("k", field)
    assert len(board.find()) == 2


def test_an_add_whose_answer_was_lost_is_done_once(url: str, clock: ManualClock) -> None:
    """Without a key too: a write that is repeated finds what its first try wrote."""
    with open_board(url, clock) as board:
        twice = Board(Repeating(board._tables), clock)
        made = twice.add(TaskDraft(title="once"), actor="ann")
        assert board.find() == [made]
        assert twice.claim(AGENT, 5, lease_ns=LEASE) == board.find()
        assert [event.move for event in board.events(0)] == ["added", "claimed"]


def test_a_task_has_several_names(board: Board) -> None:
    """Its id, an unambiguous beginning of it, its number with or without a cross."""
    for number in (1, 2, 3):
        _rename(board, add(board).id, f"0{number // 2}abcdef-0000-7000-8000-00000000000{number}")
    first = board.get("00abcdef-0000-7000-8000-000000000001")
    for name in ("00abcdef", "00abcdef-0000-7", "1", "#1"):
        assert board.get(name) == first
    assert board.get("01abcdef-0000-7000-8000-000000000003").number == 3
    with pytest.raises(NotFound, match="several ids begin so"):
        board.get("01abcdef-0000")
    for name in ("4", "00abcde", "00abcdeg"):
        with pytest.raises(NotFound, match=f"no task '{name}'"):
            board.get(name)


def _rename(board: Board, old: str, new: str) -> None:
    # A new id begins as the last one did: no test can wait for one that does not.
    rename = "UPDATE {schema}.task SET id = ? WHERE id = ?"
    board._tables.write("board", lambda rows: rows.run(rename, new, old))


def test_pages_follow_one_another(board: Board) -> None:
    """Each page goes on after the last number of the one before, from either end."""
    for number in range(5):
        add(board, f"{number}")
    assert titles(board, most=2) == ["0", "1"]
    assert titles(board, most=2, after=2) == ["2", "3"]
    assert titles(board, most=9, after=4) == ["4"]
    assert titles(board, after=10**30) == []
    assert titles(board, most=2, newest_first=True) == ["4", "3"]
    assert titles(board, most=9, after=4, newest_first=True) == ["2", "1", "0"]
    assert titles(board, most=0) == titles(board, most=-1) == []


def test_pages_of_several_states_are_in_order(board: Board) -> None:
    """Tasks of different states come in the order of their numbers, and no page skips one."""
    for number in range(6):
        task = add(board, f"{number}")
        if number % 2:
            board.decide(task.id, "cancel", actor="ann")
    both = frozenset({TaskStatus.PENDING, TaskStatus.CANCELLED})
    assert titles(board, status=both, most=3) == ["0", "1", "2"]
    assert titles(board, status=both, most=3, after=3) == ["3", "4", "5"]
    assert titles(board, status=frozenset({TaskStatus.CANCELLED})) == ["1", "3", "5"]
    assert titles(board, status=both, most=2, newest_first=True) == ["5", "4"]


def test_tasks_are_filtered(board: Board) -> None:
    """By type, priority, a whole label, agent, and text that stands in title or description."""
    running(board, title="[A-1] Alpha", labels=("GCP",), type="deploy", priority=Priority.P1)
    add(board, "[A-2] beta", labels=("GCP-2", "x"), description="needs 100% of Alpha_1")
    assert titles(board, label="GCP") == ["[A-1] Alpha"]
    assert titles(board, label="gcp") == titles(board, label='GCP-2", "x') == []
    assert titles(board, label="x") == ["[A-2] beta"]
    assert titles(board, type="deploy") == titles(board, priority=Priority.P1) == ["[A-1] Alpha"]
    assert titles(board, agent=AGENT) == ["[A-1] Alpha"]
    assert titles(board, text="ALPHA") == ["[A-1] Alpha", "[A-2] beta"]
    assert titles(board, text="100%") == titles(board, text="a_1") == ["[A-2] beta"]
    assert titles(board, text="1__%") == titles(board, text="a\0b") == []
    assert titles(board, text="\ud800") == titles(board, label="'; DROP TABLE task") == []


def test_tasks_are_counted_by_state(board: Board) -> None:
    """Every state has its number, also those without a task."""
    for status in (TaskStatus.RUNNING, TaskStatus.CANCELLED, TaskStatus.PENDING):
        in_state(board, status)
    counts = board.counts()
    assert set(counts) == set(TaskStatus)
    assert {status for status, count in counts.items() if count} == {
        *(TaskStatus.RUNNING, TaskStatus.CANCELLED, TaskStatus.PENDING)
    }


def test_counts_follow_what_others_do(url: str, clock: ManualClock) -> None:
    """Whoever counted before sees each change by another, as one does who counts all anew."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        doing, looking = Board(tables, clock), Board(tables, clock)

        def agree() -> dict[TaskStatus, int]:
            counts = looking.counts()
            assert counts == Board(tables, clock).counts()
            return counts

        assert set(agree().values()) == {0}
        needed = in_state(doing, TaskStatus.GRADED)
        for status in sorted(TaskStatus, key=lambda each: each is TaskStatus.PENDING):
            in_state(doing, status)
            agree()
        # Several at once: one that was waiting for another, and two whose lease runs out.
        add(doing, needs=(needed.id,))
        doing.decide(needed.id, "accept", actor="ann")
        doing.claim(AGENT, 5, lease_ns=LEASE)
        assert agree()[TaskStatus.CLAIMED] == 3
        clock.advance(timedelta(hours=1))
        for task in doing.expired():
            doing.take_back(task.id, task.version, to=TaskStatus.PENDING, reason="dead")
        assert agree() == looking.counts()
        assert sum(agree().values()) == len(doing.find(TaskFilter(most=1000)))


class Heard:
    """Tables of one commit that note what they are asked."""

    def __init__(self, rows: Rows, said: list[str]) -> None:
        self._rows = rows
        self._said = said

    def run(self, sql: str, *values: object) -> list[Row]:
        """Run one statement."""
        self._said.append(sql)
        return self._rows.run(sql, *values)


def test_counts_begin_anew_after_many_events(url: str, clock: ManualClock) -> None:
    """Where more was decided than is worth following, everything is counted, and else not."""
    with open_ledger(url, clock=clock) as ledger, closing(open_tables(ledger.store)) as tables:
        board, counter = Board(tables, clock), StatusCounter(most_new=2)

        def counts_all() -> bool:
            said: list[str] = []
            counts = tables.read(lambda rows: counter.count(Heard(rows, said)))
            assert counts == Board(tables, clock).counts()
            return any("GROUP BY" in sql for sql in said)

        assert counts_all()
        for tasks, all_anew in ((0, False), (2, False), (3, True), (1, False)):
            for _ in range(tasks):
                add(board)
            assert counts_all() is all_anew


def test_tasks_of_a_priority_come_in_their_order(board: Board) -> None:
    """Those of several states and of all are in the order of addition, page by page."""
    for number in range(6):
        task = add(board, f"{number}", priority=Priority(number % 2))
        if number in {1, 5}:
            board.decide(task.id, "cancel", actor="ann")
    assert titles(board, priority=Priority.P1) == ["1", "3", "5"]
    assert titles(board, priority=Priority.P1, newest_first=True, most=2) == ["5", "3"]
    assert titles(board, priority=Priority.P1, after=2, most=1) == ["3"]
    assert titles(board, priority=Priority.P0, status=frozenset({TaskStatus.CANCELLED})) == []
    assert titles(board, priority=Priority.P2) == []


def test_every_change_is_told_once(board: Board, clock: ManualClock) -> None:
    """The history of a task says who did what and when; the board's numbers have no gap."""
    assert board.last_event() == 0
    task = running(board)
    board.fail(task.id, 1, AGENT, "overloaded\0" + "x" * 5000)
    board.decide(task.id, "retry", actor="bob", note="once more")
    found = board.history(task.id)
    told = [(event.actor, event.move, event.status) for event in found]
    assert told == [
        ("ann", "added", "pending"),
        (AGENT, "claimed", "claimed"),
        (AGENT, "started", "running"),
        (AGENT, "failed", "failed"),
        ("bob", "retried", "pending"),
    ]
    assert {event.at for event in found} == {clock.instant()}
    assert found[3].note.startswith("overloadedxxx")
    assert len(found[3].note) == 1000
    assert [event.number for event in board.events(0)] == [1, 2, 3, 4, 5]
    assert board.events(3, 1) == [found[3]]
    assert board.events(5) == board.events(10**30) == board.events(0, 0) == []
    assert board.last_event() == 5


def test_tries_of_several_tasks_are_read_at_once(board: Board) -> None:
    """For each id its tries, for one without any an empty list, for more ids than 50 as well."""
    ids = [running(board).id for _ in range(3)]
    unknown = [f"{n}" for n in range(60)]
    found = board.attempts_of([*ids, *unknown])
    assert [len(found[each]) for each in ids] == [1, 1, 1]
    assert all(found[each] == [] for each in unknown)


#: A field, what cannot be in it, and a part of what is said.
BAD = [
    ("title", "", "'' is not a title: give 1 to 200 printable characters"),
    ("title", "x" * 201, "1 to 200"),
    ("title", "a\nb", "printable"),
    ("title", "\ud800", "printable"),
    ("title", 5, "Expected `str`, got `int`"),
    ("description", "x" * (256 * 1024 + 1), "at most 256 KiB"),
    ("description", "a\0b", "without NUL"),
    ("type", "Code Gen", "'Code Gen' is not a type"),
    ("priority", 4, "Invalid"),
    ("labels", ("",), "is not a label"),
    ("labels", ('a"b',), "without quotes"),
    ("labels", ("x" * 65,), "1 to 64"),
    ("labels", tuple(f"{n}" for n in range(21)), "at most 20 of them"),
    ("assignee", "a\tb", "is not an assignee"),
    ("max_attempts", 0, "'0' is not a number of attempts: give 1 to 100"),
    ("max_attempts", 101, "1 to 100"),
    ("due_at", -1, "is not a moment"),
    ("needs", tuple(f"{n}" for n in range(101)), "at most 100 of them"),
    ("work", ModelWork(model="tiny"), "provider/model"),
    ("work", ModelWork(max_tokens=0), "number of tokens"),
    ("work", ModelWork(prompt="\ud800"), "is not a prompt"),
    ("work", CompositionWork(graph={"a": 1}, budget="1"), "composition refused"),
    ("work", CompositionWork(graph=GRAPH, budget="lots"), "'lots' is not an amount"),
    ("work", CompositionWork(graph=GRAPH, budget="-1"), "-1 is not an amount"),
    ("work", CompositionWork(graph=GRAPH, budget="1e3"), "'1e3' is not an amount"),
    ("work", CompositionWork(graph=GRAPH, budget="+1"), "plain digits"),
    ("work", CompositionWork(graph=GRAPH, budget=".5"), "plain digits"),
    ("work", CompositionWork(graph=GRAPH, budget="1\n"), "is not an amount"),
    ("work", CompositionWork(graph=GRAPH, budget="1", input=float("nan")), "is not an input"),
]


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize(("field", "value", "said"), BAD)
def test_what_cannot_be_on_the_board_is_refused(
    board: Board, field: str, value: object, said: str
) -> None:
    """Each wrong value is refused with what to give instead, and nothing is added."""
    draft = TaskDraft(**{"title": "t", field: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=said.replace("(", r"\(")) as refused:
        board.add(draft, actor="ann")
    assert len(str(refused.value)) < 300
    assert board.find() == []


@pytest.mark.parametrize("url", ["memory:"])
@pytest.mark.parametrize("given", [{"actor": ""}, {"actor": "a", "key": ""}, {"actor": "\n"}])
def test_who_adds_has_a_name(board: Board, given: dict[str, str]) -> None:
    """Neither the actor nor a key is empty or has characters nobody sees."""
    with pytest.raises(InvalidTask, match="1 to 100 printable characters"):
        board.add(TaskDraft(title="t"), **given)
