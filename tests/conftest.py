"""Fixtures for every test."""

from collections.abc import Iterator

import pytest

from earmark.provider.local import LocalModel


@pytest.fixture(scope="session")
def local_model() -> Iterator[LocalModel]:
    """A real model behind a real server, one for the whole session."""
    with LocalModel() as model:
        yield model
