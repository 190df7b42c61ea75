"""Stages that are Python functions: plain ones in a worker thread, asynchronous ones awaited."""

import asyncio
import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, overload

from earmark.admission.call import Grant, Reply
from earmark.clock import NANOS_PER_SECOND, parse_duration
from earmark.composition.catalogue import Quote
from earmark.composition.effects import NON_DETERMINISTIC
from earmark.composition.types import ANY
from earmark.errors import CallFailed, InvalidStage, Refusal
from earmark.money import AmountLike, Money
from earmark.pricing.bound import Bound, DeclaredBound
from earmark.stages.kinds.declare import EffectLike, TypeLike, declare, declared_cost
from earmark.stages.kinds.jsontext import Json, validated_json
from earmark.stages.kinds.kind import Tools, tail
from earmark.stages.stage import StageSpec

Function = Callable[[Any], Any]

_NOTHING: Final = Money()


class Costed:
    """A stage's output with what making it really cost; return it in place of the output."""

    __slots__ = ("cost", "value")

    def __init__(self, value: Json, cost: AmountLike) -> None:
        self.value = value
        self.cost = Money(cost)


_reported: ContextVar[list[Money] | None] = ContextVar("earmark_reported_cost", default=None)


def report_cost(amount: AmountLike) -> None:
    """Add *amount* USD to what the running stage really cost; also counts if it fails afterwards.

    Raises:
        RuntimeError: No stage is running in this thread or task.
    """
    reported = _reported.get()
    if reported is None:
        raise RuntimeError("report_cost is for functions that run as a stage")
    reported.append(Money(amount))


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonStage:
    """A function as a stage; calling it calls the function, which stays testable as it is."""

    spec: StageSpec
    function: Function
    asynchronous: bool
    timeout_s: float | None = None
    cost: Money = field(init=False)
    """What one attempt costs by declaration."""
    bound: Bound = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cost", declared_cost(self.spec))
        object.__setattr__(self, "bound", DeclaredBound(self.cost))

    @property
    def free(self) -> bool:
        """It declares to cost nothing."""
        return not self.cost

    def quote(self, tools: Tools) -> Quote | None:
        """Leave its price to the declared cost."""
        del tools

    def call(self, value: Json, tools: Tools) -> "PythonCall":
        """Return the call that runs the function once on *value* itself, not on a copy."""
        return PythonCall(self, value, tools)

    def __call__(self, value: Json) -> Json:
        """Call the function itself: no budget, no thread."""
        return self.function(value)


class PythonCall:
    """One run of a function."""

    __slots__ = ("_stage", "_tools", "_value")

    def __init__(self, stage: PythonStage, value: Json, tools: Tools) -> None:
        self._stage = stage
        self._value = value
        self._tools = tools

    @property
    def name(self) -> str:
        """The stage's name."""
        return self._stage.spec.name

    @property
    def bound(self) -> Bound:
        """The declared cost."""
        return self._stage.bound

    @property
    def streams(self) -> bool:
        """Functions do not stream."""
        return False

    async def send(self, grant: Grant) -> Reply:
        """Run the function; it cost what it reported, else what it declared.

        Where it raised and had reported nothing, nobody knows what it cost. Of a synchronous
        function that is cancelled the thread works on: it cannot be stopped.

        Raises:
            CallFailed: The function raised, or returned what JSON cannot say.
            Refusal: The function was refused by a ledger it asked itself.
        """
        del grant
        reported: list[Money] = []
        token = _reported.set(reported)
        try:
            stage = self._stage
            value = await (stage.function(self._value) if stage.asynchronous else self._run())
        except (Refusal, CallFailed):
            raise
        except Exception as error:
            raise self._failed(error, sum(reported, _NOTHING) if reported else None) from error
        finally:
            _reported.reset(token)
        if isinstance(value, Costed):
            reported.append(value.cost)
            value = value.value
        cost = sum(reported, _NOTHING) if reported else stage.cost
        try:
            return Reply(value=validated_json(value), cost=cost)
        except Exception as error:
            raise self._failed(error, cost) from error

    async def _run(self) -> Json:
        function, context = self._stage.function, copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._tools.threads(), lambda: context.run(function, self._value)
        )

    def _failed(self, error: Exception, cost: Money | None) -> CallFailed:
        """Return the failure of a run that cost *cost*; `None` where nobody knows."""
        message = str(error)
        kind = type(error).__name__
        detail = tail(f"{kind}: {message}" if message else kind)
        if cost is None and self._stage.cost:
            return CallFailed(detail=detail, billed="unknown", retryable=True)
        cost = cost or _NOTHING
        return CallFailed(detail=detail, billed="yes" if cost else "no", cost=cost, retryable=True)


@overload
def stage(function: Function, /) -> PythonStage: ...


@overload
def stage(
    *,
    name: str | None = None,
    cost: AmountLike | None = None,
    effects: Iterable[EffectLike] | None = None,
    input: TypeLike = ANY,
    output: TypeLike = ANY,
    timeout: str | float | None = None,
) -> Callable[[Function], PythonStage]: ...


def stage(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    cost: AmountLike | None = None,
    effects: Iterable[EffectLike] | None = None,
    input: TypeLike = ANY,  # noqa: A002 - the format's own word
    output: TypeLike = ANY,
    timeout: str | float | None = None,
) -> PythonStage | Callable[[Function], PythonStage]:
    """Make a function of one argument, its input, a stage: `@stage` or `@stage(cost="0.05")`.

    Args:
        function: Synchronous, then it runs in a worker thread, or `async`. Takes a JSON value that
            it must not change, returns a JSON value or `Costed`.
        name: By which compositions refer to it; the function's own unless given.
        cost: The most one attempt costs, in USD; without it, the stage is free.
        effects: `"Pure"` has equal inputs run, and paid, once per run. A stage with `"Network"`,
            `"Llm"` or `"Unknown"` needs a cost. Only `"NonDeterministic"` unless given.
        input: The type it takes, such as `"Text"` or `{"Record": [["text", "Text"]]}`.
        output: The type it gives.
        timeout: How long an attempt may take, such as `"30s"`; the run's own unless given.

    Raises:
        InvalidStage: A type, an effect or the function is none.
        InvalidAmount: The cost is none.
    """

    def make(function: Function) -> PythonStage:
        return PythonStage(
            spec=declare(
                name or _name(function),
                "python",
                implementation={"python": _source(function)},
                effects=(NON_DETERMINISTIC,) if effects is None else effects,
                cost=cost,
                input=input,
                output=output,
                description=_summary(function),
            ),
            function=function,
            asynchronous=inspect.iscoroutinefunction(function),
            timeout_s=None if timeout is None else parse_duration(timeout) / NANOS_PER_SECOND,
        )

    return make if function is None else make(function)


def _name(function: Function) -> str:
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise InvalidStage(place="/name", detail="a function without a name needs name=…")
    return name


def _source(function: Function) -> str:
    # Two functions of one name are told apart by their text, or by their code where there is none.
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(function) if code is None else f"{code.co_code.hex()} {code.co_consts!r}"


def _summary(function: Function) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
