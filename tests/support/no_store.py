"""Ledgers without a store: what they refuse was refused before any store was asked."""

import asyncio
import inspect
from typing import Any, cast

from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.ledger import Ledger
from earmark.testing import ManualClock


class Unreachable:
    """A store, or what submits to one, that no operation may reach."""

    committed: object = None

    def __getattr__(self, name: str) -> Any:
        def reached(*_: object, **__: object) -> None:
            raise AssertionError(f"the store was asked: {name}")

        return reached


class AwaitedAtOnce:
    """An `AsyncLedger` without a store, as a test of `Ledger` sees it: nothing in it can wait."""

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)

        def run(*args: object, **options: object) -> Any:
            answer = method(*args, **options)
            return asyncio.run(answer) if inspect.iscoroutine(answer) else answer

        return run


def ledgers_without_store(clock: ManualClock) -> list[Ledger]:
    """Return one ledger for threads and one for tasks."""
    nothing = cast("Any", Unreachable())
    ledger = Ledger(nothing, nothing, clock)
    return [ledger, cast("Ledger", AwaitedAtOnce(ledger.as_async()))]
