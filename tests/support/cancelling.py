"""Cuts a coroutine short at a chosen one of its steps, in every way in which that happens."""

import asyncio
import threading
import types
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Final, Literal

from earmark.errors import NotFound
from earmark.ledger.async_ledger import AsyncLedger
from earmark.ledger.undo import BACKGROUND

How = Literal["waiting", "answered", "again and again", "all tasks", "abandoned"]
#: waiting: cancelled while it waits. answered: cancelled when what it waited for is there, but
#: before it goes on. again and again: cancelled at each later step, too, as some libraries do.
#: all tasks: with every task that it may have begun, as the end of a loop does. abandoned: closed,
#: as a coroutine is whose loop was.
HOWS: Final[tuple[How, ...]] = (
    "waiting", "answered", "again and again", "all tasks", "abandoned",
)  # fmt: skip


class _Stepped:
    """Awaits *work* and cuts it short at its step *at*, counted from 1."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: int, how: How) -> None:
        self._work = work
        self._at = at
        self._how = how
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        thrown: BaseException | None = None
        while True:
            try:
                waited = self._work.send(None) if thrown is None else self._work.throw(thrown)
            except StopIteration as end:
                return end.value
            self.steps += 1
            if self.steps == self._at and self._how == "abandoned":
                self._work.close()
                raise asyncio.CancelledError
            self._cut(waited)
            thrown = None
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - for the work to see
                thrown = error

    def _cut(self, waited: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._how == "again and again" and self.steps >= self._at:
            task.cancel()
        elif self.steps != self._at:
            return
        elif self._how == "answered" and isinstance(waited, asyncio.Future):
            # Before the task is woken: its own callback is added after this one.
            waited.add_done_callback(lambda _: task.cancel())
        elif self._how == "all tasks":
            for each in asyncio.all_tasks() - _spared:
                each.cancel()
        else:
            task.cancel()


async def cut_inside(work: Coroutine[Any, Any, Any], step: int, how: How) -> bool:
    """Run *work*, cancelled when it, or a task that it began, waits for the time *step*.

    Return whether it came so far.
    """
    loop = asyncio.get_running_loop()
    waits = 0
    main: asyncio.Task[Any] | None = None

    @types.coroutine
    def counted(inner: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        nonlocal waits
        thrown: BaseException | None = None
        while True:
            try:
                waited = inner.send(None) if thrown is None else inner.throw(thrown)
            except StopIteration as end:
                return end.value
            waits += 1
            if main is not None and (waits == step or (how == "again and again" and waits > step)):
                main.cancel()
            thrown = None
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - for the work to see
                thrown = error

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(_awaited(counted(coro)), loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        main = loop.create_task(work)
        await main
    except asyncio.CancelledError:
        assert waits >= step
    finally:
        loop.set_task_factory(None)
    return waits >= step


_spared: set["asyncio.Task[Any]"] = set()


async def cut_at(work: Coroutine[Any, Any, Any], step: int, how: How) -> bool:
    """Run *work*, cut short at *step*, counted from 1; return whether it came so far."""
    test = asyncio.current_task()
    assert test is not None
    _spared.add(test)
    stepped = _Stepped(work, step, how)
    try:
        await asyncio.ensure_future(_awaited(stepped))
    except asyncio.CancelledError:
        assert stepped.steps >= step
    finally:
        _spared.discard(test)
    return stepped.steps >= step


async def _awaited(stepped: Awaitable[Any]) -> Any:
    return await stepped


async def all_committed(ledger: AsyncLedger) -> None:
    """Return when all that was queued before is committed, by whichever thread."""
    for thread in threading.enumerate():
        if thread.name == BACKGROUND:
            await asyncio.to_thread(thread.join)
    with suppress(NotFound):
        await ledger.release("nobody's")
