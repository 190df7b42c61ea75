"""Sessions of the gateway and of `earmark exec`, in pages, and the statement of one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from earmark.stores import memory, sqlite_rows, tables_sqlite
from earmark.workspace.session_statement import read_calls
from support.last_resort import LAST_RESORT_S
from support.page_house import HOSTILE, PageHouse, page_house

EXEC = "acme/exec-1"
#: Whoever waits for the page waits forever: its query goes on after they were answered.
PATIENCE_S = LAST_RESORT_S


@pytest.fixture(params=["memory", "sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageHouse]:
    """A service on books in memory, and on a file."""
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/books.db"
    with page_house(store) as opened:
        opened.workspace.ledger.set_budget("acme", limits=["100 usd total"])
        yield opened


def call(house: PageHouse, path: str, key: str, model: str, settled: str = "") -> None:
    """Let a session call a model for a hold of a quarter; it is under way without a cost."""
    ledger = house.workspace.ledger
    ledger.reserve(path, "0.25", key=key, labels={"model": model})
    if settled:
        ledger.settle(key, settled)


def test_sessions_are_listed_with_what_they_settled_held_and_have_left(house: PageHouse) -> None:
    """Also those without a limit of their own; no other budget is among them."""
    assert "No session yet" in house.visitor().read("/sessions").text
    ledger = house.workspace.ledger
    ledger.set_budget(EXEC, limits=["2 usd total"], kind="session")
    ledger.set_budget("acme/session-2", kind="session")
    ledger.set_budget("acme/run-3", kind="run")
    call(house, EXEC, "k1", "openai/a", "0.1")
    call(house, EXEC, "k2", "openai/a")
    call(house, "acme/session-2", "k3", "openai/b", "0.2")
    call(house, "acme", "k4", "openai/b", "9")
    ledger.release(ledger.reserve(EXEC, "0.5", key="k5").key)
    page = house.visitor().read("/sessions")
    assert f"{EXEC} 3 0.1 USD 0.25 USD 1.65 USD" in page.text
    assert "acme/session-2 1 0.2 USD 0 USD 90.45 USD" in page.text
    assert "acme/run-3" not in page.text
    assert house.visitor().read("/runs").all("a", href="/sessions")


def test_a_session_has_a_bar_and_a_statement_by_model(house: PageHouse) -> None:
    """Live: what changes with the books is in the part that is fetched again."""
    ledger = house.workspace.ledger
    ledger.set_budget(EXEC, limits=["2 usd total"], kind="session")
    for number, cost in enumerate(("0.1", "0.2", "")):
        call(house, EXEC, f"a{number}", "openai/a", cost)
    call(house, EXEC, "b", HOSTILE, "0.05")
    visitor = house.visitor()
    assert "<script>alert" not in visitor.get(f"/sessions/{EXEC}").text
    page = visitor.read(f"/sessions/{EXEC}")
    assert page.all("div", role="meter")
    assert page.all("div", **{"data-live": "ledger reset"})
    assert "0.35 settled · 0.25 held · 1.4 available" in page.text
    assert "openai/a 3 0 0.25 USD 0.3 USD" in page.text
    ledger.settle("a2", "0.15")
    live = visitor.get(f"/sessions/{EXEC}?fragment=live").text
    assert "openai/a" in live
    assert "0.25 USD held" not in live
    assert "4 calls, 0.5 USD settled, 0 USD held" in live


def test_only_a_session_has_such_a_page(house: PageHouse) -> None:
    """What a person or a run made has its own; what is not there has none."""
    for path in ("acme", "acme/none", "a b"):
        house.visitor().read(f"/sessions/{path}", 404)


def test_sessions_have_pages(house: PageHouse) -> None:
    """Every one is on one page, by path."""
    for number in range(120):
        house.workspace.ledger.set_budget(f"acme/session-{number:03}", kind="session")
    visitor, address, seen = house.visitor(), "/sessions", list[str]()
    while address:
        page = visitor.read(address)
        seen += [a["href"][10:] for a in page.all("a") if a["href"].startswith("/sessions/")]
        nexts = page.all("a", rel="next")
        address = nexts[0]["href"] if nexts else ""
    assert seen == [f"acme/session-{number:03}" for number in range(120)]


@pytest.mark.parametrize("address", ["/sessions", f"/sessions/{EXEC}"])
def test_nobody_waits_for_a_session_page(
    house: PageHouse, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its query is under way a token is checked, a budget read and an amount held."""
    ledger, begun, gate = house.workspace.ledger, threading.Event(), threading.Event()
    ledger.set_budget(EXEC, kind="session")
    call(house, EXEC, "k1", "openai/a", "0.1")
    secret = house.token("read")

    def held_open(query: Callable[..., Any]) -> Callable[..., Any]:
        def run(*values: Any) -> Any:
            if query is not in_tables or "reservation WHERE budget IN" in values[0]:
                begun.set()
                assert gate.wait(LAST_RESORT_S)
            return query(*values)

        return run

    in_tables = vars(tables_sqlite)["_in_main"]
    for module, name in (
        (tables_sqlite, "_in_main"),
        (sqlite_rows, "reservation"),
        (memory, "_matches"),
    ):
        monkeypatch.setitem(vars(module), name, held_open(vars(module)[name]))
    with ThreadPoolExecutor(2) as threads:
        page = threads.submit(house.visitor().read, address)
        try:
            assert begun.wait(LAST_RESORT_S)
            assert threads.submit(house.tokens.check, secret).result(PATIENCE_S) is not None
            assert threads.submit(ledger.store.budget, EXEC).result(PATIENCE_S) is not None
            assert threads.submit(ledger.reserve, EXEC, "0.25").result(PATIENCE_S)
        finally:
            gate.set()
        assert EXEC in page.result(LAST_RESORT_S).text


def test_a_statement_reads_nothing_from_before_its_session(
    house: PageHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins where the budget was made, and one page that is not full is the last."""
    ledger = house.workspace.ledger
    for number in range(3):
        call(house, "acme", f"before{number}", "openai/a", "1")
    before = ledger.entries()[-1].seq
    ledger.set_budget(EXEC, kind="session")
    assert house.workspace.budgets.number_before(EXEC) == before
    assert house.workspace.budgets.number_before("acme/none") == 0
    for number in range(4):
        call(house, EXEC, f"k{number}", f"openai/{number % 2}", "0.1" if number else "")
    holds, asked = ledger.holds, list[int]()

    def noted(*values: Any, after: int, **more: Any) -> Any:
        asked.append(after)
        return holds(*values, after=after, **more)

    monkeypatch.setitem(vars(ledger), "holds", noted)
    found = read_calls(ledger, EXEC, after=before)
    assert {model: (each.calls, str(each.settled)) for model, each in found.items()} == {
        "openai/0": (2, "0.1"),
        "openai/1": (2, "0.2"),
    }
    assert asked == [before]
