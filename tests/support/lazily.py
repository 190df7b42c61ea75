"""Large modules, imported by the first test that uses them: collection alone would pay for all."""

from importlib import import_module
from typing import Any


class Lazily:
    """The module *name*, imported when something of it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # pytest asks whatever stands in a module of tests whether it is wrapped, or a mock.
        if attribute.startswith("__") or attribute == "_mock_name":
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
