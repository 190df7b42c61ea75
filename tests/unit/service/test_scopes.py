"""Every route names its scope: a token of one scope cannot do another's work."""

from typing import Any

import pytest
from starlette.requests import Request

from earmark.service.auth import is_local
from earmark.workspace.tokens import SCOPES
from support.service_house import House, house

NOTE = {"note": "so it is"}
#: Every write of the API, the scope it needs, and a body that it takes.
WRITES: dict[tuple[str, str], tuple[str, Any]] = {
    ("put", "/v1/budgets/{path}"): ("admin", {"limits": ["1 usd per day"]}),
    ("post", "/v1/budgets/{path}/pause"): ("admin", {}),
    ("post", "/v1/budgets/{path}/resume"): ("admin", {}),
    ("post", "/v1/budgets/{path}/extend"): (
        "admin",
        {"limit": "1 usd per day", "until": "2026-12-01T00:00:00Z"},
    ),
    ("post", "/v1/reservations"): ("spend", {"budget": "acme", "amount": "1"}),
    ("post", "/v1/reservations/{key}/settle"): ("spend", {"amount": "1"}),
    ("post", "/v1/reservations/{key}/presume"): ("spend", {"known": "1"}),
    ("post", "/v1/reservations/{key}/release"): ("spend", None),
    ("post", "/v1/reservations/{key}/extend"): ("spend", {"amount": "1"}),
    ("post", "/v1/tasks"): ("spend", {"title": "think"}),
    ("post", "/v1/tasks/{task_id}/grade"): ("spend", {"overall": 90, "passed": True}),
    ("post", "/v1/tasks/{task_id}/accept"): ("spend", NOTE),
    ("post", "/v1/tasks/{task_id}/reject"): ("spend", NOTE),
    ("post", "/v1/tasks/{task_id}/retry"): ("spend", NOTE),
    ("post", "/v1/tasks/{task_id}/cancel"): ("spend", NOTE),
    ("post", "/v1/tasks/{task_id}/approve"): ("admin", NOTE),
    ("post", "/v1/tasks/{task_id}/deny"): ("admin", NOTE),
    ("put", "/v1/patches/{type}/{name}"): ("spend", {"data": {"enabled": False}}),
    ("post", "/v1/nudges/{nudge_id}/ack"): ("spend", None),
    ("post", "/v1/tokens"): ("admin", {"name": "agent", "budget": "acme"}),
    ("post", "/v1/tokens/{token_id}/rotate"): ("admin", {}),
    ("post", "/v1/tokens/{token_id}/revoke"): ("admin", None),
}
#: Reads that take more than `read`.
GUARDED_READS: dict[str, str] = dict.fromkeys(
    ("/v1/audit", "/v1/tokens", "/v1/tokens/{token_id}"), "admin"
)
#: What anybody is told: that the process lives, and whether it can work.
OPEN = {"/livez", "/readyz"}


def operations(service: House) -> set[tuple[str, str]]:
    """Return every operation of the OpenAPI document."""
    paths = service.client.get("/openapi.json").json()["paths"]
    return {(method, path) for path, methods in paths.items() for method in methods}


def test_the_table_above_has_every_write(shared: House) -> None:
    """A write that is added must say here which scope it needs."""
    found = {(method, path) for method, path in operations(shared) if method != "get"}
    assert found == set(WRITES)


@pytest.fixture(scope="module")
def shut() -> Any:
    """A service as it is unless told otherwise: it reads nothing to anybody without a token."""
    with house() as opened:
        opened.budget()
        yield opened


@pytest.fixture(scope="module")
def unlocked() -> Any:
    """A service with `open_reads`."""
    with house(open_reads=True) as opened:
        yield opened


def books(service: House) -> tuple[Any, ...]:
    """Return how much was ever written."""
    workspace = service.workspace
    entries = workspace.ledger.store.heads()
    return entries, workspace.board.last_event(), [each.version for each in workspace.quilt.find()]


@pytest.mark.parametrize("scope", [None, *SCOPES])
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_write_needs_its_scope(shut: House, method: str, path: str, scope: str | None) -> None:
    """Without a token 401, with too little 403, and either way nothing was written."""
    needed, body = WRITES[method, path]
    before = books(shut)
    answer = shut.ask(method, filled(path), scope=scope, json=body)
    if scope is None:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert books(shut) == before
    elif SCOPES.index(scope) < SCOPES.index(needed):
        assert answer.status_code == 403
        assert needed in answer.json()["detail"]
        assert books(shut) == before
    else:
        assert answer.status_code not in {401, 403}


@pytest.mark.parametrize("scope", [None, *SCOPES])
def test_a_read_needs_a_token(shut: House, scope: str | None) -> None:
    """Where reading is not open, every read but the probes' asks for a scope."""
    for method, path in operations(shut):
        if method != "get" or path == "/v1/events":
            continue
        needed = GUARDED_READS.get(path, "read")
        answer = shut.ask(method, filled(path), scope=scope)
        if path in OPEN:
            assert answer.status_code == 200, path
        elif scope is None:
            assert answer.status_code == 401, path
        elif SCOPES.index(scope) < SCOPES.index(needed):
            assert answer.status_code == 403, path
        else:
            assert answer.status_code in {200, 404}, path


@pytest.mark.parametrize("kind", ["control", "budget"])
def test_what_steers_heartbeats_takes_an_admin(shut: House, kind: str) -> None:
    """Who may only spend throws the kill switch under another type, and cannot set it back here."""
    at = f"/v1/patches/{kind}/cloud_lu_autonomous"
    shut.no(403, "put", at, scope="spend", json={"data": {"enabled": True}})
    assert shut.ask("put", at, scope="admin", json={"data": {"enabled": True}}).is_success
    note = "/v1/patches/note/cloud_lu_autonomous"
    assert shut.ask("put", note, scope="spend", json={"data": {"enabled": False}}).is_success


def test_whoever_may_not_read_is_told_no_health(shut: House) -> None:
    """Neither its numbers nor its status, but that the store is gone."""
    problem = shut.no(401, "get", "/health", scope=None)
    assert "budget" not in problem
    assert "budget" in shut.ask("get", "/health", scope="read").json()


def test_a_token_that_opens_nothing_is_refused_even_where_reading_is_open(unlocked: House) -> None:
    """Who sends a wrong token is told so, not taken for anybody."""
    for header in ("Bearer emk_nothing", "Bearer", "Basic YTpi", "bearer  "):
        wrong = {"Authorization": header}
        problem = unlocked.no(401, "get", "/v1/tasks", scope=None, headers=wrong)
        assert problem["code"] == "unauthorized"


def test_open_reads_are_for_this_machine_only(unlocked: House) -> None:
    """A request that somebody passed on is not one of this machine, though its address is."""
    assert unlocked.ask("get", "/v1/tasks", scope=None).status_code == 200
    assert unlocked.ask("get", "/v1/tasks", scope=None, headers={"Host": "localhost"}).is_success
    for name in (
        "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto",
        "Via", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Forwarded",
    ):  # fmt: skip
        unlocked.no(401, "get", "/v1/tasks", scope=None, headers={name: "192.0.2.1"})


def test_a_proxy_that_says_nothing_is_seen_by_how_it_speaks() -> None:
    """Some pass requests on by HTTP/1.0 without a word of for whom: that is nobody's own."""
    head = {"type": "http", "headers": [(b"host", b"127.0.0.1:8321")]}
    assert is_local(Request({**head, "http_version": "1.1"}))
    assert not is_local(Request({**head, "http_version": "1.0"}))


def test_reading_is_not_open_at_another_address() -> None:
    """Bound to an address that others reach, or by another name, nobody reads without a token."""
    with house(open_reads=True, host="192.0.2.7", allowed_hosts=["books.example"]) as opened:
        for name in ("192.0.2.7:8321", "books.example", "127.0.0.1"):
            opened.no(401, "get", "/v1/tasks", scope=None, headers={"Host": name})
            assert opened.ask("get", "/v1/tasks", headers={"Host": name}).is_success
    with house(open_reads=True, allowed_hosts=["books.example"]) as opened:
        opened.no(401, "get", "/v1/tasks", scope=None, headers={"Host": "books.example"})


def filled(path: str) -> str:
    """Return a path with a name wherever it has a parameter."""
    for name in ("path", "key", "task_id", "type", "name", "nudge_id", "run_id", "token_id"):
        path = path.replace(f"{{{name}}}", "acme" if name == "path" else "nobody")
    return path
