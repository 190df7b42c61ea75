"""Remote stages of a graph go through the guard: priced, reserved, and settled to their report."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from earmark.composition.ast import Parallel, RemoteStage, Retry, Sequential, Stage
from earmark.composition.types import ANY, TEXT
from earmark.errors import BudgetExceeded, CheckFailed, StageFailed
from earmark.money import Money
from earmark.stages.kinds.remote import remote_stage
from support.stub_server import Scene, StubServer


@pytest.fixture
def server() -> Iterator[StubServer]:
    """A remote that plays scenes."""
    with StubServer() as made:
        yield made


def answer(output: Any, **data: Any) -> Scene:
    """Return a success."""
    return Scene(body=json.dumps({"ok": True, "data": {"output": output, **data}}).encode())


def node(server: StubServer, cost: str | None = "0.10") -> RemoteStage:
    """Return a node that calls the server."""
    price = None if cost is None else Money(cost)
    return RemoteStage(server.url, input=ANY, output=TEXT, cost=price)


def test_report_of_the_remote_is_settled(house: Any, server: StubServer) -> None:
    """What a remote says it spent replaces its hold; the hold was its budget."""
    server.play(answer("a", spent_usd="0.04"), answer("b", spent_cents=6))
    root = Sequential((node(server), node(server)))
    statement = house.run(root, "x")
    assert statement.output == "b"
    assert [line.settled for line in statement.lines] == [Money("0.04"), Money("0.06")]
    assert [each.body["input"] for each in server.requests] == ["x", "a"]
    assert [each.body["budget_usd"] for each in server.requests] == ["0.1", "0.1"]
    house.check(statement)


def test_remote_that_reports_nothing_costs_its_whole_hold(house: Any, server: StubServer) -> None:
    """Nobody knows what it spent, so all of it counts."""
    server.play(answer("a"))
    statement = house.run(node(server), "x")
    assert statement.lines[0].presumed
    assert statement.spent == Money("0.10")
    house.check(statement)


def test_remote_that_spent_more_is_booked_in_full(house: Any, server: StubServer) -> None:
    """A report above the hold is an overrun, shown as such."""
    server.play(answer("a", spent_usd="0.25"))
    statement = house.run(node(server), "x")
    assert (statement.spent, statement.overrun) == (Money("0.25"), Money("0.15"))
    house.check(statement)


def test_remote_without_a_price_is_refused_unless_allowed(house: Any, server: StubServer) -> None:
    """Without a declared cost it does not run; allowed by name it does, its report booked."""
    server.play(answer("a", spent_usd="0.03"))
    house.fail(CheckFailed, node(server, None), "x")
    assert server.requests == []
    statement = house.run(node(server, None), "x", allow=["network"])
    assert (statement.spent, statement.overrun) == (Money("0.03"), Money("0.03"))
    house.check(statement)


def test_remote_failure_is_repeated_and_each_attempt_paid(house: Any, server: StubServer) -> None:
    """A failed attempt keeps its hold unless the remote says what it spent."""
    server.play(
        Scene(status=500, body=b"oops"),
        Scene(status=429, body=b"later"),
        answer("done", spent_usd="0.01"),
    )
    statement = house.run(Retry(node(server), 5), "x")
    assert [line.state for line in statement.lines] == ["presumed", "released", "settled"]
    assert statement.spent == Money("0.11")
    house.check(statement)


def test_lost_connection_counts_as_spent(house: Any, server: StubServer) -> None:
    """A remote that goes silent after it was asked may have spent its budget."""
    server.play(Scene(dies="after"))
    error, statement = house.fail(StageFailed, node(server), "x")
    assert "no whole answer" in error.detail
    assert statement.spent == Money("0.10")
    house.check(statement)


def test_remote_that_does_not_fit_is_not_asked(house: Any, server: StubServer) -> None:
    """A remote stage is refused like any other, before the request is made."""
    root = Parallel({"a": node(server, "1.60"), "b": node(server, "0.60")})
    house.fail(BudgetExceeded, root, "x")
    assert server.requests == []


def test_remote_stage_of_the_library_is_called_by_name(house: Any, server: StubServer) -> None:
    """A remote can also be a named stage, declared once."""
    server.play(answer("named", spent_usd="0.02"))
    made = remote_stage("far", server.url, cost="0.05")
    statement = house.run(Stage("far"), {"a": 1}, stages=[made])
    assert (statement.output, statement.spent) == ("named", Money("0.02"))
    assert statement.lines[0].stage == "far"
