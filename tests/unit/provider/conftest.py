"""One stub server for the tests of a module."""

from collections.abc import Iterator

import pytest

from support.stub_server import StubServer


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    """A real HTTP server that plays scenes."""
    with StubServer() as server:
        yield server
