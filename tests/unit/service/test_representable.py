"""Over HTTP too, amounts that no store can add up are refused alone, and all else goes on."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from earmark.clock import NANOS_PER_SECOND
from earmark.ledger.values import AS_HELD, Amounts, Reserve, Settle
from earmark.money import LARGEST_NANOS, LARGEST_SUM
from earmark.service.readiness import FRESH_S
from earmark.stores.open import open_ledger
from earmark.stores.totals import read_totals
from support.ledger_books import STORES, tamper
from support.postgres_session import recycle
from support.service_house import House, house

LARGEST = "9007199.254740991"


@pytest.fixture(params=list(STORES))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A service on each store."""
    with house(STORES[request.param](tmp_path)) as found:
        yield found
    recycle(tmp_path)


def test_settlements_that_no_store_can_add_up_are_refused_alone(opened: House) -> None:
    """400 for the one; everybody else goes on, deadlines pass, and the service is ready."""
    store, nearly = (
        opened.workspace.ledger.store,
        Amounts(LARGEST_SUM - LARGEST_NANOS, AS_HELD, None),
    )
    for path in ("acme", "other"):
        opened.budget(path)
    for day in range(2):
        opened.clock.advance(timedelta(days=day))
        for key in ("first", "full", "over", "held"):
            path = "other" if key == "held" else "acme"
            body = {"budget": path, "amount": "0", "key": f"{key}{day}", "deadline": "10min"}
            opened.ok("post", "/v1/reservations", json=body)
        store.apply([Settle(f"first{day}", nearly)], opened.clock.instant())
    opened.ok("post", "/v1/reservations/full1/settle", json={"amount": LARGEST})
    problem = opened.no(
        400, "post", "/v1/reservations/over1/settle", json={"amount": "0.000000001"}
    )
    assert problem["code"] == "invalid_amount"
    opened.clock.advance(timedelta(minutes=10))
    found = opened.ok("get", "/v1/reservations?state=presumed")["items"]
    assert {"over1", "held1"} <= {each["key"] for each in found}
    assert opened.ask("get", "/readyz", scope=None).status_code == 200
    assert opened.workspace.ledger.audit().ok
    # Counters add intervals up, and come to more than an account can.
    total = 2 * LARGEST_SUM - LARGEST_NANOS
    assert (
        read_totals(opened.workspace.ledger.store, opened.workspace.tables).settled[
            "acme", "usd", "day"
        ]
        == total
    )
    assert (
        read_totals(opened.workspace.ledger.store, opened.workspace.tables).overrun["acme"] == total
    )
    assert opened.ask("get", "/metrics").status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"budget": "acme", "amount": "1", "deadline": "11years"}),
        ("", {"budget": "acme", "amount": "1", "deadline": "4000d"}),
        ("", {"budget": "acme", "amount": "9007199.254740992"}),
        ("", {"budget": "acme", "amount": "1", "units": {"calls": 2**53}}),
        ("", {"budget": "acme", "amount": "1", "units": {"tokens": 2**63}}),
        ("/k/extend", {"amount": LARGEST}),
        ("/k/settle", {"amount": "9007199.254740992"}),
        ("/k/settle", {"amount": "1", "units": {"tokens": 2**64}}),
    ],
)
def test_amounts_and_deadlines_beyond_all_numbers_are_refused(
    opened: House, path: str, body: dict[str, object]
) -> None:
    """400, and nothing is changed."""
    opened.budget("acme", "4611686018 usd per day", f"{LARGEST_NANOS} calls per day")
    held = {"budget": "acme", "amount": "1", "key": "k"}
    before = opened.ok("post", "/v1/reservations", json=held)
    opened.no(400, "post", f"/v1/reservations{path}", json=body)
    assert before.pop("repeated") is False, "only who makes it is told so"
    assert opened.ok("get", "/v1/reservations/k") == before
    assert opened.workspace.ledger.audit().entries == 2


def test_counters_count_of_what_is_presumed_what_its_account_counts(opened: House) -> None:
    """A limit that was set after a hold was opened counts what was added to it."""
    opened.budget("acme", "10 usd per day")
    ledger = opened.workspace.ledger
    ledger.reserve("acme", 3, key="k")
    opened.budget("acme", "10 usd per day", "5 usd total")
    ledger.extend("k", 1)
    ledger.presume("k")
    presumed = read_totals(opened.workspace.ledger.store, opened.workspace.tables).presumed
    assert [presumed["acme", "usd", window] for window in ("day", "total")] == [4 * 10**9, 10**9]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_store_that_cannot_presume_what_is_due_is_not_ready(tmp_path: Path, store: str) -> None:
    """Its books contradict themselves: no operation is possible, so it says so."""
    with house(STORES[store](tmp_path)) as opened:
        opened.budget("acme")
        opened.workspace.ledger.reserve("acme", 1, deadline="1h")
        assert opened.ask("get", "/readyz", scope=None).status_code == 200
        tamper(opened.workspace.ledger, "UPDATE account SET held = 0")
        with open_ledger(opened.workspace.ledger.store.url, clock=opened.clock) as other:
            # Whoever changes the books adds an entry: by that the rows are read again.
            other.set_budget("other", limits=["1 usd per day"])
        opened.clock.advance(timedelta(hours=1, seconds=FRESH_S))
        answer = opened.ask("get", "/readyz", scope=None)
        assert (answer.status_code, answer.json()["status"]) == (503, "fail")
        (check,) = answer.json()["checks"]["store"]
        # A server's own constraint may find it before the rules do.
        assert check["code"] in {"store_corrupt", "store_error", "store_unavailable"}
    recycle(tmp_path)


def test_a_label_that_no_answer_can_hold_is_refused_and_one_that_is_there_is_shown(
    opened: House,
) -> None:
    """Half a character in a label's name opens nothing; where a store has one, answers go on."""
    opened.budget("acme")
    body = {"budget": "acme", "amount": "0.001", "key": "k", "labels": {"\ud800": "b"}}
    text = json.dumps(body)
    problem = opened.no(
        400, "post", "/v1/reservations", content=text, headers={"content-type": "application/json"}
    )
    assert "label" in problem["detail"]
    assert opened.ok("get", "/v1/reservations?state=open")["items"] == []
    # As a program of before wrote it.
    store = opened.workspace.ledger.store
    labels = json.dumps({"\ud800": "b"})
    store.apply(
        [Reserve("old", "acme", Amounts(1), 3600 * NANOS_PER_SECOND, labels=labels)],
        opened.clock.instant(),
    )
    (item,) = opened.ok("get", "/v1/reservations?state=open")["items"]
    assert item["labels"] == {"?": "b"}
    assert opened.ok("get", "/v1/reservations/old")["labels"] == {"?": "b"}
