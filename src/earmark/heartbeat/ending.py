"""How a dispatch can end other than by an answer, and what the board is told then."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from earmark.board.task import Attempt, Status, Task
from earmark.clock import NANOS_PER_SECOND, Clock, from_datetime
from earmark.errors import BudgetExceeded, Reason
from earmark.heartbeat.afford import is_final
from earmark.heartbeat.controls import GO, Verdict
from earmark.heartbeat.recover import nudge_unknown
from earmark.heartbeat.report import Dispatched
from earmark.heartbeat.tries import Tries
from earmark.workspace.attempt_reservations import was_sent
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

Outcome = Literal["completed", "failed", "retried", "unknown", "parked", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of one task, and what the cycle should know of it."""

    report: Dispatched
    taken: bool = True
    """Whether it took one of the cycle's dispatches; what sent nothing leaves it to another."""
    verdict: Verdict = GO
    """What was in the way of it, and is in the way of others."""
    unable: str = ""
    """Why this heartbeat cannot do the task at all, as it is configured."""


def ended(
    task: Task,
    outcome: Outcome,
    detail: str = "",
    *,
    cost_usd: str = "",
    taken: bool = True,
    verdict: Verdict = GO,
) -> Ended:
    """Return what became of *task*, and log it."""
    _log.info("task %s %s%s", task.id, outcome, f": {detail}" if detail else "")
    report = Dispatched(
        task_id=task.id, title=task.title, outcome=outcome, cost_usd=cost_usd, detail=detail
    )
    return Ended(report=report, taken=taken, verdict=verdict)


class Endings:
    """Tells the board how a try ended that brought no result."""

    def __init__(
        self,
        workspace: Workspace,
        tries: Tries,
        clock: Clock,
        *,
        interval_ns: int,
        channels: Sequence[str],
    ) -> None:
        self._channels = channels
        self._workspace = workspace
        self._tries = tries
        self._clock = clock
        self._interval_ns = interval_ns

    async def held_up(self, task: Task, verdict: Verdict, *, began: bool = True) -> Ended:
        """Put back a task of which nothing was sent; its try does not count."""
        due = self._soon(verdict.resets_at) if began else 0
        await self._tries.park(task.id, verdict.reason, due_at=due, uncount=began)
        return ended(task, "parked", verdict.reason, taken=False, verdict=verdict)

    async def unable(self, task: Task, why: str) -> Ended:
        """Put back a task whose model's provider has no key here; it is in nobody's way."""
        return replace(await self.held_up(task, Verdict(reason=why)), unable=why)

    async def refused(self, task: Task, attempt: Attempt, refusal: BudgetExceeded) -> Ended:
        """Put the task back until there is budget; fail it where there never will be."""
        if is_final(refusal):
            failed = await self.failed(task, attempt, str(refusal), retry_at=None)
            return replace(failed, taken=False)
        return await self.held_up(task, as_verdict(refusal))

    async def failed(
        self,
        task: Task,
        attempt: Attempt,
        why: str,
        *,
        retry_at: int | None,
        result: Mapping[str, Any] | None = None,
    ) -> Ended:
        """Fail the task, or let it be tried again from *retry_at* on while it has tries left."""
        after = await self._tries.fail(attempt, why, retry_at=retry_at, result=result)
        return ended(task, "retried" if after.status is Status.PENDING else "failed", why)

    async def stopped(self, task: Task, attempt: Attempt, verdict: Verdict) -> Ended:
        """Put back a task whose calls were stopped by *verdict* before all of them were sent.

        A try that cost something counts: another one begins anew, and pays anew.
        """
        if not await asyncio.to_thread(was_sent, self._workspace.ledger, attempt):
            return await self.held_up(task, verdict)
        due = self._soon(verdict.resets_at)
        after = await self.failed(task, attempt, verdict.reason, retry_at=due)
        return replace(after, verdict=verdict)

    async def unknown(self, task: Task, attempt: Attempt, why: str) -> Ended:
        """Leave the task to a person, and tell one."""
        await self._tries.unknown(attempt, why)
        await asyncio.to_thread(nudge_unknown, self._workspace, task, attempt, why, self._channels)
        return ended(task, "unknown", why)

    async def cut_short(self, task: Task, attempt: Attempt) -> Ended:
        """Put back a task whose try was stopped; to a person, if it must not be tried again."""
        why = "the heartbeat was stopped before the task was done"
        sent = await asyncio.to_thread(was_sent, self._workspace.ledger, attempt)
        if not sent:
            return await self.held_up(task, Verdict(reason=why))
        # The try that was cut short counts already in the books, and not yet in *task*.
        if task.destructive or task.attempts + 1 >= task.max_attempts:
            return await self.unknown(task, attempt, why)
        await self._tries.park(task.id, why, due_at=0, uncount=False)
        return ended(task, "parked", why)

    async def put_off(self, task: Task, attempt: Attempt, why: str, after_s: float | None) -> Ended:
        """Put back a task that its provider could not take; its try does not count."""
        due = self._tries.retry_at(attempt, after_s)
        await self._tries.park(task.id, why, due_at=due, uncount=True)
        return ended(task, "retried", why)

    def _soon(self, resets_at: int) -> int:
        """Return when what is in the way may be gone: not in this cycle, but in the next one."""
        now = self._clock.instant()
        soon = now + self._interval_ns // 2
        return min(soon, resets_at) if resets_at > now else soon


def as_verdict(refusal: BudgetExceeded) -> Verdict:
    """Return a refusal as what keeps the heartbeat from dispatching."""
    resets = refusal.resets_at
    return Verdict(
        state="paused" if refusal.reason is Reason.PAUSED else "at_cap",
        reason=str(refusal),
        resets_at=0 if resets is None else from_datetime(resets),
    )


def seconds(nanos: int) -> float:
    """Return *nanos* in seconds."""
    return nanos / NANOS_PER_SECOND
