"""Tickets of both guards, as one test sees them: those of tasks are run to their end."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Self, cast

from earmark.admission.guard import AsyncGuard, Guard
from earmark.admission.ticket import AsyncTicket, Ticket
from earmark.ledger.ledger import Ledger
from earmark.pricing.book import PriceBook

#: A dollar for a million tokens in, two for a million out.
_RATES = {"input_mtok": "1", "output_mtok": "2"}
BOOK = PriceBook({"test/m": _RATES, "azure/m": _RATES})
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 1000,
}


def completion(text: str = "hello", **usage: int) -> dict[str, Any]:
    """Return a Chat Completions reply of `m`, with these counters."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": choices,
            "usage": usage}  # fmt: skip


class AwaitedTicket:
    """An `AsyncTicket` as a test of `Ticket` sees it."""

    def __init__(self, ticket: AsyncTicket, runner: asyncio.Runner) -> None:
        self._ticket = ticket
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ticket, name)
        if not inspect.iscoroutinefunction(found):
            return found
        method = cast("Callable[..., Coroutine[Any, Any, Any]]", found)

        def run(*given: object, **options: object) -> object:
            return self._runner.run(method(*given, **options))

        return run

    def __enter__(self) -> Self:
        self._runner.run(self._ticket.__aenter__())
        return self

    def __exit__(self, *ended_by: object) -> None:
        self._runner.run(self._ticket.__aexit__(*cast("Any", ended_by)))


class Tickets:
    """A guard on *ledger* whose tickets are those of threads or of tasks."""

    def __init__(self, ledger: Ledger, face: str, **options: Any) -> None:
        self.ledger = ledger
        self._runner = asyncio.Runner() if face == "tasks" else None
        options.setdefault("book", BOOK)
        self.guard: Any = Guard(ledger.as_async() if self._runner else ledger, **options)
        assert isinstance(self.guard, AsyncGuard if self._runner else Guard)

    def open(self, *given: Any, **options: Any) -> Ticket:
        """Open a ticket of `acme` for the `test` provider."""
        options.setdefault("provider", "test")
        opening = self.guard.open(*given, **options)
        runner = self._runner
        if runner is None:
            return opening

        async def opened() -> AsyncTicket:
            return await opening

        return cast("Ticket", AwaitedTicket(runner.run(opened()), runner))

    def close(self) -> None:
        """Close the loop."""
        if self._runner is not None:
            self._runner.close()
