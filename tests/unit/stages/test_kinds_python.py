"""Functions as stages: what they give, what they cost, and what becomes of their errors."""

import asyncio
import threading
from typing import Any

import pytest

from earmark.admission.call import Grant, Reply
from earmark.composition.effects import NETWORK, CostEffect
from earmark.composition.types import TEXT
from earmark.errors import BudgetExceeded, CallFailed, InvalidAmount, InvalidStage, Reason
from earmark.money import Money
from earmark.stages.kinds.kind import Tools
from earmark.stages.kinds.python import Costed, PythonStage, report_cost, stage
from support.last_resort import LAST_RESORT_S


async def _quiet(_: int) -> None:
    """Nothing grows."""


GRANT = Grant(max_output_tokens=None, timeout_s=60.0, available=Money(1), produced=_quiet)


def send(made: PythonStage, value: Any = None) -> Reply:
    """Run the stage's call once."""

    async def main() -> Reply:
        tools = Tools(concurrency=4)
        try:
            return await made.call(value, tools).send(GRANT)
        finally:
            await tools.aclose()

    return asyncio.run(main())


def test_decorated_function_is_a_stage_and_still_a_function() -> None:
    """`@stage` alone names the stage after its function, which can be called as before."""

    @stage
    def shout(value: Any) -> Any:
        """Say it louder."""
        return value.upper()

    assert shout("a") == "A"
    assert (shout.spec.name, shout.spec.kind) == ("shout", "python")
    assert shout.spec.description == "Say it louder."
    assert shout.free
    assert send(shout, "a") == Reply(value="A", cost=Money())


def test_declared_stage_has_types_effects_and_price() -> None:
    """Types and effects are given in the author's shorthand, the cost in dollars."""
    made = stage(name="ask", cost="0.05", effects=["Network"], input="Text", timeout="3s")(len)
    assert made.spec.input == TEXT
    assert made.spec.effects.effects == (CostEffect(Money("0.05")), NETWORK)
    assert made.timeout_s == 3
    assert not made.free
    assert made.call("abc", Tools()).bound.cost() == Money("0.05")


def test_identity_follows_the_code() -> None:
    """Two functions of one name and different code are two stages."""
    first, second, again = (
        stage(name="f")(lambda value: value + 1),
        stage(name="f")(lambda value: value + 2),
        stage(name="f")(lambda value: value + 1),
    )
    assert first.spec.signature_id == second.spec.signature_id
    assert len({each.spec.stage_id for each in (first, second, again)}) >= 2


def test_plain_function_runs_beside_the_event_loop() -> None:
    """A blocking function runs in a worker thread, and the loop goes on meanwhile."""
    released = threading.Event()

    @stage
    def blocks(_: Any) -> Any:
        assert released.wait(LAST_RESORT_S)
        return threading.current_thread() is threading.main_thread()

    async def main() -> Reply:
        tools = Tools()
        task = asyncio.ensure_future(blocks.call(None, tools).send(GRANT))
        await asyncio.sleep(0)
        released.set()
        reply = await task
        await tools.aclose()
        return reply

    assert asyncio.run(main()).value is False


def test_asynchronous_function_runs_in_the_event_loop() -> None:
    """An `async` function is awaited where it is called."""

    @stage
    async def here(_: Any) -> Any:
        await asyncio.sleep(0)
        return threading.current_thread() is threading.main_thread()

    assert send(here).value is True


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_stage_says_what_it_really_cost(kind: str) -> None:
    """Costs are reported with the output, or while the stage runs; both add up."""

    def plain(_: Any) -> Any:
        report_cost("0.01")
        report_cost(Money("0.02"))
        return Costed("out", "0.04")

    async def waiting(_: Any) -> Any:
        return plain(None)

    made = stage(name="s", cost="1")(plain if kind == "sync" else waiting)
    assert send(made) == Reply(value="out", cost=Money("0.07"))


def test_stage_that_says_nothing_cost_what_it_declared() -> None:
    """Without a report the declared cost is the cost."""
    assert send(stage(name="s", cost="0.25")(lambda _: 1)).cost == Money("0.25")


def test_report_outside_a_stage_is_an_error() -> None:
    """Nobody would book it."""
    with pytest.raises(RuntimeError, match="as a stage"):
        report_cost("0.01")


def test_stages_side_by_side_report_apart() -> None:
    """What one stage reports is not charged to another that runs at the same time."""

    @stage(cost="1")
    async def spends(value: Any) -> Any:
        await asyncio.sleep(0)
        report_cost(value)
        await asyncio.sleep(0)

    async def main() -> list[Reply]:
        sends = (spends.call(f"0.0{i}", Tools()).send(GRANT) for i in range(1, 6))
        return await asyncio.gather(*sends)

    assert [str(reply.cost) for reply in asyncio.run(main())] == [f"0.0{i}" for i in range(1, 6)]


@pytest.mark.parametrize(
    ("cost", "told", "billed", "charged"),
    [
        (None, None, "no", Money()),
        ("0.30", None, "unknown", None),
        ("0.30", "0.10", "yes", Money("0.10")),
        (None, "0.10", "yes", Money("0.10")),
    ],
)
def test_error_of_the_function_fails_the_call(
    cost: Any, told: str | None, billed: str, charged: Money | None
) -> None:
    """What a stage cost that raised is what it reported; nobody knows, if it reported nothing."""

    def fails(_: Any) -> Any:
        if told is not None:
            report_cost(told)
        raise KeyError("topic")

    with pytest.raises(CallFailed) as caught:
        send(stage(cost=cost)(fails))
    failure = caught.value
    assert failure.detail == "KeyError: 'topic'"
    assert (failure.billed, failure.cost, failure.retryable) == (billed, charged, True)
    assert isinstance(failure.__cause__, KeyError)


@pytest.mark.parametrize(
    "error",
    [
        CallFailed(detail="turned away", billed="no", retryable=False),
        BudgetExceeded(reason=Reason.HELD, budget="b", detail="full"),
    ],
    ids=["CallFailed", "BudgetExceeded"],
)
def test_stage_may_say_itself_how_it_failed(error: Exception) -> None:
    """A failure that knows what was billed, and a refusal, pass through as they are."""

    def fails(_: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        send(stage(cost="0.30")(fails))
    assert caught.value is error


@pytest.mark.parametrize("output", [{1, 2}, object(), float("nan"), {"a": [b"x"]}, {(1,): 2}])
def test_output_that_json_cannot_say_is_a_failure(output: Any) -> None:
    """What a stage gives must be readable by the next one, wherever that runs."""
    with pytest.raises(CallFailed) as caught:
        send(stage(name="s")(lambda _: output))
    assert caught.value.billed == "no"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cost": "-1"}, InvalidAmount),
        ({"cost": 0.5}, TypeError),
        ({"effects": ["Telepathy"]}, InvalidStage),
        ({"effects": ["Cost"]}, InvalidStage),
        ({"input": "Number of apples"}, InvalidStage),
        ({"output": {"List": "?"}}, InvalidStage),
    ],
    ids=str,
)
def test_declaration_that_makes_no_sense_is_refused(options: Any, error: Any) -> None:
    """A wrong price, effect or type is refused where the stage is declared."""
    with pytest.raises(error):
        stage(name="s", **options)(len)


def test_function_without_a_name_needs_one() -> None:
    """A composition must be able to refer to it."""
    with pytest.raises(InvalidStage, match="name="):
        stage()(lambda value: value)


def test_thread_left_behind_does_not_hold_up_the_run() -> None:
    """A cancelled blocking function goes on in its thread, and the run does not wait for it."""
    released, ended = threading.Event(), threading.Event()

    @stage
    def blocks(_: Any) -> Any:
        released.wait(LAST_RESORT_S)
        ended.set()

    async def main() -> None:
        tools = Tools()
        task = asyncio.ensure_future(blocks.call(None, tools).send(GRANT))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await tools.aclose()

    asyncio.run(main())
    assert not ended.is_set()
    released.set()
    assert ended.wait(LAST_RESORT_S)
