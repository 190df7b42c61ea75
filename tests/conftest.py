"""Fixtures for every test."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from earmark.provider.local import LocalModel
from support.postgres_programs import NoPostgresError
from support.postgres_server import PostgresServer, Server
from support.postgres_session import end_session, shared_or_skip
from support.terminal_signals import restore_terminal_signals

#: How fast examples are made, and how many of them are thrown away by chance, decides nothing.
settings.register_profile(
    "suite",
    deadline=None,
    max_examples=100 if "EARMARK_TEST_SLOW" in os.environ else 50,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.large_base_example,
    ],
)
settings.load_profile("suite")


def pytest_configure() -> None:
    """Programs that tests start are interrupted as at a terminal."""
    restore_terminal_signals()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests to `make slow`, unless one is asked for by its name.

    A `slow` mark with texts is on the test's parameters whose id has one of them.
    """
    if "EARMARK_TEST_SLOW" in os.environ or any("::" in each for each in config.args):
        return
    slow = [each for each in items if _is_slow(each)]
    config.hook.pytest_deselected(items=slow)
    left_out = set(slow)
    items[:] = [each for each in items if each not in left_out]


def _is_slow(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    face = parameters.get("ledger") or parameters.get("tickets")
    if (face, parameters.get("url")) in _LEFT_TO_SLOW:
        return True
    return any(
        not mark.args or any(text in item.name for text in mark.args)
        for mark in item.iter_markers("slow")
    )


#: Both façades are on the store in memory, and each on one that lasts.
_LEFT_TO_SLOW = {("tasks", "sqlite"), ("threads", "postgres")}


def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: half of its time a worker waits for processes, servers and the disk."""
    return min(4, 2 * (os.cpu_count() or 1))


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
