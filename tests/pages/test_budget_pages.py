"""Budgets: the tree with its bars, one budget with its burn-down, and the forms that change it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.service.pages.latest import latest_entries
from support.page_house import BUDGET, HOSTILE, PageHouse, Visitor, page_house


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageHouse]:
    """A service on books in memory, and on a file."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/books.db"
    with page_house(store) as opened:
        yield opened


def spend(house: PageHouse, key: str, amount: str, hold: str = "0.10") -> None:
    """Book a call."""
    house.workspace.ledger.reserve(BUDGET, hold, key=key)
    house.workspace.ledger.settle(key, amount)


def meters(visitor: Visitor, address: str) -> list[str]:
    """Return what the bars of a page say, in words."""
    return [each["aria-valuetext"] for each in visitor.read(address).all("div", role="meter")]


def test_every_limit_has_its_bar(house: PageHouse) -> None:
    """The tree shows settled, held and available of each limit, as a bar and in words."""
    spend(house, "a", "0.045864")
    house.workspace.ledger.reserve(BUDGET, "0.20", key="b")
    assert meters(house.visitor(), "/budgets") == [
        "0.045864 settled, 0.2 held, 9.754136 available of 10 usd per day (2 %)",
        "0.045864 settled, 0.2 held, 0.254136 available of 0.5 usd per 30min (49 %)",
        "1 settled, 1 held, 1 available of 3 calls per 30min (66 %)",
    ]


def test_a_change_of_a_budget_says_what_it_made(house: PageHouse) -> None:
    """Its entry names the limits and the fields that are not at their default."""
    ledger = house.workspace.ledger
    ledger.set_budget("new", limits=["3 calls total"], timezone="Asia/Tokyo")
    text = house.visitor().read("/budgets/new").text
    assert "limit 3 calls total; time zone Asia/Tokyo" in text


def test_a_pause_is_told_wherever_it_holds(house: PageHouse) -> None:
    """A paused budget is marked with its reason, and so is what lies below it."""
    house.workspace.ledger.pause("c8", actor="Carlos", reason="too dear")
    text = house.visitor().read("/budgets").text
    assert text.count("paused") == 2
    assert "c8/cloud-lu paused through c8 too dear" in text
    below = house.visitor().read(f"/budgets/{BUDGET}").text
    assert "paused by a pause of c8 by Carlos: too dear" in below


def test_the_budgets_of_runs_are_shown_on_demand(house: PageHouse) -> None:
    """Thousands of runs do not hide the budgets that people set."""
    run = f"{BUDGET}/run-0123456789abcdef"
    house.workspace.ledger.set_budget(run, limits=["1 usd total"], kind="run")
    visitor = house.visitor()
    assert run not in visitor.read("/budgets").text
    assert run in visitor.read("/budgets?runs=all").text
    assert "1 usd total" in visitor.read(f"/budgets/{run}").text


def test_many_budgets_have_pages(house: PageHouse) -> None:
    """The tree goes on where the page before ended."""
    for number in range(120):
        house.workspace.ledger.set_budget(f"team-{number:03}", limits=["1 usd per day"])
    visitor = house.visitor()
    first = visitor.read("/budgets")
    onward = first.all("a", rel="next")[0]["href"]
    pages = (first, visitor.read(onward))
    paths = [a["id"] for page in pages for a in page.all("a") if a.get("id", "").startswith("to-")]
    assert len(paths) == len(set(paths)) == 122


def test_a_budget_s_page_has_chart_table_and_forecast(house: PageHouse) -> None:
    """Each limit has its burn-down: a picture with a sentence, and the same as a table."""
    house.later(3)
    spend(house, "a", "0.045864")
    house.later(6)
    page = house.visitor().read(f"/budgets/{BUDGET}")
    pictures = page.all("svg", role="img")
    assert [each["aria-labelledby"] for each in pictures] == [
        "burn-usd-30min-words", "burn-calls-30min-words",
    ]  # fmt: skip
    assert "At this rate about 0.347 usd will be left when the window ends" in page.text
    assert "the limit is used up about 2026-11-22 12:27:00 UTC (in 18 min)" in page.text
    assert "a straight line through 9 min with 1 settlement; a forecast, not a promise" in page.text
    assert "2026-11-22 12:09:00 UTC 0.045864 usd 0 usd 0.454136 usd" in page.text


def test_the_chart_is_drawn_from_the_entries(house: PageHouse) -> None:
    """The line falls where the settlement was, by what it was: 1/10 of the way, by a fifth."""
    house.later(3)
    spend(house, "a", "0.10")
    house.later(3)
    page = house.visitor().read(f"/budgets/{BUDGET}")
    assert page.all("path", class_="left")[0]["d"] == "M0 0H100V0H100V60H200V60"
    assert page.all("path", class_="ahead")[0]["d"] == "M200 60L1000 300"


def test_holds_and_entries_lead_to_each_other(house: PageHouse) -> None:
    """An open hold is listed with its deadline, and its link shows its entries alone."""
    spend(house, "a", "0.01")
    house.workspace.ledger.reserve(BUDGET, "0.02", key="b&c=1", deadline="10min")
    visitor = house.visitor()
    page = visitor.read(f"/budgets/{BUDGET}")
    assert "b&c=1 c8/cloud-lu 0.02 USD just now in 10 min" in page.text
    (link,) = {a["href"] for a in page.all("a") if "key=b" in a["href"]}
    listed = visitor.read(link).text
    assert "Entries of b&c=1" in listed
    assert "reserve 0.02 USD" in listed
    assert "settle" not in listed.partition("Entries of")[2].partition("Change")[0]


def test_pause_resume_and_extend_from_the_page(house: PageHouse) -> None:
    """The forms do what they say, under the name of who sends them."""
    admin, ledger = house.visitor("admin", "Carlos"), house.workspace.ledger
    answer = admin.send(f"/budgets/{BUDGET}/pause", reason="lunch", until="2h")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/budgets/{BUDGET}")
    pause = ledger.budgets(BUDGET)[0].paused
    assert pause is not None
    assert (pause.actor, pause.reason) == ("Carlos", "lunch")
    assert (
        "by Carlos, until 2026-11-22 14:00:00 UTC (in 2 h): lunch"
        in admin.read(f"/budgets/{BUDGET}").text
    )
    admin.send(f"/budgets/{BUDGET}/resume")
    assert ledger.budgets(BUDGET)[0].paused is None
    form = {"amount": "0.25", "limit": "0.5 usd per 30min", "until": "1d", "key": "once"}
    for _ in range(2):
        assert admin.send(f"/budgets/{BUDGET}/extend", **form).status_code == 303
    assert "0 settled, 0 held, 0.75 available of 0.75 usd per 30min (0 %)" in meters(
        admin, f"/budgets/{BUDGET}"
    )
    assert "Extended by 0.25 usd per 30min more until 2026-11-23 12:00:00 UTC, by Carlos" in (
        admin.read(f"/budgets/{BUDGET}").text
    )


@pytest.mark.parametrize(
    ("move", "wrong"),
    [
        ("pause", {"reason": "r", "until": "yesterday"}),
        ("pause", {"reason": "r", "until": "2020-01-01"}),
        ("extend", {"reason": "r", "amount": "-1", "limit": "0.5 usd per 30min", "until": "1h"}),
        ("extend", {"reason": "r", "amount": "1", "limit": "0.5 usd per 30min", "until": ""}),
        ("extend", {"reason": "r", "amount": "NaN", "limit": "", "until": "1h"}),
    ],
)
def test_a_wrong_form_is_refused_and_kept(
    house: PageHouse, move: str, wrong: dict[str, str]
) -> None:
    """What cannot be done is said on the page, with the status, and nothing typed is lost."""
    admin = house.visitor("admin")
    answer = admin.send(f"/budgets/{BUDGET}/{move}", **wrong)
    page = admin.checked(answer)
    assert answer.status_code == 400
    assert "Refused." in page.text
    assert page.all("input", name="reason", value="r")
    assert page.all("input", name="until", value=wrong["until"])
    assert house.workspace.ledger.budgets(BUDGET)[0].paused is None


def test_changing_a_budget_is_for_admins(house: PageHouse) -> None:
    """Who may only spend sees no form, and is refused if they send one."""
    spender = house.visitor("spend")
    assert "need a token with the scope admin" in spender.read(f"/budgets/{BUDGET}").text
    for move in ("pause", "resume", "extend"):
        assert spender.send(f"/budgets/{BUDGET}/{move}", reason="x").status_code == 403
    assert house.workspace.ledger.budgets(BUDGET)[0].paused is None


@pytest.mark.parametrize("path", ["nowhere", "c8/nowhere", "a//b", "..%2f..", "%3Cscript%3E"])
def test_a_budget_that_is_not_there_is_a_page(house: PageHouse, path: str) -> None:
    """Whatever the address, it is a 404 with a way on."""
    answer = house.visitor().get(f"/budgets/{path}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text.replace('<script type="module"', "")


def test_a_reason_is_shown_and_never_used(house: PageHouse) -> None:
    """Markup in names, reasons and keys is text."""
    ledger = house.workspace.ledger
    ledger.reserve(BUDGET, "0.01", key=HOSTILE)
    ledger.extend_budget(
        BUDGET,
        "1 usd per 30min",
        until=house.clock.now + timedelta(hours=1),
        actor=HOSTILE,
        reason=HOSTILE,
    )
    ledger.pause(BUDGET, actor=HOSTILE, reason=HOSTILE)
    for address in ("/budgets", f"/budgets/{BUDGET}"):
        answer = house.visitor().get(address)
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        assert "<script>alert('x')</script>" in house.visitor().checked(answer).text


def test_the_latest_entries_are_found_from_the_end(house: PageHouse) -> None:
    """Among the entries of a busy neighbour, a quiet budget's latest are found all the same."""
    ledger = house.workspace.ledger
    ledger.set_budget("busy", limits=["1000 usd per day"])
    for number in range(5):
        spend(house, f"quiet-{number}", "0.01")
        house.later(31)
    for number in range(400):
        ledger.release(ledger.reserve("busy", "1", key=f"busy-{number}").key)
    found = latest_entries(ledger, BUDGET, 4)
    assert [entry.key for entry in found] == ["quiet-3", "quiet-3", "quiet-4", "quiet-4"]
    assert latest_entries(ledger, "busy", 1)[0].key == "busy-399"
    assert latest_entries(ledger, BUDGET, 100, since=found[2].at) == found[2:]
