"""`Idempotency-Key`: what is sent again is answered again, and done once, whoever died between."""

# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from earmark.service.idempotency import KEPT_S, LEASE_S
from earmark.stores.tables import Rows
from support.last_resort import LAST_RESORT_S
from support.ledger_books import DURABLE, STORES
from support.postgres_session import recycle
from support.service_house import House
from support.service_house import house as open_house

T = TypeVar("T")

RESERVE = ("post", "/v1/reservations")
RESERVE_OF_TWO = ("/v1/reservations", {"budget": "acme", "amount": "2"})
BODY = {"budget": "acme", "amount": "1"}


def held(house: House) -> str:
    """Return what is held on `acme`."""
    (balance,) = house.workspace.ledger.balances("acme")
    return str(balance.held)


def kept(house: House) -> list[tuple[Any, ...]]:
    """Return the rows of kept answers."""
    sql = "SELECT status, body FROM {schema}.request WHERE token_id <> ''"
    return house.workspace.tables.read(lambda rows: rows.run(sql))


def test_a_request_sent_again_is_answered_again(house: House) -> None:
    """The same answer, byte for byte, marked as a repeat, and nothing is held twice."""
    house.budget()
    first = house.ask(*RESERVE, json=BODY, key="k")
    again = house.ask(*RESERVE, json=BODY, key="k")
    assert (first.status_code, first.text) == (again.status_code, again.text) == (201, again.text)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert held(house) == "1"


def test_without_a_key_each_request_is_one(house: House) -> None:
    """And different keys are different requests."""
    house.budget()
    for key in (None, None, "a", "b"):
        house.ok(*RESERVE, json=BODY, key=key)
    assert held(house) == "4"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/v1/reservations", {"budget": "acme", "amount": "2"}),
        ("post", "/v1/tasks", {"title": "think"}),
    ],
)
def test_a_key_belongs_to_its_request(house: House, method: str, path: str, body: Any) -> None:
    """With another amount or another path it is refused, and nothing is done."""
    house.budget()
    house.ok(*RESERVE, json=BODY, key="k")
    assert house.no(422, method, path, json=body, key="k")["code"] == "key_reused"
    assert held(house) == "1"
    assert house.workspace.board.last_event() == 0


def test_a_key_belongs_to_its_token(house: House) -> None:
    """Two programs that count their requests from one do not get each other's reservations."""
    house.budget()
    mine = house.ok(*RESERVE, json=BODY, key="1", scope="spend")
    theirs = house.ok(*RESERVE, json=BODY, key="1", scope="admin")
    assert mine["key"] != theirs["key"]
    assert held(house) == "2"


def test_a_refusal_is_not_kept(house: House) -> None:
    """Asking again under its key asks anew, as in the ledger; also with another amount."""
    house.budget("acme", "1 usd per day")
    house.no(402, *RESERVE, json={"budget": "acme", "amount": "2"}, key="k")
    house.no(400, *RESERVE, json={"budget": "acme", "amount": "?"}, key="k")
    house.no(403, *RESERVE, json=BODY, key="k", scope="read")
    assert kept(house) == []
    house.ok(*RESERVE, json=BODY, key="k")


def test_a_refused_task_is_not_kept(house: House) -> None:
    """What was refused before anything was done frees its key at once, for a request put right."""
    house.no(400, "post", "/v1/tasks", json={"title": "think", "max_attempts": 0}, key="k")
    house.no(400, "post", "/v1/tasks", json={"title": "think", "needs": ["nobody"]}, key="k")
    assert kept(house) == []
    house.ok("post", "/v1/tasks", json={"title": "think"}, key="k")


def test_an_answer_is_kept_for_a_day(house: House) -> None:
    """A second before the day is over it is replayed; then the key is free, and the rows gone."""
    house.ok("post", "/v1/tasks", json={"title": "think"}, key="k")
    house.clock.advance(timedelta(seconds=KEPT_S))
    again = house.ask("post", "/v1/tasks", json={"title": "think"}, key="k")
    assert again.headers["idempotent-replayed"] == "true"
    house.clock.advance(timedelta(seconds=1))
    house.budget()
    for request in (("post", "/v1/tasks", {"title": "think"}), (*RESERVE, BODY)):
        method, path, body = request
        house.ok(method, path, json=body, key="k" if path == RESERVE[1] else "other")
        house.clock.advance(timedelta(seconds=KEPT_S + 1))
        assert len(kept(house)) == 1


def test_one_who_asks_while_the_first_is_answered_is_told_so(house: House) -> None:
    """409 with a time to ask again; the first one is answered as if nothing had happened."""
    house.budget("acme", "1 usd per day")
    blocker = house.ok(*RESERVE, json=BODY)
    waiting = {"budget": "acme", "amount": "1", "wait": "60s"}
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(house.ask, *RESERVE, json=waiting, key="k")
        _until(lambda: house.workspace.ledger.turns.waiting == 1)
        second = threads.submit(house.ask, *RESERVE, json=waiting, key="k")
        try:
            busy = second.result(timeout=LAST_RESORT_S)
        finally:
            house.ok("post", f"/v1/reservations/{blocker['key']}/release")
        assert (busy.status_code, busy.json()["code"]) == (409, "in_progress")
        assert busy.headers["retry-after"] == "1"
        assert first.result().status_code == 201
    assert house.ask(*RESERVE, json=waiting, key="k").headers["idempotent-replayed"] == "true"


class Died(BaseException):
    """What a process does that is killed: nothing is tidied up."""


DONE_TWICE: dict[str, tuple[Any, Any]] = {
    "/v1/reservations": (BODY, held),
    "/v1/reservations/open/extend": (
        {"amount": "0.5"},
        lambda house: str(house.workspace.ledger.reservation("open").amount),
    ),
    "/v1/tasks": ({"title": "think"}, lambda house: house.workspace.board.last_event()),
    "/v1/budgets/acme/extend": (
        {"limit": "5 usd per day", "until": "2026-12-01T00:00:00Z"},
        lambda house: str(house.workspace.ledger.balances("acme")[0].limit),
    ),
    "/v1/reservations/open/settle": ({"amount": "0.5"}, held),
    "/v1/reservations/open/release": (None, held),
}


@pytest.mark.parametrize("path", DONE_TWICE)
def test_what_a_process_did_before_it_died_is_not_done_twice(house: House, path: str) -> None:
    """It did its work and died before it kept the answer: the repeat finds the work done."""
    body, state = DONE_TWICE[path]
    house.budget()
    house.workspace.ledger.reserve("acme", "1", key="open")
    row = begun_and_died(house, path, body)
    after = state(house)
    busy = house.ask("post", path, json=body, key="k")
    assert busy.status_code == 409, "perhaps it is only slow"
    house.clock.advance(timedelta(seconds=LEASE_S))
    again = house.ask("post", path, json=body, key="k")
    assert again.is_success, again.text
    assert state(house) == after
    assert again.json() == row


def test_a_clock_that_was_set_back_keeps_no_key(house: House) -> None:
    """A process died amid it, and the clock went back an hour: the repeat does not wait for it."""
    house.budget()
    begun_and_died(house, RESERVE[1], BODY)
    house.clock.set(house.clock.now - timedelta(hours=1))
    assert house.ask(*RESERVE, json=BODY, key="k").status_code == 201
    assert held(house) == "1"


def test_a_move_of_a_task_that_was_done_is_refused_by_its_state(house: House) -> None:
    """A task's move has no name of its own: the repeat is told where the task stands."""
    task = house.ok("post", "/v1/tasks", json={"title": "think"})["id"]
    begun_and_died(house, f"/v1/tasks/{task}/cancel", {})
    events = house.workspace.board.last_event()
    house.clock.advance(timedelta(seconds=LEASE_S))
    problem = house.no(409, "post", f"/v1/tasks/{task}/cancel", json={}, key="k")
    assert problem["code"] == "task_refused"
    assert house.workspace.board.last_event() == events


def begun_and_died(house: House, path: str, body: Any) -> Any:
    """Do what *path* does under a key, and die before the answer is kept; return the answer."""
    answer = house.ok("post", path, json=body, key="k")
    # The row as it stood before the answer was kept.
    sql = "UPDATE {schema}.request SET status = 0, body = 'dead', at = ? WHERE \"key\" = 'k'"
    now = house.clock.instant()
    house.workspace.tables.write("request", lambda rows: rows.run(sql, now))
    return answer


def test_after_an_unknown_outcome_only_the_same_request_may_come(house: House) -> None:
    """The line broke within: the same request is made anew at once, another one is refused."""
    house.line.fails_next = "board"
    house.no(503, "post", "/v1/tasks", json={"title": "think"}, key="k")
    house.no(422, "post", "/v1/tasks", json={"title": "other"}, key="k")
    house.ok("post", "/v1/tasks", json={"title": "think"}, key="k")
    assert house.workspace.board.last_event() == 1


def test_an_answer_that_could_not_be_kept_is_given_all_the_same(house: House) -> None:
    """What was done was done; the repeat, once the lease is over, finds it done."""
    house.line.writes_left = 2
    first = house.ok("post", "/v1/tasks", json={"title": "think"}, key="k")
    assert house.line.down
    house.line.down = False
    house.clock.advance(timedelta(seconds=LEASE_S))
    assert house.ok("post", "/v1/tasks", json={"title": "think"}, key="k")["id"] == first["id"]
    assert house.workspace.board.last_event() == 1


def test_lost_answers_of_the_database_are_no_second_request(house: House) -> None:
    """Every write is committed twice over: the service recognises its own."""
    house.line.loses_answers = True
    for _ in range(2):
        house.ok("post", "/v1/tasks", json={"title": "think"}, key="k")
    assert house.workspace.board.last_event() == 1


def test_a_key_that_is_none_is_bad_input(house: House) -> None:
    """Empty, too long, or with what no log should show."""
    for key in (b"", b"x" * 201, b"a\x7fb", "ü".encode()):
        headers: Any = {"Idempotency-Key": key, "Authorization": f"Bearer {house.secrets['spend']}"}
        answer = house.client.post("/v1/tasks", json={"title": "t"}, headers=headers)
        assert answer.status_code == 400, key
    assert house.workspace.board.last_event() == 0


def test_a_crowd_under_one_key_does_it_once(house: House) -> None:
    """Sixteen at once: one reservation, and nobody is told of another."""
    house.budget()
    start = threading.Barrier(16)

    def ask(_: int) -> Any:
        start.wait()
        return house.ask(*RESERVE, json=BODY, key="k")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(16)))
    assert {each.status_code for each in answers} <= {201, 409}
    assert len({each.json()["key"] for each in answers if each.is_success}) == 1
    assert held(house) == "1"


def _until(true: Any) -> None:
    """Look until *true*, or fail after ten seconds."""
    pause = threading.Event()
    for _ in range(1000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come true")


@pytest.mark.parametrize("store", DURABLE)
@pytest.mark.parametrize(
    ("path", "body"),
    [RESERVE_OF_TWO, ("/v1/reservations/other/release", None), ("/v1/tasks", {"title": "think"})],
)
def test_another_process_does_another_request_under_the_key(
    tmp_path: Path, store: str, path: str, body: Any
) -> None:
    """It is answered after this one was looked for: this one is not done, and says so."""
    url = STORES[store](tmp_path)
    with open_house(url) as first, open_house(url, pending_per_address=499) as second:
        first.budget()
        for key in ("open", "other"):
            first.workspace.ledger.reserve("acme", "1", key=key)
        second.secrets = first.secrets
        read, answers = first.line.read, []

        def late(work: Callable[[Rows], T]) -> T:
            found = read(work)
            if found == [] and not answers:
                answers.append(None)
                answers[0] = second.ok("post", path, json=body, key="k")
            return found

        first.line.read = late  # type: ignore[method-assign]
        before = held(first)
        refused = first.no(422, "post", "/v1/reservations/open/release", key="k")
        assert refused["code"] == "key_reused"
        assert answers[0] is not None
        assert first.workspace.ledger.reservation("open").state == "open"
        again = second.ask("post", path, json=body, key="k")
        assert (again.json(), again.headers["idempotent-replayed"]) == (answers[0], "true")
        assert before == "2"
    recycle(tmp_path)
