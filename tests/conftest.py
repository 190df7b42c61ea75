"""Fixtures for every test."""

import gc
from collections.abc import Iterator

import pytest

from earmark.provider.local import LocalModel
from support.postgres_programs import NoPostgresError
from support.postgres_server import PostgresServer, Server
from support.postgres_session import end_session, shared_or_skip


def pytest_collection_finish() -> None:
    """Leave what was collected, which lives to the end, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def local_model() -> Iterator[LocalModel]:
    """A real model behind a real server, one for the whole session."""
    with LocalModel() as model:
        yield model


@pytest.fixture(scope="session", autouse=True)
def _end_of_postgres() -> Iterator[None]:
    """Whoever first needs PostgreSQL starts it; the end of the session ends it."""
    yield
    end_session()


@pytest.fixture(scope="session")
def postgres() -> Server:
    """The PostgreSQL server that all tests share; not to be stopped."""
    return shared_or_skip()


@pytest.fixture(scope="session")
def _doomed_server() -> Iterator[PostgresServer]:
    if not shared_or_skip().own:
        pytest.skip("only a server of one's own may be killed; unset EARMARK_TEST_POSTGRES")
    try:
        server = PostgresServer()
    except NoPostgresError as missing:
        pytest.skip(f"no PostgreSQL: {missing}")
    with server:
        yield server


@pytest.fixture
def doomed_postgres(_doomed_server: PostgresServer) -> PostgresServer:
    """A second PostgreSQL server, which a test may stop, kill and start again."""
    if not _doomed_server.running:
        _doomed_server.start()
    return _doomed_server
