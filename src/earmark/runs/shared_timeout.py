"""A time limit that many tasks share, with one timer for all of them."""

import asyncio


class SharedTimeout:
    """Cancels each task that stays longer than the limit; to be used within one event loop.

    Tasks come in order of time and have one limit, so the oldest is always due first: one timer,
    set for that one, does for a million. `asyncio.timeout` makes a timer for each.
    """

    __slots__ = ("_late", "_limit_s", "_loop", "_since", "_timer")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._since: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self) -> asyncio.Task[object]:
        """Begin to watch the current task, which is not watched yet; to be followed by `leave`."""
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = now = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._limit_s, self._check)
        return task

    def is_late(self, task: asyncio.Task[object]) -> bool:
        """Return whether the task was cancelled for staying too long."""
        return task in self._late

    def leave(self, task: asyncio.Task[object]) -> None:
        """End the watch of the task."""
        del self._since[task]
        self._late.discard(task)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        # A timer may fire a clock tick early: what is due within one is due.
        now = self._loop.time() + 0.001
        for task, since in self._since.items():
            due = since + self._limit_s
            if due > now:
                self._timer = self._loop.call_at(due, self._check)
                return
            if task not in self._late:
                self._late.add(task)
                task.cancel()
