"""Writes on the board how an attempt begins and ends; repeated while the store is unavailable."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from earmark.board.board import Board
from earmark.board.task import Attempt, Task
from earmark.clock import NANOS_PER_SECOND, Clock
from earmark.errors import StoreUnavailable
from earmark.workspace.attempt_reservations import attempt_key

T = TypeVar("T")

#: Seconds before each repeat of a write that the store could not take; the board knows a repeat.
PAUSES_S: Final = (0.1, 1.0, 5.0)
#: The wait before the second attempt, doubled before each later one up to the longest.
FIRST_WAIT_NS: Final = 60 * NANOS_PER_SECOND
LONGEST_WAIT_NS: Final = 3600 * NANOS_PER_SECOND


class AttemptWriter:
    """The attempts of one agent."""

    def __init__(self, board: Board, clock: Clock, agent: str) -> None:
        self._board = board
        self._clock = clock
        self.agent = agent

    async def begin_model(self, task: Task, *, model: str, budget: str) -> Attempt:
        """Write that *task* is given to *model*, under the key that will pay for it; durable."""

        def begin() -> Attempt:
            key = attempt_key(task.id, self._board.next_attempt(task.id))
            return self._board.start(task, model=model, key=key, budget=budget)

        return await asyncio.to_thread(begin)

    async def begin_run(self, task: Task, *, model: str, budget: str, run_id: str) -> Attempt:
        """Write that *task* is given to the run *run_id*; durable."""
        return await asyncio.to_thread(
            self._board.start, task, model=model, run_id=run_id, budget=budget
        )

    async def complete(
        self, attempt: Attempt, result: Mapping[str, Any], tokens: tuple[int | None, int | None]
    ) -> Task:
        """Keep the result."""
        return await self._steadily(
            lambda: self._board.complete(
                attempt.task_id,
                attempt.number,
                self.agent,
                result,
                input_tokens=tokens[0],
                output_tokens=tokens[1],
            )
        )

    async def fail(
        self,
        attempt: Attempt,
        error: str,
        *,
        retry_at: int | None,
        result: Mapping[str, Any] | None = None,
    ) -> Task:
        """Say that it failed, and when there may be another."""
        return await self._steadily(
            lambda: self._board.fail(
                attempt.task_id,
                attempt.number,
                self.agent,
                error,
                retry_at=retry_at,
                result=result,
            )
        )

    async def unknown(self, attempt: Attempt, error: str) -> Task:
        """Say that nobody knows what became of it."""
        return await self._steadily(
            lambda: self._board.unknown(attempt.task_id, attempt.number, self.agent, error)
        )

    async def park(self, task_id: str, reason: str, *, due_at: int, uncount: bool = True) -> Task:
        """Put the task back."""
        return await self._steadily(
            lambda: self._board.park(task_id, self.agent, reason, due_at=due_at, uncount=uncount)
        )

    def retry_at(self, attempt: Attempt, after_s: float | None = None) -> int:
        """Return when the next attempt is due: later the more there were, or after *after_s*."""
        if after_s is not None:
            return self._clock.instant() + round(after_s * NANOS_PER_SECOND)
        doubled = FIRST_WAIT_NS << min(attempt.number - 1, 10)
        return self._clock.instant() + min(doubled, LONGEST_WAIT_NS)

    async def _steadily(self, work: Callable[[], T]) -> T:
        for pause in PAUSES_S:
            try:
                return await asyncio.to_thread(work)
            except StoreUnavailable:
                await self._clock.sleep(pause)
        return await asyncio.to_thread(work)
