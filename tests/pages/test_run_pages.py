"""The runs in pages, and the statement of one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.ledger.store import Store
from earmark.money import Money
from earmark.runs import journals
from earmark.runs.statement import Statement
from earmark.runs.statement_line import LineOutcome
from support.page_house import HOSTILE, PageHouse, page_house
from support.written_runs import line, record, statement_of


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageHouse]:
    """A service on books in memory, and on a file."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/books.db"
    with page_house(store) as opened:
        yield opened


def test_runs_are_listed_newest_first(house: PageHouse) -> None:
    """Each run has its state and a link to its statement."""
    assert "No composition ran yet" in house.visitor().read("/runs").text
    house.write_run(record("aaaa", 1))
    house.write_run(record("bbbb", 2), [], statement_of("bbbb"))
    house.write_run(record("cccc", 3, alive_until=house.clock.instant()))
    page = house.visitor().read("/runs")
    assert [a["href"] for a in page.all("a") if a["href"].startswith("/runs/")] == [
        "/runs/cccc", "/runs/bbbb", "/runs/aaaa",
    ]  # fmt: skip
    assert "bbbb ok" in page.text
    assert "aaaa running" in page.text
    assert "cccc interrupted" in page.text


def test_a_statement_is_shown_line_by_line(house: PageHouse) -> None:
    """Every attempt is a line with its hold and what it settled, and the totals stand above."""
    cost = {"hold": Money("0.2"), "settled": Money("0.1"), "key": "k1", "state": "settled"}
    lines = [
        line(1, **cost),
        line(2, outcome=LineOutcome.FAILED, detail="it broke", key="k2", state="presumed",
             hold=Money("0.3"), settled=Money("0.3")),
    ]  # fmt: skip
    house.write_run(record("cccc"), [], statement_of("cccc", *lines))
    page = house.visitor().read("/runs/cccc")
    assert "Spent 0.1 USD Of 1 USD Still held 0 USD" in page.text
    assert "Of it presumed 0.3 USD: what it cost is not known" in page.text
    assert "work /stages/1 ok 0.2 USD 0.1 USD" in page.text
    assert "it broke failed presumed 0.3 USD 0.3 USD" in page.text
    assert page.all("a", href="/budgets/acme/run-cccc?key=k1")


def test_a_line_leads_to_its_entries(house: PageHouse) -> None:
    """A key has slashes and a hash in it, and the link names all of it."""
    key, path = "hhhh:/stages/1#1", "acme/run-hhhh"
    house.workspace.ledger.set_budget(path, limits=["1 usd total"])
    for each in (key, "another"):
        house.workspace.ledger.reserve(path, "0.2", key=each)
    cost = {"hold": Money("0.2"), "settled": Money("0.1"), "key": key, "state": "settled"}
    house.write_run(record("hhhh"), [line(1, **cost)])
    visitor = house.visitor()
    links = [each["href"] for each in visitor.read("/runs/hhhh").all("a")]
    link, unwritten = [each for each in links if "key=" in each]
    assert "another" in unwritten
    entries = visitor.read(link)
    assert f"Entries of {key}" in entries.text
    assert "Latest entries" not in entries.text


def test_a_running_run_says_what_the_books_say(house: PageHouse) -> None:
    """Without a statement, spent and held are the run's budget as it stands."""
    house.workspace.ledger.set_budget("acme/run-dddd", limits=["1 usd total"])
    house.workspace.ledger.reserve("acme/run-dddd", "0.25", key="k")
    house.write_run(record("dddd"), [line(1)])
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
    house.write_run(record("eeee"), [], end)
    answer = house.visitor().get("/runs/eeee")
    assert "<script>alert" not in answer.text
    text = house.visitor().checked(answer).text
    assert text.count("<script>alert('x')</script>") == 3
    assert "the ledger has 0.05 USD that no line explains" in text


def test_runs_have_pages(house: PageHouse) -> None:
    """Every run is on one page, the newest first, those of one moment too."""
    for number in range(120):
        house.write_run(record(f"{number:04}", number // 3))
    visitor, address, seen, pages = house.visitor(), "/runs", list[str](), 0
    while address:
        page = visitor.read(address)
        hrefs = [a["href"] for a in page.all("a")]
        seen += [href[6:] for href in hrefs if href.startswith("/runs/")]
        assert ("/runs" in hrefs[-2:]) == bool(pages), "all but the first lead back to it"
        nexts = page.all("a", rel="next")
        address, pages = (nexts[0]["href"] if nexts else ""), pages + 1
    assert (seen, pages) == ([f"{number:04}" for number in reversed(range(120))], 3)
    assert "start without one" in visitor.read("/runs?after=nonsense", 400).text


def test_the_api_lists_the_same_runs(house: PageHouse) -> None:
    """Also those in memory; its cursor goes on where a page ended."""
    for number in range(3):
        house.write_run(record(f"{number:04}", 1))
    client = house.visitor().client
    first = client.get("/v1/runs?limit=2").json()
    rest = client.get("/v1/runs", params={"limit": 2, "cursor": first["next"]}).json()
    found = [each["run_id"] for page in (first, rest) for each in page["items"]]
    assert (found, rest["next"]) == (["0002", "0001", "0000"], None)


def test_reading_a_run_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many look at runs, the service has the connections that it began with."""
    with page_house(f"sqlite:///{tmp_path}/books.db") as house:
        house.write_run(record("gggg"))

        def opened(store: Store) -> None:
            raise AssertionError(f"{store.name} was opened once more")

        monkeypatch.setitem(vars(journals), "open_tables", opened)
        visitor = house.visitor()
        for address in ("/runs", "/runs/gggg", "/v1/runs", "/v1/runs/gggg"):
            assert visitor.get(address).status_code == 200, address
