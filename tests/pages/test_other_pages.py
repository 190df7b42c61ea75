"""Runs, nudges, agents, and addresses that lead nowhere."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.board.task import Status, Task
from earmark.money import Money
from earmark.runs.journal import RunRecord
from earmark.runs.journals import journal_of
from earmark.runs.line import Line, Outcome
from earmark.runs.statement import Statement
from support.ledger_books import STORES
from support.page_house import AGENT, HOSTILE, PageHouse, page_house
from support.written_runs import line, record, statement_of


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageHouse]:
    """A service on books in memory, and on a file."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/books.db"
    with page_house(store) as opened:
        yield opened


def write(house: PageHouse, run: RunRecord, lines: list[Line], end: Statement | None) -> None:
    """Write a run into the journal."""

    async def written() -> None:
        journal = await journal_of(house.desk.ledger.as_async())
        await journal.start(run)
        await journal.record(run.run_id, lines)
        if end is not None:
            await journal.finish(end)
        await journal.aclose()

    asyncio.run(written())


# Runs ---------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(house: PageHouse) -> None:
    """Each run has its state and a link to its statement."""
    assert "No composition ran yet" in house.visitor().read("/runs").text
    write(house, record("aaaa", 1), [], None)
    write(house, record("bbbb", 2), [], statement_of("bbbb"))
    page = house.visitor().read("/runs")
    assert [a["href"] for a in page.all("a") if a["href"].startswith("/runs/")] == [
        "/runs/bbbb", "/runs/aaaa",
    ]  # fmt: skip
    assert "bbbb ok" in page.text
    assert "aaaa running" in page.text


def test_a_statement_is_shown_line_by_line(house: PageHouse) -> None:
    """Every attempt is a line with its hold and what it settled, and the totals stand above."""
    cost = {"hold": Money("0.2"), "settled": Money("0.1"), "key": "k1", "state": "settled"}
    lines = [
        line(1, **cost),
        line(2, outcome=Outcome.FAILED, detail="it broke", key="k2", state="presumed",
             hold=Money("0.3"), settled=Money("0.3")),
    ]  # fmt: skip
    write(house, record("cccc"), [], statement_of("cccc", *lines))
    page = house.visitor().read("/runs/cccc")
    assert "Spent 0.1 USD Of 1 USD Still held 0 USD" in page.text
    assert "Of it presumed 0.3 USD: what it cost is not known" in page.text
    assert "work /stages/1 ok 0.2 USD 0.1 USD" in page.text
    assert "it broke failed presumed 0.3 USD 0.3 USD" in page.text
    assert page.all("a", href="/budgets/acme/run-cccc?key=k1")


def test_a_running_run_says_what_the_books_say(house: PageHouse) -> None:
    """Without a statement, spent and held are the run's budget as it stands."""
    house.desk.ledger.set_budget("acme/run-dddd", limits=["1 usd total"])
    house.desk.ledger.reserve("acme/run-dddd", "0.25", key="k")
    write(house, record("dddd"), [line(1)], None)
    text = house.visitor().read("/runs/dddd").text
    assert "Spent 0 USD Of 1 USD Still held 0.25 USD" in text
    assert "running" in text


def test_a_run_that_failed_says_why(house: PageHouse) -> None:
    """The error and what is not accounted for are on top, as text."""
    end = Statement.from_json(
        {
            **statement_of("eeee").to_json(),
            "status": "failed",
            "error": {"code": "stage_failed", "message": HOSTILE},
            "unaccounted": "0.05",
            "output": HOSTILE,
            "warnings": [HOSTILE],
        }
    )
    write(house, record("eeee"), [], end)
    answer = house.visitor().get("/runs/eeee")
    assert "<script>alert" not in answer.text
    text = house.visitor().checked(answer).text
    assert text.count("<script>alert('x')</script>") == 3
    assert "the ledger has 0.05 USD that no line explains" in text


# Nudges -------------------------------------------------------------------------------------------


def nudge(house: PageHouse, number: int, title: str = "80 % of the day is spent") -> None:
    """Raise a nudge that two channels carry."""
    house.desk.nudges.raise_(
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
    house.desk.nudges.raise_(
        "threshold", id=HOSTILE, title=HOSTILE, recipient=HOSTILE, data={"x": HOSTILE},
        channels=[HOSTILE],
    )  # fmt: skip
    answer = house.visitor("spend").get("/nudges")
    assert "<script>alert" not in answer.text
    assert house.visitor().checked(answer).text.count("<script>alert('x')</script>") >= 4


def test_a_crossed_threshold_is_told_without_a_heartbeat(house: PageHouse) -> None:
    """The books' own alerts stand on the page, whether or not anybody collects nudges."""
    assert "None, on any budget." in house.visitor().read("/nudges").text
    house.desk.ledger.reserve("c8", "10", key="a")
    house.desk.ledger.settle("a", "9")
    text = house.visitor().read("/nudges").text
    assert "c8 80 % 10 usd per day 9 usd just now" in text


def test_acknowledging_needs_the_scope(house: PageHouse) -> None:
    """Who only reads sees no button, and is refused."""
    nudge(house, 1)
    reader = house.visitor("read")
    assert "Acknowledge" not in reader.read("/nudges").text.replace("Acknowledged", "")
    assert reader.send("/nudges/ack", id="c8/usd/day/1").status_code == 403
    assert house.desk.nudges.find(acked=False)


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
        "Kill switch cloud_lu_autonomous on",
    ):
        assert said in text


def test_the_kill_switch_is_on_the_page(house: PageHouse) -> None:
    """Anybody who may spend can stop an agent, and let it again, also against another patch."""
    house.beat()
    spender, quilt = house.visitor("spend", "AG Lu"), house.desk.quilt
    assert spender.send("/agents/switch", agent=AGENT, to="off").status_code == 303
    patch = quilt.get("control", "cloud_lu_autonomous")
    assert (patch.data, patch.author) == ({"enabled": False}, "AG Lu")
    quilt.put("other", "cloud_lu_autonomous", {"value": False}, author="VS Lu")
    assert "off: nothing is dispatched" in spender.read("/agents").text
    assert spender.send("/agents/switch", agent=AGENT, to="on").status_code == 303
    assert all(p.data == {"enabled": True} for p in quilt.named("cloud_lu_autonomous"))
    assert "Stop Cloud Lu from dispatching" in spender.read("/agents").text


def test_only_agents_that_there_are_have_a_switch(house: PageHouse) -> None:
    """The form writes no patch for a name that nobody runs under."""
    assert house.visitor("spend").send("/agents/switch", agent="", to="on").status_code == 404
    assert house.desk.quilt.find("control") == []


# Every store --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
def test_every_page_is_there_on_every_store(store: str, tmp_path: Path) -> None:
    """With a task in each state, a run, a nudge and a pause, every page is whole."""
    with page_house(STORES[store](tmp_path)) as house:
        tasks: list[Task] = []
        for status in sorted(Status, key=lambda each: each is Status.PENDING):
            tasks.append(house.in_state(status))
            house.later(31)
        write(house, record("ffff"), [line(1)], None)
        nudge(house, 1)
        house.beat("paused", "somebody paused it").desk.ledger.pause("c8", reason="lunch")
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
}


# Nowhere ------------------------------------------------------------------------------------------


def test_a_browser_that_is_lost_gets_a_page(house: PageHouse) -> None:
    """An address that leads nowhere is a page for people and a document for programs."""
    page = house.visitor().read("/nowhere", 404)
    assert "There is no such page" in page.text
    assert page.all("a", href="/")
    document = house.visitor().client.get("/nowhere", headers={"accept": "application/json"})
    assert document.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("address", ["/", "/budgets", "/runs", "/nudges", "/agents"])
def test_books_that_cannot_be_read_are_a_page(tmp_path: Path, address: str) -> None:
    """When the store is gone every page says so, names no file, and says when to come again."""
    file = tmp_path / "books.db"
    with page_house(f"sqlite:///{file}") as house:
        house.desk.tables.close()
        house.desk.ledger.close()
        file.unlink()
        visitor = house.visitor()
        answer = visitor.get(address)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "try again in a moment" in visitor.checked(answer).text
        assert "books.db" not in answer.text


def test_an_absurd_form_is_refused(house: PageHouse) -> None:
    """Two megabytes are no task, and nothing of them is kept."""
    answer = house.visitor("admin").send("/tasks/new", title="x", description="y" * 2_000_000)
    assert answer.status_code == 413
    assert house.desk.board.find() == []
