"""A task that is a composition: a run below the agent's budget, with a budget of its own."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from earmark.admission.cancellation import run_to_completion
from earmark.admission.guard import DEFAULT_WAIT
from earmark.board.task import Attempt, CompositionWork, Task
from earmark.clock import Clock, parse_duration
from earmark.composition.nodes import Node, RemoteStage, children
from earmark.composition.parse import parse_composition
from earmark.config.settings import HeartbeatSettings
from earmark.errors import (
    BudgetExceeded,
    EarmarkError,
    InvalidComposition,
    NoBudget,
    Reason,
    StageFailed,
    StoreError,
)
from earmark.heartbeat.attempt_writer import AttemptWriter
from earmark.heartbeat.controls import Verdict
from earmark.heartbeat.dispatch_end import (
    DispatchEnd,
    FailureWriter,
    dispatch_end,
    refusal_verdict,
    seconds,
)
from earmark.heartbeat.model_task import as_text, tokens_of
from earmark.heartbeat.runtime import Runtime
from earmark.heartbeat.send_check import SendCheck
from earmark.ids import new_run_id
from earmark.runs.runner import run_async
from earmark.runs.statement import Statement
from earmark.stages.kinds.remote import RemoteKind
from earmark.workspace.attempt_reservations import is_unresolved, was_sent
from earmark.workspace.workspace import Workspace

T = TypeVar("T")

_SHORT_ID: Final = 12
_MILLISECOND: Final = 1_000_000


class CompositionDispatcher:
    """Runs compositions for the dispatcher."""

    def __init__(
        self,
        workspace: Workspace,
        settings: HeartbeatSettings,
        runtime: Runtime,
        *,
        attempt_writer: AttemptWriter,
        ends: FailureWriter,
        permission: Callable[[Task], Verdict],
        clock: Clock,
    ) -> None:
        """Use *permission* before each call that costs: it says whether the task's may be sent."""
        self._workspace = workspace
        self._settings = settings
        self._runtime = runtime
        self._attempt_writer = attempt_writer
        self._ends = ends
        self._permission = permission
        self._clock = clock
        interval_ns = parse_duration(settings.interval)
        self._wait_s = seconds(min(parse_duration(DEFAULT_WAIT), interval_ns))

    async def dispatch(self, task: Task, work: CompositionWork) -> DispatchEnd:
        """Run the composition of a claimed task, and tell the board how that ended."""
        graph = json.dumps(work.graph)
        run_id = new_run_id(self._clock)
        attempt, cancelled = await run_to_completion(
            self._attempt_writer.begin_run(
                task,
                model=f"composition/{parse_composition(graph).id[:_SHORT_ID]}",
                budget=f"{self._settings.budget}/run-{run_id}",
                run_id=run_id,
            )
        )
        if cancelled is not None:
            return await self._ends.park_unsent(task, Verdict(reason="the heartbeat was stopped"))
        send_check = SendCheck(lambda: self._permission(task))
        try:
            self._check_addresses(graph)
            statement = await self._in_time(
                self.run(graph, work.input, work.budget, run_id, send_check)
            )
        except StoreError:
            raise
        except (EarmarkError, TimeoutError) as error:
            return await self._handle_failure(task, attempt, error, send_check.blocked_by)
        except asyncio.CancelledError:
            return (await run_to_completion(self._ends.interrupt(task, attempt)))[0]
        return (await run_to_completion(self._answered(task, attempt, statement)))[0]

    def _check_addresses(self, graph: str) -> None:
        """Refuse a graph that calls an address which the configuration does not have.

        Who may add a task chooses its graph, and the calls go out from this host.
        """
        known = {stage.url for stage in self._runtime.stages if isinstance(stage, RemoteKind)}
        waiting: list[Node] = [parse_composition(graph).root]
        while waiting:
            node = waiting.pop()
            waiting += [child for _, child in children(node)]
            if isinstance(node, RemoteStage) and node.url not in known:
                raise InvalidComposition(
                    place="",
                    detail=f"it calls {node.url[:200]}, and a task may call only the addresses of"
                    " remote stages in this heartbeat's configuration: add one there",
                )

    async def run(
        self,
        graph: str,
        value: Any,  # noqa: ANN401 - JSON of any kind
        budget: str,
        run_id: str,
        send_check: SendCheck,
    ) -> Statement:
        """Run a composition to its end on a budget of its own; raises as `run_async`."""
        return await run_async(
            graph,
            value,
            ledger=self._workspace.ledger.as_async(),
            under=self._settings.budget,
            budget=budget,
            stages=self._runtime.stages,
            allow=self._runtime.allow,
            providers=self._runtime.providers,
            policy=self._runtime.policy,
            wait=self._wait_s,
            timeout=self._settings.task_timeout,
            run_id=run_id,
            gate=send_check,
            clock=self._clock,
        )

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what *work* gives; cancel it, and let it book, after the task's time-out."""
        running = asyncio.ensure_future(work)
        alarm = asyncio.ensure_future(
            self._clock.sleep(self._settings.task_timeout.total_seconds())
        )
        try:
            await asyncio.wait((running, alarm), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait((running,))
                if running.cancelled():
                    raise TimeoutError
            return running.result()
        except asyncio.CancelledError:
            running.cancel()
            await run_to_completion(_quietly(running))
            raise
        finally:
            alarm.cancel()

    async def _handle_failure(
        self,
        task: Task,
        attempt: Attempt,
        error: EarmarkError | TimeoutError,
        blocked_by: Verdict | None,
    ) -> DispatchEnd:
        limit_s = self._settings.task_timeout.total_seconds()
        why = f"no end within {limit_s:g} s" if isinstance(error, TimeoutError) else str(error)
        ledger = self._workspace.ledger
        if await asyncio.to_thread(is_unresolved, ledger, attempt):
            return await self._ends.unknown(task, attempt, why)
        stopped = blocked_by or _paused(error)
        if stopped is not None:
            return await self._ends.stopped(task, attempt, stopped)
        if not _may_pass(error, attempt):
            return await self._ends.failed(task, attempt, why, retry_at=None)
        refused = isinstance(error, BudgetExceeded | NoBudget)
        if refused and not await asyncio.to_thread(was_sent, ledger, attempt):
            return await self._not_sent(task, attempt, error)
        retry_at = self._attempt_writer.retry_at(attempt)
        return await self._ends.failed(task, attempt, why, retry_at=retry_at)

    async def _not_sent(
        self, task: Task, attempt: Attempt, error: EarmarkError | TimeoutError
    ) -> DispatchEnd:
        if isinstance(error, BudgetExceeded):
            return await self._ends.refused(task, attempt, error)
        return await self._ends.park_unsent(task, Verdict(state="error", reason=str(error)))

    async def _answered(self, task: Task, attempt: Attempt, statement: Statement) -> DispatchEnd:
        counts = [line.usage for line in statement.lines if line.usage is not None]
        tokens = tokens_of(counts)
        result = {
            "cost": tokens,
            "model": attempt.model,
            "status": "success",
            "transport": "composition",
            "latency_ms": statement.duration_ns // _MILLISECOND,
            "response_text": as_text(statement.output),
            "run_id": statement.run_id,
            "output": statement.output,
        }
        known = (tokens["input_tokens"], tokens["output_tokens"]) if counts else (None, None)
        await self._attempt_writer.complete(attempt, result, known)
        return dispatch_end(task, "completed", cost_usd=str(statement.spent))


def _paused(error: EarmarkError | TimeoutError) -> Verdict | None:
    """Return what *error* says of a pause; None if it is none."""
    if isinstance(error, BudgetExceeded) and error.reason is Reason.PAUSED:
        return refusal_verdict(error)
    return None


def _may_pass(error: EarmarkError | TimeoutError, attempt: Attempt) -> bool:
    """Return whether another attempt may end otherwise."""
    match error:
        case BudgetExceeded():
            # More than the task itself allows: no window brings that back.
            return error.budget != attempt.budget
        case StageFailed():
            return error.retryable
        case _:
            return isinstance(error, TimeoutError | NoBudget)


async def _quietly(running: "asyncio.Future[Any]") -> None:
    """Wait for the end of what was cancelled, and take its exception for seen."""
    await asyncio.wait((running,))
    if not running.cancelled():
        running.exception()
