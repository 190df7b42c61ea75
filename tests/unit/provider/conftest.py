"""One stub server for the tests of a module."""

from collections.abc import Iterator

import pytest

from earmark.admission import guard
from support.last_resort import LAST_RESORT_S
from support.stub_server import StubServer


@pytest.fixture(scope="module")
def stub() -> Iterator[StubServer]:
    """A real HTTP server that plays scenes."""
    with StubServer() as server:
        yield server


@pytest.fixture(autouse=True)
def patient_counts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server's count is waited for, however slow the machine is."""
    if "stub" in request.fixturenames:
        monkeypatch.setattr(guard, "COUNT_TIMEOUT_S", LAST_RESORT_S)
