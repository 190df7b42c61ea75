"""Addresses that lead nowhere, books that are gone, errors that nobody foresaw: each a page."""

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from earmark.board.rules import DESTRUCTIVE
from earmark.config.settings import ServiceSettings
from earmark.nudges.nudges import Nudge, Nudges
from earmark.service.context import Service
from support.ledger_books import STORES
from support.page_house import PageHouse, Visitor, page_house


def test_a_browser_that_is_lost_gets_a_page(house: PageHouse) -> None:
    """An address that leads nowhere is a page for people and a document for programs."""
    page = house.visitor("read", "AG Lu").read("/nowhere", 404)
    assert "There is no such page" in page.text
    assert "Look at the address again" in page.text
    assert "AG Lu" in page.text, "nobody was logged out"
    assert page.all("a", href="/")
    document = house.visitor().client.get("/nowhere", headers={"accept": "application/json"})
    assert document.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("address", ["/", "/budgets", "/runs", "/nudges", "/agents"])
def test_books_that_cannot_be_read_are_a_page(tmp_path: Path, address: str) -> None:
    """When the store is gone every page says so, names no file, and says when to come again."""
    file = tmp_path / "books.db"
    with page_house(f"sqlite:///{file}") as house:
        house.workspace.tables.close()
        house.workspace.ledger.close()
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
    assert house.workspace.board.find() == []


class Broken(Nudges):
    """Nudges with a mistake in them."""

    def find(self, **wanted: object) -> list[Nudge]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fail as nobody foresaw."""
        raise KeyError("the secret innards", wanted)


def test_an_error_that_nobody_foresaw_is_a_page(house: PageHouse) -> None:
    """It says so and what to do, and nothing of what broke; a program gets a document."""
    workspace = replace(house.workspace, nudges=Broken(house.workspace.tables, house.clock))
    house.app.state.service = Service.on(
        workspace,
        ServiceSettings(open_reads=True),
        house.clock,
        agent=None,
        approval_for=DESTRUCTIVE,
    )
    client = TestClient(house.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    visitor = Visitor(client)
    answer = visitor.get("/nudges")
    page = visitor.checked(answer)
    assert (answer.status_code, "Something broke" in page.text) == (500, True)
    assert page.all("a", href="/nudges"), "the way to try again"
    document = client.get("/nudges")
    assert document.headers["content-type"] == "application/problem+json"
    assert "innards" not in answer.text + document.text


def test_a_page_that_takes_no_form_says_what_it_takes(house: PageHouse) -> None:
    """405 with `Allow`, for people as for programs."""
    client = house.visitor().client
    for accept in ("text/html", "application/json"):
        answer = client.post("/runs", headers={"accept": accept})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("store", STORES)
def test_a_zero_is_looked_for_nowhere(store: str, tmp_path: Path) -> None:
    """A text that no database keeps is bad input on every store, and not a store that is gone."""
    with page_house(STORES[store](tmp_path)) as house:
        admin = house.visitor("admin")
        for address in ("/budgets?after=%00", "/budgets/c8?key=%00", "/runs/%00", "/?text=%00"):
            assert admin.get(address).status_code == 400, address
        for address, name in (("/nudges/ack", "id"), ("/agents/switch", "agent")):
            assert admin.send(address, **{name: "\0"}).status_code == 400, address
