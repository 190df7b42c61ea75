"""A gateway for each test, before a provider that is a stub."""

from collections.abc import Iterator

import pytest

from support.gateway_house import GatewayHouse, gateway_house


@pytest.fixture
def house() -> Iterator[GatewayHouse]:
    """A gateway with 100 USD on the budget `acme`, and a token of `acme/agent`."""
    with gateway_house() as opened:
        yield opened
