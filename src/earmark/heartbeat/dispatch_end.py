"""How a dispatch ends without a result, and what is written on the board then."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from earmark.board.task import Attempt, Task, TaskStatus
from earmark.clock import NANOS_PER_SECOND, Clock, from_datetime
from earmark.errors import BudgetExceeded, Reason
from earmark.heartbeat.affordability import is_final
from earmark.heartbeat.attempt_writer import AttemptWriter
from earmark.heartbeat.controls import GO, Verdict
from earmark.heartbeat.cycle_report import Dispatched
from earmark.heartbeat.recovery import nudge_unknown
from earmark.workspace.attempt_reservations import was_sent
from earmark.workspace.workspace import Workspace

_log = logging.getLogger("earmark.heartbeat")

DispatchOutcome = Literal["completed", "failed", "retried", "unknown", "parked", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchEnd:
    """What became of one task, and what the cycle should know of it."""

    report: Dispatched
    taken: bool = True
    """Whether it took one of the cycle's dispatches; what sent nothing leaves it to another."""
    verdict: Verdict = GO
    """What was in the way of it, and is in the way of others."""
    unable: str = ""
    """Why this heartbeat cannot do the task at all, as it is configured."""


def dispatch_end(
    task: Task,
    outcome: DispatchOutcome,
    detail: str = "",
    *,
    cost_usd: str = "",
    taken: bool = True,
    verdict: Verdict = GO,
) -> DispatchEnd:
    """Return what became of *task*, and log it."""
    _log.info("task %s %s%s", task.id, outcome, f": {detail}" if detail else "")
    report = Dispatched(
        task_id=task.id, title=task.title, outcome=outcome, cost_usd=cost_usd, detail=detail
    )
    return DispatchEnd(report=report, taken=taken, verdict=verdict)


class FailureWriter:
    """Writes on the board how an attempt ended that brought no result."""

    def __init__(
        self,
        workspace: Workspace,
        attempt_writer: AttemptWriter,
        clock: Clock,
        *,
        interval_ns: int,
        channels: Sequence[str],
    ) -> None:
        self._channels = channels
        self._workspace = workspace
        self._attempt_writer = attempt_writer
        self._clock = clock
        self._interval_ns = interval_ns

    async def park_unsent(self, task: Task, verdict: Verdict, *, began: bool = True) -> DispatchEnd:
        """Put back a task of which nothing was sent; its attempt does not count."""
        due = self._soon(verdict.resets_at) if began else 0
        await self._attempt_writer.park(task.id, verdict.reason, due_at=due, uncount=began)
        return dispatch_end(task, "parked", verdict.reason, taken=False, verdict=verdict)

    async def unable(self, task: Task, why: str) -> DispatchEnd:
        """Put back a task whose model's provider has no key here; it blocks no other task."""
        return replace(await self.park_unsent(task, Verdict(reason=why)), unable=why)

    async def refused(self, task: Task, attempt: Attempt, refusal: BudgetExceeded) -> DispatchEnd:
        """Put the task back until there is budget; fail it where there never will be."""
        if is_final(refusal):
            failed = await self.failed(task, attempt, str(refusal), retry_at=None)
            return replace(failed, taken=False)
        return await self.park_unsent(task, refusal_verdict(refusal))

    async def failed(
        self,
        task: Task,
        attempt: Attempt,
        why: str,
        *,
        retry_at: int | None,
        result: Mapping[str, Any] | None = None,
    ) -> DispatchEnd:
        """Fail the task, or let it be tried again from *retry_at* on while it has attempts left."""
        after = await self._attempt_writer.fail(attempt, why, retry_at=retry_at, result=result)
        return dispatch_end(
            task, "retried" if after.status is TaskStatus.PENDING else "failed", why
        )

    async def stopped(self, task: Task, attempt: Attempt, verdict: Verdict) -> DispatchEnd:
        """Put back a task whose calls were stopped by *verdict* before all of them were sent.

        An attempt that cost something counts: another one begins anew, and pays anew.
        """
        if not await asyncio.to_thread(was_sent, self._workspace.ledger, attempt):
            return await self.park_unsent(task, verdict)
        due = self._soon(verdict.resets_at)
        after = await self.failed(task, attempt, verdict.reason, retry_at=due)
        return replace(after, verdict=verdict)

    async def unknown(self, task: Task, attempt: Attempt, why: str) -> DispatchEnd:
        """Leave the task to a person, and nudge one."""
        await self._attempt_writer.unknown(attempt, why)
        await asyncio.to_thread(nudge_unknown, self._workspace, task, attempt, why, self._channels)
        return dispatch_end(task, "unknown", why)

    async def interrupt(self, task: Task, attempt: Attempt) -> DispatchEnd:
        """Put back a task whose attempt was stopped; to a person, if it must not be tried again."""
        why = "the heartbeat was stopped before the task was done"
        sent = await asyncio.to_thread(was_sent, self._workspace.ledger, attempt)
        if not sent:
            return await self.park_unsent(task, Verdict(reason=why))
        # The interrupted attempt counts already in the books, and not yet in *task*.
        if task.destructive or task.attempts + 1 >= task.max_attempts:
            return await self.unknown(task, attempt, why)
        await self._attempt_writer.park(task.id, why, due_at=0, uncount=False)
        return dispatch_end(task, "parked", why)

    async def reschedule(
        self, task: Task, attempt: Attempt, why: str, after_s: float | None
    ) -> DispatchEnd:
        """Put back a task that its provider could not take; its attempt does not count."""
        due = self._attempt_writer.retry_at(attempt, after_s)
        await self._attempt_writer.park(task.id, why, due_at=due, uncount=True)
        return dispatch_end(task, "retried", why)

    def _soon(self, resets_at: int) -> int:
        """Return when what is in the way may be gone: not in this cycle, but in the next one."""
        now = self._clock.instant()
        soon = now + self._interval_ns // 2
        return min(soon, resets_at) if resets_at > now else soon


def refusal_verdict(refusal: BudgetExceeded) -> Verdict:
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
