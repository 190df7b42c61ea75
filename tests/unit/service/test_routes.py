"""The API's routes: what stands in the workspace, as JSON, and what is done to it."""

from datetime import timedelta
from typing import Any

import pytest

from earmark.board.task import ModelWork
from earmark.money import Money
from earmark.workspace.jsonable import TOO_DEEP
from support.service_house import House

DAY = {"starts_at": "2026-11-22T00:00:00Z", "resets_at": "2026-11-23T00:00:00Z"}


def test_a_budget_is_set_shown_paused_resumed_and_extended(house: House) -> None:
    """Each answers with the budget as it stands then; the entries say who did it."""
    made = house.ok(
        "put",
        "/v1/budgets/acme/research",
        json={
            "limits": ["10.50 usd per day", "3 calls per 30min"],
            "timezone": "Europe/Berlin",
            "alerts": ["0.5", "1"],
            "reason": "a start",
        },
    )
    assert (made["path"], made["timezone"]) == ("acme/research", "Europe/Berlin")
    assert made["limits"] == ["10.5 usd per day", "3 calls per 30min"]
    assert made["balances"][0] == {
        "unit": "usd", "window": "day", "limit": "10.5", "settled": "0", "held": "0",
        "available": "10.5", "starts_at": "2026-11-21T23:00:00Z",
        "resets_at": "2026-11-22T23:00:00Z", "observed": False,
    }  # fmt: skip
    assert made["balances"][1]["available"] == 3
    until = "2026-11-22T18:00:00Z"
    on = "/v1/budgets/acme/research"
    paused = house.ok("post", f"{on}/pause", json={"reason": "lunch", "until": until})
    assert paused["paused"] == {"actor": "a adminer", "reason": "lunch", "until": until}
    assert house.ok("post", f"{on}/resume", json={})["paused"] is None
    grown = house.ok("post", f"{on}/extend", json={"limit": "2 usd per day", "until": until})
    assert grown["balances"][0]["limit"] == "12.5"
    assert grown["extensions"][0]["limit"] == "2 usd per day"
    kinds = [each["kind"] for each in house.ok("get", "/v1/entries")["items"]]
    assert kinds == ["limit", "pause", "resume", "extension"]
    assert house.ok("get", "/v1/entries")["items"][0]["data"]["actor"] == "a adminer"


def test_an_extension_of_no_limit_of_the_budget_is_refused(house: House) -> None:
    """400 with the limits there are: it would be answered with success and change nothing."""
    house.budget("acme", "10 usd per day")
    body = {"limit": "5 usd per week", "until": "2026-11-22T18:00:00Z"}
    problem = house.no(400, "post", "/v1/budgets/acme/extend", json=body)
    assert problem["code"] == "invalid_limit"
    assert "10 usd per day" in problem["detail"]


def test_a_budget_is_shown_with_those_below_it(house: House) -> None:
    """Whole names only, and without the budgets of runs unless they are asked for."""
    for path in ("acme", "acme/a", "acme-2"):
        house.budget(path)
    house.workspace.ledger.set_budget("acme/run-0123456789abcdef", kind="run")
    tree = house.ok("get", "/v1/budgets/acme")
    assert [each["path"] for each in tree["below"]] == ["acme/a"]
    assert paths(house.ok("get", "/v1/budgets")) == ["acme", "acme-2", "acme/a"]
    assert paths(house.ok("get", "/v1/budgets?prefix=acme")) == ["acme", "acme/a"]
    assert len(paths(house.ok("get", "/v1/budgets?runs=true"))) == 4


def paths(page: Any) -> list[str]:
    """Return the paths on a page of budgets."""
    return [each["path"] for each in page["items"]]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("", {"limits": ["much"]}, "invalid_limit"),
        ("", {"limits": ["1 usd per day"], "timezone": "Berlin"}, "invalid_limit"),
        ("", {"limits": ["1 usd per day"], "alerts": ["0"]}, "invalid_limit"),
        ("", {"limits": ["-1 usd per day"]}, "invalid_amount"),
        ("/pause", {"until": "2026-11-22T11:59:59Z"}, "invalid_duration"),
        ("/pause", {"until": "2026-11-22T13:00:00"}, "input_error"),
        (
            "/extend",
            {"limit": "1 usd per day", "until": "2026-11-21T00:00:00Z"},
            "invalid_duration",
        ),
        (
            "/extend",
            {"limit": "1 usd per day", "until": "9999-01-01T00:00:00Z"},
            "invalid_duration",
        ),
        ("/resume", {"reason": "x" * 1001}, "input_error"),
    ],
)
def test_a_budget_is_not_changed_by_nonsense(
    shared: House, path: str, body: Any, code: str
) -> None:
    """400, and no entry is written."""
    shared.budget("steady")
    before = shared.workspace.ledger.store.heads()
    method = "post" if path else "put"
    assert shared.no(400, method, f"/v1/budgets/steady{path}", json=body)["code"] == code
    assert shared.workspace.ledger.store.heads() == before


def test_a_reservation_lives_and_ends(house: House) -> None:
    """Reserved, extended, settled to its true cost; another one released."""
    house.budget("acme", "10 usd per day", "5 calls per day")
    reserve = {
        "budget": "acme", "amount": "1", "key": "call/1", "deadline": "10min",
        "labels": {"who": "me"}, "units": {"calls": 2},
    }  # fmt: skip
    hold = house.ok("post", "/v1/reservations", json=reserve)
    assert hold["repeated"] is False
    assert house.ok("post", "/v1/reservations", json=reserve) == {**hold, "repeated": True}
    assert (hold["key"], hold["state"], hold["units"]) == ("call/1", "open", {"calls": 2})
    assert (hold["deadline"], hold["labels"]) == ("2026-11-22T12:10:00Z", {"who": "me"})
    more = house.ok("post", "/v1/reservations/call/1/extend", json={"amount": "0.5"})
    assert (more["amount"], more["deadline"]) == ("1.5", hold["deadline"])
    later = house.ok("post", "/v1/reservations/call/1/extend", json={"deadline": "20min"})
    assert (later["amount"], later["deadline"]) == ("1.5", "2026-11-22T12:20:00Z")
    done = house.ok("post", "/v1/reservations/call/1/settle", json={"amount": "2"})
    assert (done["state"], done["settled"], done["overrun"]) == ("settled", "2", "0.5")
    assert house.ok("get", "/v1/reservations/call/1") == done
    key = house.ok("post", "/v1/reservations", json={"budget": "acme", "amount": "1"})["key"]
    assert house.ok("post", f"/v1/reservations/{key}/release")["state"] == "released"
    closed = house.no(409, "post", "/v1/reservations/call/1/release")
    assert (closed["code"], closed["state"]) == ("reservation_closed", "settled")
    again = house.no(422, "post", "/v1/reservations/call/1/settle", json={"amount": "3"})
    assert again["code"] == "key_reused"


def test_reservations_are_listed_by_what_they_are(house: House) -> None:
    """By state, budget and time; what is past its deadline is presumed when it is looked at."""
    house.budget("acme")
    house.budget("other")
    for budget, deadline in (("acme", "1min"), ("acme", "1h"), ("other", "1h")):
        body = {"budget": budget, "amount": "1", "key": f"{budget}-{deadline}"}
        house.ok("post", "/v1/reservations", json={**body, "deadline": deadline})
    house.clock.advance(timedelta(minutes=2))
    house.ok("post", "/v1/reservations", json={"budget": "other", "amount": "1", "key": "late"})
    assert keys(house, "") == ["acme-1min", "acme-1h", "other-1h", "late"]
    assert keys(house, "?state=presumed") == ["acme-1min"]
    assert keys(house, "?state=open&budget=acme") == ["acme-1h"]
    assert keys(house, "?since=2026-11-22T12:01:00Z") == ["late"]
    assert keys(house, "?until=2026-11-22T12:01:00%2B00:00&budget=other") == ["other-1h"]


def keys(house: House, query: str) -> list[str]:
    """Return the keys of the reservations that *query* asks for."""
    return [each["key"] for each in house.ok("get", f"/v1/reservations{query}")["items"]]


def test_a_reserve_may_wait_for_what_is_in_flight(house: House) -> None:
    """With a wait it is refused when that is over; more than a minute is nobody's wait."""
    house.budget("acme", "1 usd per day")
    house.ok("post", "/v1/reservations", json={"budget": "acme", "amount": "1"})
    body = {"budget": "acme", "amount": "1"}
    house.no(429, "post", "/v1/reservations", json={**body, "wait": "0s"})
    problem = house.no(400, "post", "/v1/reservations", json={**body, "wait": "61s"})
    assert problem["code"] == "invalid_duration"


def test_alerts_are_told_once_each(house: House) -> None:
    """At 80 % and at 100 % of a limit."""
    house.budget("acme", "1 usd per day")
    house.workspace.ledger.settle(house.workspace.ledger.reserve("acme", "1").key, "1")
    found = house.ok("get", "/v1/alerts")["items"]
    assert [(each["threshold"], each["settled"]) for each in found] == [("0.8", "1"), ("1", "1")]
    assert found[0]["resets_at"] == DAY["resets_at"]
    first = house.ok("get", "/v1/alerts?limit=1")
    assert len(first["items"]) == 2, "those of one commit stay together"
    assert first["next"] is None or house.ok("get", f"/v1/alerts?cursor={first['next']}") == {
        "items": [],
        "next": None,
    }


def test_a_task_is_added_approved_cancelled_and_shown(house: House) -> None:
    """What was asked for is on the board; a destructive one waits for an admin."""
    body = {
        "title": "[SELF-10] Persistent budget tracker", "description": "# Why\n",
        "type": "code_gen", "priority": "P0", "labels": ["GCP-RESILIENCE"], "destructive": True,
        "assignee": "Cloud Lu", "max_attempts": 1, "due_at": "2026-11-22T13:00:00Z",
        "work": {"kind": "model", "model": "anthropic/claude-x", "max_tokens": 4000},
    }  # fmt: skip
    made = house.ask("post", "/v1/tasks", json=body, scope="spend")
    assert made.status_code == 201
    task = made.json()
    assert made.headers["location"] == f"/v1/tasks/{task['id']}"
    assert {name: task[name] for name in body if name != "work"} == {
        name: value for name, value in body.items() if name != "work"
    }
    assert (task["series"], task["approval"], task["created_by"]) == (
        "SELF-10",
        "wanted",
        "a spender",
    )
    assert task["work"]["max_tokens"] == 4000
    assert [each.kind for each in house.workspace.nudges.find()] == ["approval"]
    assert house.ok("post", f"/v1/tasks/{task['id']}/approve", json={})["approval"] == "given"
    shown = house.ok("get", f"/v1/tasks/{task['id']}")
    assert [each["move"] for each in shown["history"]] == ["added", "approved"]
    assert shown["cost"]["settled"] == "0"
    assert house.ok("get", "/v1/tasks/1")["id"] == task["id"]
    cancelled = house.ok("post", f"/v1/tasks/{task['id']}/cancel", json={"note": "no"})
    assert cancelled["status"] == "cancelled"
    refused = house.no(409, "post", f"/v1/tasks/{task['id']}/accept", json={})
    assert (refused["code"], refused["allowed"]) == ("task_refused", [])


def completed(house: House) -> str:
    """Return the id of a task that a heartbeat did, and that cost 0.045864 USD."""
    board, ledger = house.workspace.board, house.workspace.ledger
    house.budget("c8/cloud-lu")
    house.ok("post", "/v1/tasks", json={"title": "think"})
    (task,) = board.claim("Cloud Lu", 1, lease_ns=10**11)
    key = f"task-{task.id}-1"
    board.start(task, model="anthropic/claude-x", key=key, budget="c8/cloud-lu")
    ledger.reserve("c8/cloud-lu", "0.10", key=key)
    ledger.settle(key, "0.045864")
    result = {"status": "success", "response_text": "<script>alert(1)</script>"}
    board.complete(task.id, 1, "Cloud Lu", result, input_tokens=163, output_tokens=3025)
    return task.id


def test_a_task_that_was_done_has_its_cost_and_is_graded(house: House) -> None:
    """The cost is the ledger's; the grade says who gave it; acceptance ends it."""
    task = completed(house)
    shown = house.ok("get", f"/v1/tasks/{task}")
    assert shown["cost"] == {
        "settled": "0.045864", "held": "0", "presumed": "0", "input_tokens": 163,
        "output_tokens": 3025, "unknown": [],
    }  # fmt: skip
    assert shown["claimed_by"] == "Cloud Lu → claude-x"
    assert [each["outcome"] for each in shown["tries"]] == ["completed"]
    assert shown["quality"] is None, "nobody graded it"
    listed = house.ok("get", "/v1/tasks?costs=true")["items"][0]
    assert listed["cost"] == shown["cost"]
    assert house.ok("get", "/v1/tasks")["items"][0]["cost"] is None
    grade = {"overall": 90, "passed": True, "note": "good"}
    graded = house.ok("post", f"/v1/tasks/{task}/grade", json=grade)
    assert graded["quality"] == {
        **grade, "graded_by": "a adminer", "graded_at": "2026-11-22T12:00:00Z",
    }  # fmt: skip
    assert house.ok("post", f"/v1/tasks/{task}/accept", json={})["status"] == "accepted"


def test_a_result_that_is_rejected_may_be_tried_again(house: House) -> None:
    """Rejected, then pending."""
    task = completed(house)
    assert house.ok("post", f"/v1/tasks/{task}/reject", json={})["status"] == "rejected"
    assert house.ok("post", f"/v1/tasks/{task}/retry", json={})["status"] == "pending"


def test_a_composition_is_a_task_too(house: House) -> None:
    """Its graph comes back as it was given; one that is none is refused."""
    graph = {
        "description": "a test", "version": "0.1.0", "root": {"op": "Const", "value": 1},
    }  # fmt: skip
    work: dict[str, Any] = {
        "kind": "composition",
        "graph": graph,
        "input": {"a": [1]},
        "budget": "0.5",
    }
    made = house.ok("post", "/v1/tasks", json={"title": "run", "work": work})
    assert made["work"] == work
    work["graph"] = {"root": 1}
    house.no(400, "post", "/v1/tasks", json={"title": "run", "work": work})
    house.no(400, "post", "/v1/tasks", json={"title": "run", "work": {"kind": "magic"}})


def test_tasks_are_found_by_what_they_are(shared: House) -> None:
    """By status, type, label, priority and text, in either order, page by page."""
    for number in range(5):
        body: dict[str, Any] = {"title": f"task {number}", "type": "review"}
        if number % 2:
            body |= {"labels": ["odd"], "priority": "P1"}
        shared.ok("post", "/v1/tasks", json=body)

    def titles(query: str) -> list[str]:
        found = shared.ok("get", f"/v1/tasks?type=review&{query}")
        return [each["title"][-1] for each in found["items"]]

    assert titles("") == list("01234")
    assert titles("newest=true&limit=2") == list("43")
    assert titles("label=odd") == titles("priority=P1") == list("13")
    assert titles("status=pending&status=claimed&text=TASK") == list("01234")
    assert titles("status=accepted") == []
    assert shared.ok("get", "/v1/tasks?type=deploy")["items"] == []
    shared.no(400, "get", "/v1/tasks?status=done")
    shared.no(400, "get", "/v1/tasks?type=a%00b")


def test_a_patch_is_written_from_the_version_that_was_read(house: House) -> None:
    """The body or If-Match names the version; a writer who read another is told which stands."""
    at = "/v1/patches/control/cloud_lu_autonomous"
    made = house.ask("put", at, json={"data": {"enabled": True}, "expected": 0})
    assert (made.json()["version"], made.headers["etag"]) == (1, '"1"')
    off = house.ask("put", at, json={"data": {"enabled": False}}, headers={"If-Match": '"1"'})
    assert off.json()["version"] == 2
    late: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"data": {}, "expected": 1}, {}),
        ({"data": {}}, {"If-Match": '"1"'}),
        ({"data": {}}, {"If-None-Match": "*"}),
    ]
    for body, headers in late:
        problem = house.no(409, "put", at, json=body, headers=headers)
        assert (problem["code"], problem["stands"]) == ("version_conflict", 2)
    shown = house.ask("get", at)
    assert (shown.json()["data"], shown.headers["etag"]) == ({"enabled": False}, '"2"')
    past = house.ok("get", "/v1/patch-versions/control/cloud_lu_autonomous")["items"]
    assert [each["version"] for each in past] == [2, 1]
    assert house.ok("put", at, json={"data": {}})["version"] == 3, "expects nothing"


@pytest.mark.parametrize(
    "headers",
    [{"If-Match": "1"}, {"If-Match": "*"}, {"If-None-Match": '"1"'}, {"If-Match": '"9"'}],
)
def test_an_expectation_that_is_none_is_bad_input(shared: House, headers: dict[str, str]) -> None:
    """Also two that differ: nothing is written by guesswork."""
    body: dict[str, Any] = {"data": {}, "expected": 1}
    shared.no(400, "put", "/v1/patches/a/b", json=body, headers=headers)


@pytest.mark.parametrize("text", ["NaN", "1e400", '"\\ud800"', "9007199254740993"])
def test_a_patch_that_no_json_can_say_is_refused(shared: House, text: str) -> None:
    """NaN, infinity, half characters and numbers that JSON loses."""
    content = f'{{"data": {{"a": {text}}}}}'.encode()
    headers = {"Content-Type": "application/json"}
    shared.no(400, "put", "/v1/patches/a/odd", content=content, headers=headers)


def test_nudges_are_listed_and_acknowledged(house: House) -> None:
    """Whoever was first stays noted; ids may hold slashes."""
    name = "acme/usd/day/1/800000"
    for id_ in (name, "second"):
        house.workspace.nudges.raise_(
            "threshold", id=id_, budget="acme", title="80 %", data={"a": "1"}, channels=["chat"]
        )
    listed = house.ok("get", "/v1/nudges")["items"]
    assert [each["id"] for each in listed] == [name, "second"]
    shown = house.ok("get", f"/v1/nudges/{name}")
    assert shown["deliveries"][0]["state"] == "waiting"
    acked = house.ok("post", f"/v1/nudges/{name}/ack", scope="spend")
    assert acked["acked_by"] == "a spender"
    assert house.ok("post", f"/v1/nudges/{name}/ack")["acked_by"] == "a spender"
    assert [e["id"] for e in house.ok("get", "/v1/nudges?acked=false")["items"]] == ["second"]
    assert [e["id"] for e in house.ok("get", "/v1/nudges?acked=true")["items"]] == [name]


def test_agents_say_how_they_are(house: House) -> None:
    """Who holds the name, and the last report."""
    house.workspace.agents.acquire("Cloud Lu", "host:1", 10**11)
    (listed,) = house.ok("get", "/v1/agents")["items"]
    assert listed == house.ok("get", "/v1/agents/Cloud%20Lu")
    assert (listed["held"], listed["cycles"]) == (True, 0)
    house.clock.advance(timedelta(minutes=5))
    assert house.ok("get", "/v1/agents/Cloud%20Lu")["held"] is False


def test_the_audit_recomputes_the_books(house: House) -> None:
    """All is well, and the sums are the ledger's."""
    house.budget()
    house.workspace.ledger.settle(house.workspace.ledger.reserve("acme", "1").key, Money("0.5"))
    found = house.ok("get", "/v1/audit")
    assert (found["ok"], found["settled"], found["problems"]) == (True, "0.5", [])


def test_a_task_of_many_tokens_is_the_boards_own(house: House) -> None:
    """What the API made and what the board has are one task."""
    made = house.ok(
        "post", "/v1/tasks", json={"title": "x", "work": {"prompt": "p", "kind": "model"}}
    )
    assert house.workspace.board.get(made["id"]).work == ModelWork(prompt="p")


def test_whatever_was_written_can_be_listed(house: House) -> None:
    """A value nested without end spoils nobody's list."""
    house.workspace.ledger.set_budget("acme", limits=["1 usd per day"])
    work = (
        '{"kind": "composition", "budget": "1", "input": ' + "[" * 900 + "]" * 900 + ","
        ' "graph": {"description": "a", "version": "0.1.0", "root": {"op": "Const", "value": 1}}}'
    )
    body = f'{{"title": "deep", "work": {work}}}'.encode()
    kind = {"Content-Type": "application/json"}
    assert house.ask("post", "/v1/tasks", content=body, headers=kind).status_code == 201
    for path in ("/v1/tasks", "/v1/tasks/1", "/v1/budgets", "/v1/entries"):
        assert house.ask("get", path).status_code == 200
    assert TOO_DEEP in str(house.ok("get", "/v1/tasks")["items"][0]["work"])
