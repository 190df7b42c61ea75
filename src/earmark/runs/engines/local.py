"""The engine of one event loop: each operator's rules, and what happens when one part fails.

Source: the operators of the Noether composition format, version 0.8.2, read 2026-11-22. Where its
own runner and documents disagree, `docs/decisions` says what was chosen.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, assert_never

from earmark.clock import Clock
from earmark.composition.nodes import (
    Branch,
    Const,
    Fanout,
    Let,
    Merge,
    Node,
    Parallel,
    RemoteStage,
    Retry,
    Sequential,
    Stage,
)
from earmark.composition.pointer import escape
from earmark.errors import Refusal, StageFailed, StoreError
from earmark.runs.engine import AttemptRunner, Execution
from earmark.runs.events import StageRetried
from earmark.runs.routing import body_input, branch_input, merged, source_input
from earmark.stages.kinds.jsontext import Json, validated_json

_MS_PER_S = 1000
#: Stages side by side that are begun at once; more would only wait for their turn, and each that
#: waits is a task in memory. As many as a run may attempt at once at the most.
MAX_STARTED: Final = 1024

StageCoroutine = Coroutine[Any, Any, Json]


class LocalEngine:
    """Runs the parts of a composition as tasks of the running event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def execute(self, execution: Execution, attempts: AttemptRunner) -> Json:
        """Return the composition's output; see `Engine.execute`."""
        return await _Walk(attempts, self._clock).node(execution.root, execution.input, "")


async def side_by_side(nodes: Sequence[Node], works: Iterable[StageCoroutine]) -> list[Json]:
    """Return the results of *works*, one for each of *nodes*, in their order; see `together`.

    Of many stages not all are begun at once. Other nodes may pause, and are.
    """
    many = len(nodes) > MAX_STARTED and all(isinstance(node, Stage | RemoteStage) for node in nodes)
    if not many:
        return await together(works)
    outputs: dict[int, Json] = {}
    numbered = enumerate(works)

    async def worker() -> None:
        for number, work in numbered:
            outputs[number] = await work

    await together(worker() for _ in range(MAX_STARTED))
    return [outputs[number] for number in range(len(nodes))]


async def together(works: Iterable[StageCoroutine]) -> list[Json]:
    """Return the results of *works*, run concurrently, in their order.

    The first failure cancels the others; when all of them are over, a refusal is raised if there
    was one, else the first failure.
    """
    failure: BaseException | None = None
    tasks: list[asyncio.Task[Json]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(map(group.create_task, works))
    except BaseExceptionGroup as failures:
        failure = weightiest(failures.exceptions)
    if failure is not None:
        raise failure
    return [task.result() for task in tasks]


def weightiest(failures: Sequence[BaseException]) -> BaseException:
    """Return the failure to tell of: a refusal, then broken books, else whatever came first."""
    return min(failures, key=_weight)


def _weight(failure: BaseException) -> int:
    match failure:
        case Refusal():
            return 0
        case StoreError():
            return 1
        case _:
            return 2


class _Walk:
    """One execution of one composition."""

    def __init__(self, attempts: AttemptRunner, clock: Clock) -> None:
        self._attempts = attempts
        self._clock = clock

    async def node(self, node: Node, value: Json, path: str) -> Json:
        match node:
            case Stage() | RemoteStage():
                work = self._attempts.run(node, path, value)
            case Const(constant):
                return validated_json(constant)
            case Sequential():
                work = self._sequential(node, value, path)
            case Parallel():
                work = self._parallel(node, value, path)
            case Branch():
                work = self._branch(node, value, path)
            case Fanout():
                work = self._fanout(node, value, path)
            case Merge():
                work = self._merge(node, value, path)
            case Retry():
                work = self._retry(node, value, path)
            case Let():
                work = self._let(node, value, path)
            case _:
                assert_never(node)
        return await work

    async def _sequential(self, node: Sequential, value: Json, path: str) -> Json:
        for i, stage in enumerate(node.stages):
            value = await self.node(stage, value, f"{path}/stages/{i}")
        return value

    async def _parallel(self, node: Parallel, value: Json, path: str) -> dict[str, Json]:
        works = (
            self.node(branch, branch_input(value, name), f"{path}/branches/{escape(name)}")
            for name, branch in node.branches.items()
        )
        outputs = await side_by_side(tuple(node.branches.values()), works)
        return dict(zip(node.branches, outputs, strict=True))

    async def _branch(self, node: Branch, value: Json, path: str) -> Json:
        where = f"{path}/predicate"
        match await self.node(node.predicate, value, where):
            case True:
                return await self.node(node.if_true, value, f"{path}/if_true")
            case False:
                return await self.node(node.if_false, value, f"{path}/if_false")
            case other:
                kind = type(other).__name__
                detail = f"a predicate answers true or false, this one a {kind}"
                raise StageFailed(stage="predicate", path=where, attempt=1, detail=detail)

    async def _fanout(self, node: Fanout, value: Json, path: str) -> list[Json]:
        source = await self.node(node.source, value, f"{path}/source")
        works = (
            self.node(target, source, f"{path}/targets/{i}")
            for i, target in enumerate(node.targets)
        )
        return await side_by_side(node.targets, works)

    async def _merge(self, node: Merge, value: Json, path: str) -> Json:
        works = (
            self.node(source, source_input(value, i), f"{path}/sources/{i}")
            for i, source in enumerate(node.sources)
        )
        outputs = await side_by_side(node.sources, works)
        return await self.node(node.target, merged(outputs), f"{path}/target")

    async def _let(self, node: Let, value: Json, path: str) -> Json:
        outputs = await together(
            self.node(binding, value, f"{path}/bindings/{escape(name)}")
            for name, binding in node.bindings.items()
        )
        bound = zip(node.bindings, outputs, strict=True)
        return await self.node(node.body, body_input(value, bound), f"{path}/body")

    async def _retry(self, node: Retry, value: Json, path: str) -> Json:
        where = f"{path}/stage"
        for attempt in range(1, node.max_attempts):
            try:
                return await self.node(node.stage, value, where)
            except StageFailed as failure:
                # Refusals, unknown names and broken books are final: asking again changes nothing.
                if not failure.retryable:
                    raise
                self._emit_retry(node, path, attempt, failure)
            await self._pause(node.delay_ms)
        return await self.node(node.stage, value, where)

    async def _pause(self, delay_ms: int | None) -> None:
        if delay_ms:
            await self._clock.sleep(delay_ms / _MS_PER_S)

    def _emit_retry(self, node: Retry, path: str, attempt: int, failure: StageFailed) -> None:
        event = StageRetried(
            path=path,
            attempt=attempt,
            max_attempts=node.max_attempts,
            delay_ms=node.delay_ms or 0,
            detail=failure.detail,
        )
        self._attempts.retried(event)
