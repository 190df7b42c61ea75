"""The OpenAPI document is true: whatever it lets be sent, what comes back is as it says."""

import os
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings

from earmark.board.task import TaskDraft
from support.lazily import Lazily
from support.service_house import House, house

schemathesis, checks = Lazily("schemathesis"), Lazily("schemathesis.checks")
asgi = Lazily("schemathesis.python.asgi")

#: Valid requests of each operation, and requests with something wrong; a long run sends more.
MORE = 20 if "EARMARK_FIRE_SECONDS" in os.environ else 1
EXAMPLES = {"positive": 4 * MORE, "negative": 3 * MORE}
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def filled() -> Iterator[House]:
    """A service with something of everything, known by the names that the schema suggests."""
    with house(allowed_hosts=[asgi.HOST]) as opened:
        opened.budget("acme/research", "10 usd per day", "100 calls per day")
        opened.budget("0", "1 usd total")
        ledger, workspace = opened.workspace.ledger, opened.workspace
        ledger.reserve("acme/research", "1", key="0")
        ledger.settle(ledger.reserve("0", "1").key, "1")
        for number in range(3):
            workspace.board.add(
                TaskDraft(title=f"task {number}", destructive=number == 0), actor="me"
            )
        workspace.quilt.put("0", "0", {"a": [1, None, {"b": "1"}]}, author="me")
        workspace.nudges.raise_("paused", id="0", title="paused", data={}, channels=["chat"])
        workspace.agents.acquire("0", "host:1", 10**12)
        # A stream of events has no end of its own.
        opened.service.event_streams.close()
        yield opened
        asgi.shutdown_lifespans()


@pytest.fixture(scope="module")
def document(filled: House) -> Any:
    """The document as it is served."""
    checks.load_all_checks()
    return schemathesis.openapi.from_asgi("/openapi.json", filled.app)


@pytest.mark.parametrize("mode", EXAMPLES)
def test_every_answer_is_as_the_document_says(document: Any, filled: House, mode: str) -> None:
    """No failure of the service's own, and every answer's status, type and form is declared."""
    told = {"Authorization": f"Bearer {filled.secrets['admin']}"}
    known = Lazily("schemathesis.specs.openapi.checks")
    wanted = [checks.not_a_server_error, *(getattr(known, name) for name in CHECKS)]
    asked = 0
    for found in document.get_all_operations():
        operation = found.ok()
        if mode == "negative" and not takes_anything(operation):
            continue

        @settings(max_examples=EXAMPLES[mode], derandomize=True, database=None)
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def as_declared(case: Any) -> None:
            case.call_and_validate(headers=told, checks=wanted)

        as_declared()
        asked += 1
    assert asked > 25


def takes_anything(operation: Any) -> bool:
    """Return whether there is anything in a request that could be wrong."""
    return bool(operation.body or operation.query or operation.path_parameters)


def test_the_document_names_scopes_keys_and_problems(filled: House) -> None:
    """Tokens are its security scheme, writes take a key, every route may answer a problem."""
    found = filled.client.get("/openapi.json").json()
    assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            if not path.startswith("/v1/"):
                continue
            where = f"{method} {path}"
            assert operation["security"] == [{"token": []}], where
            assert {"4XX", "5XX"} <= set(operation["responses"]), where
            assert operation["description"].endswith("."), where
            names = {each["name"].lower() for each in operation.get("parameters", [])}
            assert ("idempotency-key" in names) == (method == "post"), where
    assert "Problem" in found["components"]["schemas"]


def test_clients_can_be_generated(filled: House) -> None:
    """Each operation has the name of its function alone; no alternatives have a default beside."""
    found = filled.client.get("/openapi.json").json()
    names = [
        operation["operationId"] for of in found["paths"].values() for operation in of.values()
    ]
    assert len(set(names)) == len(names) > 40
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names), names
    assert {"add_task", "accept_task", "get_budget", "reserve", "settle", "get_run"} <= set(names)
    for where, schema in schemas(found["components"]["schemas"]):
        if any("$ref" in each for each in schema.get("anyOf", ())):
            assert "default" not in schema, where
        assert schema.get("nullable") is None, where
        if "discriminator" in schema:
            told = set(schema["discriminator"]["mapping"].values())
            assert told == {each["$ref"] for each in schema["anyOf"]}, where
    assert "HTTPValidationError" not in found["components"]["schemas"], "it answers with problems"


def schemas(found: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema in a piece of the document, with its place."""
    if isinstance(found, dict):
        known = cast("dict[str, Any]", found)
        yield where, known
        for name, each in known.items():
            yield from schemas(each, f"{where}/{name}")
    elif isinstance(found, list):
        for each in cast("list[Any]", found):
            yield from schemas(each, where)
