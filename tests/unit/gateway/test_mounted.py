"""The gateway beside the service on one socket: each is as it would be alone."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest
from starlette.routing import Match

from earmark.gateway.denied import Denied
from earmark.gateway.endpoints import find_endpoint, is_mounted_path
from earmark.serving.connections import ConnectionLimits
from earmark.serving.mounted import Mounted, MountedApp
from earmark.testing import ManualClock
from support.last_resort import LAST_RESORT_S
from support.mounted_house import MountedHouse, mounted_house
from support.stub_server import completion
from support.upstream_stub import Answer

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 12, "completion_tokens": 6, "total_tokens": 18}
CHAT = "/v1/chat/completions"
#: A request for each row of the gateway's own table, and what is refused beside them.
GATEWAY = [
    *(("POST", CHAT), ("POST", "/v1/embeddings"), ("POST", "/v1/responses")),
    *(("POST", "/v1/moderations"), ("POST", "/v1/images/generations")),
    *(("POST", "/v1/audio/speech"), ("POST", "/v1/audio/transcriptions")),
    *(("POST", "/v1/responses/input_tokens"), ("POST", "/v1/messages")),
    *(("POST", "/v1/messages/count_tokens"), ("POST", "/v1/models/m:generateContent")),
    *(("POST", "/v1beta/models/m:countTokens"), ("GET", "/v1/models"), ("GET", "/v1/models/m")),
    *(("GET", "/v1beta/models"), ("GET", "/v1/earmark/balance"), ("GET", "/v1/earmark/statement")),
    *(("GET", "/api/hello"), ("HEAD", "/api/hello")),
]


@pytest.fixture(scope="module")
def house() -> Iterator[MountedHouse]:
    """Both, with names of their own."""
    names = {"service": {"allowed_hosts": ["books.example"]}}
    with mounted_house(**names, gateway={"allowed_hosts": ["models.example"]}) as opened:
        yield opened


def paths_of(routes: Sequence[Any], prefix: str = "") -> Iterator[str]:
    """Yield the path of each route, those of included routers too."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield prefix + route.path
        else:
            yield from paths_of(included.routes, prefix + route.include_context.prefix)


def test_no_path_is_both(house: MountedHouse) -> None:
    """Each route of the service, with whatever in its parameters, is no path of the gateway's."""
    routes = house.service.router.routes
    walked = set(paths_of(routes))
    known = {re.sub(r":\w+\}", "}", path) for path in walked}
    assert known > {*house.service.openapi()["paths"], "/budgets/{path}", "/login", "/metrics"}
    for path in walked:
        for filled in ("x", "v1/chat/completions", "../../v1/messages"):
            assert not is_mounted_path(re.sub(r"\{[^}]*\}", filled, path)), path
    for method, path in GATEWAY:
        find_endpoint(method, path, "", {})
        assert is_mounted_path(path)
        for asked in ("GET", "POST", "PUT", "DELETE"):
            scope: dict[str, Any] = {
                "type": "http",
                "method": asked,
                "path": path,
                "root_path": "",
                "headers": [],
            }
            assert all(route.matches(scope)[0] == Match.NONE for route in routes), path


def test_every_endpoint_of_the_gateway_is_its_own_beside_a_service() -> None:
    """What it takes at a path that is not its own there would be answered by the service."""
    for method in ("GET", "POST"):
        for path in ("/metrics", "/v1/batches", "/v1/files", "/", "/v1/reservations"):
            try:
                kind = find_endpoint(method, path, "", {}).kind
            except Denied:
                continue
            assert (kind, path) == ("metrics", "/metrics"), "which the service has itself"


def test_models_are_answered_outside_what_is_around_the_service(house: MountedHouse) -> None:
    """No rules for browsers, no limit of a megabyte; errors in the form of the SDKs."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    reply = house.ask("POST", CHAT, house.token, json={**ASK, "max_tokens": 9})
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-earmark-settled"] == "0.0000054"
    assert not {"content-security-policy", "x-frame-options", "cache-control"} & {*reply.headers}
    large: dict[str, Any] = {
        **ASK,
        "max_tokens": 9,
        "tools": [],
        "metadata": {"a": "x" * (2 << 20)},
    }
    assert house.ask("POST", CHAT, house.token, json=large).status_code == 200
    assert len(house.stub.requests[-1].body) > 2 << 20
    unknown = house.ask("POST", "/v1/chat/other", house.token, json=ASK)
    assert unknown.json()["error"]["code"] == "unpriced"


def test_the_service_is_as_it_was(house: MountedHouse) -> None:
    """Its limits, headers and problem documents, and a date as each server's answers have."""
    listed = house.ask("GET", "/v1/budgets", house.admin)
    assert listed.status_code == 200
    assert "content-security-policy" in listed.headers
    assert len(listed.headers.get_list("date")) == 1
    large = house.ask("POST", "/v1/reservations", house.admin, content=b"x" * (2 << 20))
    assert large.status_code == 413
    for path in ("/v1/nothing", "/v1/%6dodels", "/v1/batches", "/v1/chats"):
        missing = house.ask("GET", path, house.admin)
        assert missing.status_code == 404, path
        assert missing.headers["content-type"] == "application/problem+json", path


def test_a_key_of_one_opens_nothing_of_the_other(house: MountedHouse) -> None:
    """The cookie of a login, a token of the service, a token of the gateway."""
    with httpx2.Client(base_url=house.url, timeout=LAST_RESORT_S) as browser:
        entered = browser.post("/login", data={"token": house.admin, "next": "/"})
        assert entered.status_code == 303
        assert browser.get("/budgets").status_code == 200
        before = len(house.stub.requests)
        assert browser.post(CHAT, json=ASK).status_code == 401
        assert browser.get("/v1/earmark/balance").status_code == 401
    assert house.ask("POST", CHAT, house.admin, json=ASK).status_code == 401
    assert len(house.stub.requests) == before
    for path in ("/v1/budgets", "/v1/reservations/x", "/metrics", "/health", "/v1/events"):
        assert house.ask("GET", path, house.token).status_code in {401, 403}, path
    assert house.ask("POST", "/login", data={"token": house.token, "next": "/"}).status_code != 303


def test_each_answers_to_its_own_names(house: MountedHouse) -> None:
    """A name of the service's is none of the gateway's, and the other way round."""
    for name, service, gateway in (
        ("books.example", 200, 421),
        ("models.example", 421, 200),
        ("evil.example", 421, 421),
    ):
        host = {"host": name}
        assert house.ask("GET", "/v1/budgets", house.admin, headers=host).status_code == service
        asked = house.ask("GET", "/v1/earmark/balance", house.token, headers=host)
        assert asked.status_code == gateway


def test_the_service_s_metrics_have_what_the_gateway_counts(house: MountedHouse) -> None:
    """By token and model, beside those of the budgets."""
    house.stub.answer(Answer(body=completion(USAGE, model="gpt-4o-mini")))
    assert house.ask("POST", CHAT, house.token, json=ASK).status_code == 200
    said = house.ask("GET", "/metrics", house.admin).text
    assert 'model="openai/gpt-4o-mini",outcome="settled",reason=""' in said
    assert "budget_spent_usd_total" in said


# Lifespans ----------------------------------------------------------------------------------------


class App:
    """An application that notes its lifespan; it may fail to begin, or end early."""

    def __init__(self, name: str, notes: list[str], fails: str = "") -> None:
        self._name = name
        self._notes = notes
        self._fails = fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Live."""
        assert scope["type"] == "lifespan"
        assert (await receive())["type"] == "lifespan.startup"
        if self._fails == "raises":
            raise RuntimeError(self._name)
        if self._fails == "says so":
            await send({"type": "lifespan.startup.failed", "message": "no"})
            return
        self._notes.append(f"{self._name} begins")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self._notes.append(f"{self._name} ends")
        await send({"type": "lifespan.shutdown.complete"})


def live(app: App, other: App) -> list[str]:
    """Let both live; returns what the server is told."""

    async def run() -> list[str]:
        said: list[str] = []
        steps = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Any:
            return {"type": next(steps)}

        async def send(message: Any) -> None:
            said.append(message["type"])

        mounted = Mounted(app=other, takes=bool, limits=ConnectionLimits(), grace_s=1)
        await MountedApp(app, mounted, ManualClock())({"type": "lifespan"}, receive, send)
        return said

    return asyncio.run(run())


def test_both_lifespans_run_and_end() -> None:
    """Before the first request, and after the last."""
    notes: list[str] = []
    said = live(App("service", notes), App("gateway", notes))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert notes == ["gateway begins", "service begins", "service ends", "gateway ends"]


def test_where_one_cannot_begin_the_other_ends() -> None:
    """And the server is told, or gets the error."""
    notes: list[str] = []
    said = live(App("service", notes, "says so"), App("gateway", notes))
    assert said == ["lifespan.startup.failed"]
    with pytest.raises(RuntimeError, match="service"):
        live(App("service", notes, "raises"), App("gateway", notes))
    assert notes == ["gateway begins", "gateway ends"] * 2
