"""The board: rows, counts, filters, pages, and who works."""

from urllib.parse import quote

import pytest

from earmark.board.task import Priority, TaskStatus
from earmark.service.pages.assets import assets
from earmark.service.pages.views_board import MOST
from support.page_house import AGENT, HOSTILE, PageHouse, Visitor
from support.page_reader import Page


def titles(visitor: Visitor, address: str) -> list[str]:
    """Return the ids of the tasks that a page lists, in order."""
    return listed(visitor.read(address))


def listed(page: Page) -> list[str]:
    """Return the ids of the tasks on a page, in order."""
    rows = [a for a in page.all("a") if a.get("id", "").startswith("to-")]
    return [row["href"].removeprefix("/tasks/") for row in rows]


def test_an_empty_board_says_what_to_do(house: PageHouse) -> None:
    """Without tasks and heartbeats the page is a page."""
    page = house.visitor().read("/")
    assert "The board is empty: earmark task add puts the first task on it." in page.text
    assert "The board is empty: add the first task." in house.visitor("spend").read("/").text
    assert "No heartbeat ever ran here" in page.text
    assert "Log in to add tasks" in page.text


@pytest.mark.parametrize("status", list(TaskStatus))
def test_each_state_has_its_row_and_its_count(house: PageHouse, status: TaskStatus) -> None:
    """A task shows its state in words, and the chip of that state finds it."""
    task = house.in_state(status)
    visitor = house.visitor()
    page = visitor.read("/")
    assert page.all("tr", id=f"t{task.number}", data_state=str(status))
    assert f"{status} 1" in page.text
    assert titles(visitor, f"/?status={status}") == [task.id]


def test_a_row_says_what_it_cost_and_who_has_it(house: PageHouse) -> None:
    """The ledger's exact amount stands on the row, with both levels of who claimed it."""
    house.completed(title="[SELF-10] Persistent budget tracker", labels=("GCP-RESILIENCE",))
    text = house.visitor().read("/").text
    for said in (
        "SELF-10 Persistent budget tracker",
        "Cloud Lu → claude-sonnet-4-20250514",
        "0.045864 USD",
        "GCP-RESILIENCE",
        "P0",
    ):
        assert said in text


def test_an_open_hold_is_told_beside_the_cost(house: PageHouse) -> None:
    """What a running task may still cost stands on its row."""
    house.running()
    assert "0 USD + 0.1 held" in house.visitor().read("/").text


def test_a_task_says_why_it_waits(house: PageHouse) -> None:
    """Approval, needs, a due date and the last error are told where they are in the way."""
    first = house.add(destructive=True)
    house.add(needs=(first.id,))
    house.add(due_at=house.clock.instant() + 7_200_000_000_000)
    text = house.visitor().read("/").text
    assert "waits for a person's approval" in text
    assert "waits for 1 of the tasks it needs" in text
    assert "due in 2 h" in text


def test_a_failure_is_told_on_the_row(house: PageHouse) -> None:
    """A failed task shows its error, an unknown one too."""
    house.in_state(TaskStatus.FAILED)
    house.in_state(TaskStatus.UNKNOWN)
    text = house.visitor().read("/").text
    assert "the provider said 500" in text
    assert "no reply came" in text


FILTERS = {
    "type=review": "review",
    "priority=P1": "urgent",
    "label=cloud": "labelled",
    "text=" + quote("100 % sure"): "100 % sure",
    "agent=" + quote(AGENT): "mine",
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_finds_its_task_alone(house: PageHouse, query: str) -> None:
    """Type, priority, label, words and agent each narrow the list, and the form keeps them."""
    mine = house.claimed(title="mine")
    house.workspace.board.decide(mine.id, "cancel", actor="Carlos")
    wanted = {
        "review": house.add("review", type="review"),
        "urgent": house.add("urgent", priority=Priority.P1),
        "labelled": house.add("labelled", labels=("cloud", "gcp")),
        "100 % sure": house.add("100 % sure"),
        "mine": house.claimed(title="held"),
    }
    visitor = house.visitor()
    assert titles(visitor, f"/?{query}") == [wanted[FILTERS[query]].id]
    name = query.partition("=")[0]
    fields = visitor.read(f"/?{query}")
    assert fields.all("select" if name == "priority" else "input", name=name)


def test_a_filter_that_finds_nothing_offers_the_way_back(house: PageHouse) -> None:
    """An empty list says that it was narrowed."""
    house.add()
    assert "No task is like that. Show all" in house.visitor().read("/?text=nowhere").text


@pytest.mark.parametrize("query", ["status=zzz", "priority=P9", "after=x", "after=1.x", "after=-1"])
def test_a_wrong_filter_is_refused_in_words(house: PageHouse, query: str) -> None:
    """An address that asks for what there is not is a 400 with a sentence, never a 500."""
    house.add()
    page = house.visitor().read(f"/?{query}", 400)
    assert "Refused." in page.text


def test_pages_follow_each_other_without_a_gap(house: PageHouse) -> None:
    """Every task is on one page, newest first, however many pages there are."""
    made = [house.add(f"task {number}").id for number in range(2 * MOST + 5)]
    visitor, address, seen, sizes = house.visitor(), "/", list[str](), list[int]()
    while address:
        page = visitor.read(address)
        rows = listed(page)
        seen, sizes = seen + rows, [*sizes, len(rows)]
        onward = page.all("a", rel="next")
        address = onward[0]["href"] if onward else ""
    assert seen == made[::-1]
    assert sizes == [MOST, MOST, 5]


def test_a_full_page_is_light(house: PageHouse) -> None:
    """With its style and script, unpacked, a full board weighs less than 60 kB."""
    for number in range(MOST + 1):
        house.completed(title=f"[SELF-{number}] Persistent budget tracker", labels=("GCP",))
        house.later(31)
    files = sum(len(asset.body) for name, asset in assets().items() if not name.endswith(".svg"))
    page = house.beat().visitor("admin").get("/")
    assert page.text.count("0.045864 USD") == MOST
    assert len(page.content) + files < 60_000


def test_by_priority_goes_through_every_level(house: PageHouse) -> None:
    """Ordered by priority, each level is listed by age, over the edge of a page too."""
    made = [house.add(f"{n}", priority=Priority(3 - n % 4)) for n in range(MOST + 10)]
    visitor = house.visitor()
    first = visitor.read("/?order=priority")
    onward = first.all("a", rel="next")[0]["href"]
    found = titles(visitor, "/?order=priority") + titles(visitor, onward)
    assert found == [t.id for t in sorted(made, key=lambda t: (t.priority, t.number))]


def test_oldest_first_is_the_other_way_round(house: PageHouse) -> None:
    """The order is the address's."""
    made = [house.add(f"{number}").id for number in range(3)]
    assert titles(house.visitor(), "/?order=oldest") == made


def test_the_head_says_why_nothing_is_dispatched(house: PageHouse) -> None:
    """A paused heartbeat's reason stands on top of the board."""
    house.beat("paused", "budget 'c8/cloud-lu' is paused by Carlos: too dear")
    text = house.visitor().read("/").text
    assert "Cloud Lu paused" in text
    assert "budget 'c8/cloud-lu' is paused by Carlos: too dear" in text
    assert "next cycle in 30 min, last just now, 48 cycles." in text


def test_a_dead_heartbeat_is_called_dead(house: PageHouse) -> None:
    """A lease that nobody renews is told, whatever the last report said."""
    house.beat("idle")
    house.later(5)
    text = house.visitor().read("/").text
    assert "Cloud Lu dead" in text
    assert "its lease ran out 4 min ago" in text


def test_the_live_part_is_a_part_of_the_same_page(house: PageHouse) -> None:
    """Asked for a fragment, the page answers with its live regions and nothing around them."""
    house.add("now")
    visitor = house.visitor()
    whole, part = visitor.get("/").text, visitor.get("/?fragment=live").text
    assert "<html" not in part
    assert 'id="live-rows"' in part
    assert part.strip() in whole


def test_what_people_wrote_is_shown_and_never_used(house: PageHouse) -> None:
    """Markup in titles, labels, names and errors is text."""
    label = HOSTILE.replace('"', "")
    house.add(f"[{HOSTILE}] {HOSTILE}", labels=(label[:64],), assignee=HOSTILE)
    board = house.workspace.board
    board.fail(house.running(title=HOSTILE).id, 1, AGENT, HOSTILE)
    house.beat("error", HOSTILE, name=HOSTILE)
    answer = house.visitor().get(f"/?text={quote(HOSTILE)}&label=&agent={quote(HOSTILE)}")
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    page = house.visitor().read("/")
    assert page.text.count("<script>alert('x')</script>") >= 4
    assert "&amp;" in page.text
