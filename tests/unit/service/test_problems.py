"""Every error leaves as a problem document that says what to do, and no more than that."""

import ast
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from earmark import errors
from earmark.errors import OUTCOMES, BudgetExceeded, EarmarkError, Reason
from earmark.money import Money
from earmark.service import problems
from earmark.service.problems import TITLES, ProblemError, answer_to, problem
from support.service_house import House

FACTS: dict[str, Any] = {
    "unit": "sheets",
    "token": "t-1",
    "text": "x", "want": "y", "place": "/a", "detail": "d", "path": "f", "budget": "acme",
    "key": "k", "field": "amount", "first": "1", "now": "2", "state": "settled", "task": "t",
    "move": "accept", "status": "pending", "allowed": ("cancel",), "type": "budget", "name": "n",
    "expected": 1, "stands": 2, "agent": "Cloud Lu", "holder": "host", "problems": ("p",),
    "kind": "task", "billed": "unknown", "stage": "s", "attempt": 1, "store": "postgresql://h/d",
    "reason": Reason.EXHAUSTED, "file": "f", "most": 1,
}  # fmt: skip


def leaves() -> list[type[EarmarkError]]:
    """Return every class of the tree that has a row in the table of outcomes."""
    found = [value for value in vars(errors).values() if isinstance(value, type)]
    return [each for each in found if issubclass(each, EarmarkError) and each is not EarmarkError]


def made(kind: type[EarmarkError]) -> EarmarkError:
    """Return an error with a value in each of its fields."""
    required = {
        name: FACTS[name]
        for name in kind.__dataclass_fields__
        if name != "statement" and name in FACTS and name != "status"
    }
    if kind is errors.TaskRefused:
        required["status"] = "pending"
    return kind(**required)


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_every_error_has_its_form(kind: type[EarmarkError]) -> None:
    """Its status is the table's, its members are its facts, its sentence is the error's own."""
    error = made(kind)
    answer = answer_to(error)
    document = json.loads(bytes(answer.body))
    assert answer.status_code == document["status"] == OUTCOMES[error.code].http_status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (document["code"], document["title"]) == (error.code, TITLES[error.code])
    if not isinstance(error, errors.StoreError):
        assert document["detail"] == str(error)


def codes_of_the_service() -> set[str]:
    """Return the code of every problem that the service's own source makes."""
    found: set[str] = set()
    for file in Path(problems.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name("ProblemError" | "problem"),
                    args=[_, ast.Constant(str(code)), *_],
                ):
                    found.add(code)
                case _:
                    continue
    return found


def test_every_problem_has_a_title_of_its_own() -> None:
    """Each code of the table of outcomes, of the service and of the framework; no two alike."""
    own = codes_of_the_service()
    assert {"unauthorized", "wrong_host", "too_many", "in_progress"} <= own
    assert {*OUTCOMES, *own} <= set(TITLES)
    assert len(set(TITLES.values())) == len(TITLES)
    for code, title in TITLES.items():
        assert json.loads(bytes(problem(422, code, "d").body))["title"] == title
        assert json.loads(bytes(ProblemError(422, code, "d").answer().body))["title"] == title


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "input_error"), (404, "not_found"), (405, "method_not_allowed"),
        (408, "too_slow"), (413, "too_large"), (415, "unsupported_media_type"), (418, "error"),
    ],
)  # fmt: skip
def test_what_the_framework_refuses_has_a_code_of_the_same_list(status: int, code: str) -> None:
    """Its code is one that other problems have, too, and the status is its own."""
    app = FastAPI()
    problems.install_problems(app)

    @app.get("/")
    def fails() -> None:
        raise HTTPException(status, "why")

    answer = TestClient(app).get("/")
    document = answer.json()
    assert (answer.status_code, document["code"], document["detail"]) == (status, code, "why")
    assert document["title"] == TITLES[code]


@pytest.mark.parametrize(
    ("reason", "status", "retry"),
    [
        (Reason.EXHAUSTED, 402, "false"),
        (Reason.TOO_LARGE, 402, "false"),
        (Reason.PAUSED, 402, "false"),
        (Reason.UNPRICED, 402, "false"),
        (Reason.HELD, 429, "true"),
    ],
)
def test_a_refusal_says_whether_to_ask_again(reason: Reason, status: int, retry: str) -> None:
    """Only what is held is soon worth another try; the SDKs' own header says the same."""
    error = BudgetExceeded(
        reason=reason,
        budget="acme",
        limit=Money("10"),
        settled=Money("9.5"),
        held=Money("0.25"),
        available=Money("0.25"),
        requested=Money("1"),
        resets_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    answer = answer_to(error)
    document = json.loads(bytes(answer.body))
    assert answer.status_code == status
    assert answer.headers["x-should-retry"] == retry
    assert (0 < int(answer.headers.get("retry-after", 0)) <= 30) == (retry == "true")
    numbers = ("limit", "settled", "held", "available", "requested", "resets_at")
    assert [document[name] for name in numbers] == [
        "10", "9.5", "0.25", "0.25", "1", "2026-11-23T00:00:00Z",
    ]  # fmt: skip
    assert document["reason"] == reason
    assert document["retryable"] is (retry == "true")


def test_the_store_is_not_described_to_whoever_asks() -> None:
    """Hosts, files and a server's own words stay in the log."""
    error = errors.StoreUnavailable(store="postgresql://db.internal/x", detail="role 'bob' failed")
    answer = answer_to(error)
    said = bytes(answer.body).decode()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert not {word for word in ("db.internal", "bob") if word in said}


def test_a_refusal_of_the_ledger_arrives_with_its_numbers(house: House) -> None:
    """Spent, too large, paused, held and unlimited are told apart over HTTP."""
    house.budget("acme", "10 usd total")
    reserve = ("post", "/v1/reservations")
    house.ok(*reserve, json={"budget": "acme", "amount": "9", "key": "k"})
    held = house.no(429, *reserve, json={"budget": "acme", "amount": "2"})
    assert (held["reason"], held["held"], held["resets_at"]) == ("held", "9", None)
    house.ok("post", "/v1/reservations/k/settle", json={"amount": "9"})
    spent = house.no(402, *reserve, json={"budget": "acme", "amount": "2"})
    assert (spent["reason"], spent["settled"], spent["retryable"]) == ("exhausted", "9", False)
    large = house.no(402, *reserve, json={"budget": "acme", "amount": "10.000000001"})
    assert (large["reason"], large["requested"]) == ("too_large", "10.000000001")
    house.ok("post", "/v1/budgets/acme/pause", json={"reason": "lunch"})
    paused = house.no(402, *reserve, json={"budget": "acme", "amount": "0.1"})
    assert paused["reason"] == "paused"
    assert "lunch" in paused["detail"]
    nowhere = house.no(402, *reserve, json={"budget": "other", "amount": "0.1"})
    assert nowhere["code"] == "no_budget"
    assert house.service.refusals == {"held": 1, "exhausted": 1, "too_large": 1, "paused": 1}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"budget": "acme", "amount": 1.5}, "/body/amount"),
        ({"budget": "acme", "amount": "-1"}, "/body/amount"),
        ({"budget": "acme", "amount": "1e3"}, "/body/amount"),
        ({"budget": "acme", "amount": "NaN"}, "/body/amount"),
        ({"budget": "acme"}, "/body/amount"),
        ({"budget": "a//b", "amount": "1"}, "/body/budget"),
        ({"budget": "acme", "amount": "1", "wait": "long"}, "/body/wait"),
        ({"budget": "acme", "amount": "1", "units": {"calls": 1.5}}, "/body/units/calls"),
        ({"budget": "acme", "amount": "1", "units": {"euros": 1}}, "/body/units/euros/[key]"),
        ({"budget": "acme", "amount": "1", "limits": []}, "/body/limits"),
        ([], "/body"),
    ],
)
def test_a_wrong_body_is_told_where_it_is_wrong(shared: House, body: Any, place: str) -> None:
    """400 with the place of each fault; money as a number is one."""
    problem = shared.no(400, "post", "/v1/reservations", json=body)
    assert [each["place"] for each in problem["errors"]] == [place]


@pytest.mark.parametrize(
    ("body", "place", "said"),
    [
        ({"title": "x", "labels": ["a", 1]}, "labels/1", "Expected `str`, got `int`"),
        ({"title": 1}, "title", "Expected `str`, got `int`"),
        ({"title": "x", "priority": "P9"}, "priority", ": give P0, P1, P2 or P3"),
        ({"title": "x", "priority": 0}, "priority", ": give P0, P1, P2 or P3"),
        ({"title": "x", "work": {"kind": "y"}}, "work/kind", ": give model or composition"),
    ],
)
def test_a_wrong_task_is_told_where_it_is_wrong(
    shared: House, body: Any, place: str, said: str
) -> None:
    """By a JSON pointer, also into a list; where one of some names is due, with those."""
    (fault,) = shared.no(400, "post", "/v1/tasks", json=body)["errors"]
    assert (fault["place"], fault["detail"].endswith(said)) == (f"/body/{place}", True), fault


@pytest.mark.parametrize("budget", ["1e3", "+1", ".5"])
def test_a_budget_of_a_composition_is_plain_digits(shared: House, budget: str) -> None:
    """As every amount that a request brings, and as the schema says."""
    root = {"op": "Stage", "id": "draft"}
    graph = {"description": "g", "version": "0.1.0", "root": root}
    work = {"kind": "composition", "graph": graph, "budget": budget}
    body = {"title": "x", "work": work}
    problem = shared.no(400, "post", "/v1/tasks", json=body)
    assert f"'{budget}' is not an amount" in problem["detail"]
    schemas = shared.ok("get", "/openapi.json", scope=None)["components"]["schemas"]
    schema = schemas["CompositionWorkDraft"]["properties"]["budget"]
    assert not re.search(schema["pattern"], budget)
    assert re.search(schema["pattern"], schema["examples"][0])
    assert "US dollars" in schema["description"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'"\\ud800"', b"1e999", b""])
def test_a_body_that_is_no_json_is_bad_input(shared: House, body: bytes) -> None:
    """Whatever the bytes are, the answer is 400 and never the service's own failure."""
    headers = {"Content-Type": "application/json"}
    shared.no(400, "post", "/v1/reservations", content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"budget": "acme", "amount": "1", "amount": "900"}', "amount"),
        ('{"budget": "acme", "amount": "1", "amount": "1"}', "amount"),
        ('{"budget": "acme", "amount": "1", "units": {"calls": 1, "calls": 2}}', "calls"),
        ('{"budget": "acme", "amount": "1", "\\u0061mount": "2"}', "amount"),
    ],
)
@pytest.mark.parametrize(
    "kind", ["application/json", "application/merge-patch+json; charset=utf-8"]
)
def test_a_member_that_is_there_twice_is_refused(
    shared: House, body: str, name: str, kind: str
) -> None:
    """With an Idempotency-Key and without; which of the two would count is nobody's guess."""
    shared.budget()
    for key in (None, f"key-{len(body)}-{name}"):
        answer = shared.no(
            400, "post", "/v1/reservations", content=body, key=key, headers={"Content-Type": kind}
        )
        assert (answer["code"], answer["detail"]) == (
            "input_error",
            f"the member '{name}' is there twice",
        )
    assert shared.workspace.ledger.holds() == []


def test_a_wrong_value_is_not_sent_back(shared: House) -> None:
    """What was sent by mistake may be a secret: the answer names its place alone."""
    body = {"budget": "acme", "amount": "sk-secret-value", "oops": "hunter2"}
    said = shared.ask("post", "/v1/reservations", json=body).text
    assert "sk-secret-value" not in said
    assert "hunter2" not in said


def test_what_is_not_there_is_not_found(shared: House) -> None:
    """404 names the kind and the name."""
    for path, kind in {
        "/v1/budgets/nope": "budget",
        "/v1/reservations/nope": "reservation",
        "/v1/tasks/00000000-0000-7000-8000-000000000000": "task",
        "/v1/patches/budget/nope": "patch",
        "/v1/patch-versions/budget/nope": "patch",
        "/v1/nudges/nope": "nudge",
        "/v1/runs/nope": "run",
        "/v1/agents/nope": "agent",
    }.items():
        assert shared.no(404, "get", path)["kind"] == kind
    assert shared.no(404, "get", "/v1/nothing")["code"] == "not_found"
    assert shared.no(405, "delete", "/v1/tasks")["code"] == "method_not_allowed"


def test_an_unknown_query_parameter_is_refused_on_every_route(house: House) -> None:
    """422 with its name, and nothing done: a mistyped filter would answer something else."""
    house.budget()
    paths: dict[str, Any] = house.client.get("/openapi.json").json()["paths"]
    api = [(p, method) for p, of in paths.items() if p.startswith("/v1/") for method in of]
    assert len(api) > 30
    before = house.workspace.ledger.entries()[-1].seq
    for path, method in api:
        body: dict[str, Any] = {"json": {}} if method in {"post", "put"} else {}
        answer = house.ask(method, f"{path}?limt=1", **body)
        assert answer.status_code == 422, (method, path, answer.text)
        assert answer.json()["code"] == "unknown_parameter"
        assert "'limt' is unknown" in answer.json()["detail"]
        named = [each["name"] for each in paths[path][method].get("parameters", ())
                 if each["in"] == "query"]  # fmt: skip
        for name in named if path != "/v1/events" else ():
            said = house.ask(method, f"{path}?{name}=1", **body).text
            assert "unknown_parameter" not in said, (method, path, name)
    assert "did you mean limit?" in house.ask("get", "/v1/budgets?limt=1").text
    assert house.workspace.ledger.entries()[-1].seq == before
