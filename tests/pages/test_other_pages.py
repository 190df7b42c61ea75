"""Nudges and agents, and every page on every store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.board.task import Task, TaskStatus
from support.ledger_books import STORES
from support.page_house import AGENT, HOSTILE, PageHouse, page_house
from support.written_runs import line, record


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageHouse]:
    """A service on books in memory, and on a file."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/books.db"
    with page_house(store) as opened:
        yield opened


# Nudges -------------------------------------------------------------------------------------------


def nudge(house: PageHouse, number: int, title: str = "80 % of the day is spent") -> None:
    """Raise a nudge that two channels carry."""
    house.workspace.nudges.raise_(
        "threshold", id=f"c8/usd/day/{number}", budget="c8", title=title, data={"settled": "8"},
        channels=["chat", "hook"],
    )  # fmt: skip


def test_a_nudge_waits_until_somebody_acknowledges_it(house: PageHouse) -> None:
    """The list shows what nobody has seen; acknowledging moves it to the others."""
    nudge(house, 1)
    spender = house.visitor("spend", "AG Lu")
    page = spender.read("/nudges")
    assert "80 % of the day is spent" in page.text
    assert "chat waiting" in page.text
    answer = spender.send("/nudges/ack", id=page.field("id")["value"], back="/nudges")
    assert (answer.status_code, answer.headers["location"]) == (303, "/nudges")
    assert "Nothing waits to be acknowledged." in spender.read("/nudges").text
    assert "just now by AG Lu" in spender.read("/nudges?show=all").text


def test_nudges_have_pages(house: PageHouse) -> None:
    """Every nudge is on one page, the newest first."""
    for number in range(60):
        nudge(house, number, f"nudge {number}.")
    visitor = house.visitor()
    first = visitor.read("/nudges")
    second = visitor.read(first.all("a", rel="next")[0]["href"])
    assert "nudge 59." in first.text
    assert "nudge 10." in first.text
    assert "nudge 9." not in first.text
    assert "nudge 9." in second.text
    assert "nudge 0." in second.text


def test_a_nudge_s_words_are_shown_and_never_used(house: PageHouse) -> None:
    """Markup in a title, a recipient or data is text."""
    house.workspace.nudges.raise_(
        "threshold", id=HOSTILE, title=HOSTILE, recipient=HOSTILE, data={"x": HOSTILE},
        channels=[HOSTILE],
    )  # fmt: skip
    answer = house.visitor("spend").get("/nudges")
    assert "<script>alert" not in answer.text
    assert house.visitor().checked(answer).text.count("<script>alert('x')</script>") >= 4


def test_a_crossed_threshold_is_told_without_a_heartbeat(house: PageHouse) -> None:
    """The books' own alerts stand on the page, whether or not anybody collects nudges."""
    assert "None, on any budget." in house.visitor().read("/nudges").text
    house.workspace.ledger.reserve("c8", "10", key="a")
    house.workspace.ledger.settle("a", "9")
    text = house.visitor().read("/nudges").text
    assert "c8 80 % 10 usd per day 9 usd just now" in text


def test_acknowledging_needs_the_scope(house: PageHouse) -> None:
    """Who only reads sees no button, and is refused."""
    nudge(house, 1)
    reader = house.visitor("read")
    assert "Acknowledge" not in reader.read("/nudges").text.replace("Acknowledged", "")
    assert reader.send("/nudges/ack", id="c8/usd/day/1").status_code == 403
    assert house.workspace.nudges.find(acked=False)


# Agents -------------------------------------------------------------------------------------------


def test_an_agent_says_how_it_is(house: PageHouse) -> None:
    """State, reason, cycles and kill switch of each heartbeat."""
    house.beat("at_cap", "0.02 of 0.50 usd per 30min available")
    text = house.visitor().read("/agents").text
    for said in (
        "Cloud Lu at the cap",
        "0.02 of 0.50 usd per 30min available",
        "Next cycle in 30 min",
        "Cycles 48, each 30 min",
        "Kill switch cloud_lu_autonomous not thrown",
    ):
        assert said in text


def test_the_kill_switch_is_on_the_page(house: PageHouse) -> None:
    """Anybody who may spend can stop an agent; an admin lets it again, by every patch of it."""
    house.beat()
    spender, quilt = house.visitor("spend", "AG Lu"), house.workspace.quilt
    assert spender.send("/agents/switch", agent=AGENT, to="off").status_code == 303
    patch = quilt.get("control", "cloud_lu_autonomous")
    assert (patch.data, patch.author) == ({"enabled": False}, "AG Lu")
    quilt.put("other", "cloud_lu_autonomous", {"value": False}, author="VS Lu")
    page = spender.read("/agents")
    assert "thrown: nothing is dispatched" in page.text
    assert "needs a token with the scope admin" in page.text
    admin = house.visitor("admin")
    assert "Let Cloud Lu dispatch again" in admin.read("/agents").text
    assert admin.send("/agents/switch", agent=AGENT, to="on").status_code == 303
    assert all(p.data == {"enabled": True} for p in quilt.named("cloud_lu_autonomous"))
    assert "Stop Cloud Lu from dispatching" in spender.read("/agents").text


def test_who_may_only_spend_lets_nobody_dispatch_again(house: PageHouse) -> None:
    """As over the API: patches that steer heartbeats take the scope admin."""
    house.beat()
    house.workspace.quilt.put("control", "cloud_lu_autonomous", {"enabled": False}, author="Carlos")
    answer = house.visitor("spend").send("/agents/switch", agent=AGENT, to="on")
    assert answer.status_code == 403
    assert house.workspace.quilt.get("control", "cloud_lu_autonomous").version == 1


def test_only_agents_that_there_are_have_a_switch(house: PageHouse) -> None:
    """The form writes no patch for a name that nobody runs under."""
    assert house.visitor("spend").send("/agents/switch", agent="", to="off").status_code == 404
    assert house.workspace.quilt.find("control") == []


# Every store --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_every_page_is_there_on_every_store(store: str, tmp_path: Path) -> None:
    """With a task in each state, a run, a nudge and a pause, every page is whole."""
    with page_house(STORES[store](tmp_path)) as house:
        tasks: list[Task] = []
        for status in sorted(TaskStatus, key=lambda each: each is TaskStatus.PENDING):
            tasks.append(house.in_state(status))
            house.later(31)
        house.write_run(record("ffff"), [line(1)])
        nudge(house, 1)
        house.beat("paused", "somebody paused it").workspace.ledger.pause("c8", reason="lunch")
        admin = house.visitor("admin")
        for task in tasks:
            assert task.status in admin.read(f"/tasks/{task.id}").text
        for address, said in SAID.items():
            assert said in admin.read(address).text, address


SAID = {
    "/": "pending 1 claimed 1 running 1 completed 1 failed 1 unknown 1 graded 1 accepted 1",
    "/?order=priority&status=graded": "65 % fail",
    "/?text=BUDGET%20Tracker&label=&type=consult": "Persistent budget tracker",
    "/budgets": "c8/cloud-lu paused through c8 lunch",
    "/budgets/c8": "presume 0.1 USD c8/cloud-lu",
    "/budgets/c8/cloud-lu": "a pause of c8",
    "/runs": "ffff running",
    "/runs/ffff": "work /stages/1 ok",
    "/nudges": "80 % of the day is spent",
    "/agents": "somebody paused it",
    "/tokens": "No token of the gateway was made",
}
