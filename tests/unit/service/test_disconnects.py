"""Clients that hang up while their request waits in line."""

import asyncio
import json
from contextlib import suppress

import pytest
import uvicorn
from uvicorn.server import ServerState

from earmark.ledger.values import Amounts
from earmark.serving.connections import ConnectionLimits, Connections
from support.last_resort import LAST_RESORT_S
from support.service_house import House

CLIENTS = 10


def request(house: House, number: int, **names: str) -> bytes:
    """Return a request that waits for its dollar; *names* are its key's and its header's."""
    body = {"budget": "acme", "amount": "1", "wait": "60s"}
    header = ""
    if "key" in names:
        body["key"] = f"{names['key']}-{number}"
    if "idempotency" in names:
        header = f"Idempotency-Key: {names['idempotency']}-{number}\r\n"
    content = json.dumps(body)
    return (
        "POST /v1/reservations HTTP/1.1\r\nHost: 127.0.0.1:8321\r\n"
        f"Authorization: Bearer {house.secrets['admin']}\r\nContent-Type: application/json\r\n"
        f"{header}Content-Length: {len(content)}\r\n\r\n{content}"
    ).encode()


@pytest.mark.parametrize(
    "names", [{}, {"key": "mine"}, {"idempotency": "mine"}], ids=["unnamed", "key", "header"]
)
def test_clients_that_hang_up_while_they_wait_leave_the_line(
    house: House, names: dict[str, str]
) -> None:
    """Once the budget is free again nothing is held for them, and the next client is served."""
    house.budget("acme", "10 usd per day")
    ledger = house.workspace.ledger
    ledger.reserve("acme", "10", key="in flight")

    async def hang_up() -> None:
        state = ServerState()
        config = uvicorn.Config(house.app, lifespan="off")
        loop = asyncio.get_running_loop()
        connections = Connections(ConnectionLimits())
        server = await loop.create_server(
            lambda: connections.protocol(config, state, {}), "127.0.0.1", 0
        )
        async with server, asyncio.timeout(LAST_RESORT_S):
            writers: list[asyncio.StreamWriter] = []
            for number in range(CLIENTS):
                _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(request(house, number, **names))
                writers.append(writer)
            while ledger.turns.waiting < CLIENTS:  # noqa: ASYNC110 - the server brings it about
                await asyncio.sleep(0)
            for writer in writers:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
            while state.tasks:  # noqa: ASYNC110 - the server brings it about
                await asyncio.sleep(0)

    asyncio.run(hang_up())
    assert ledger.turns.waiting == 0
    ledger.release("in flight")
    assert house.ok("post", "/v1/reservations", json={"budget": "acme", "amount": "10"})
    assert [hold.hold for hold in ledger.holds()] == [Amounts(10**10, 1)]
