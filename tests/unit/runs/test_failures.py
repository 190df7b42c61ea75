"""What happens to a run when a part of it fails, is refused, is repeated or is cancelled."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from earmark.composition.ast import Const, Fanout, Node, Parallel, Retry, Sequential, Stage
from earmark.errors import (
    BudgetExceeded,
    CallFailed,
    CheckFailed,
    NoBudget,
    NotFound,
    Reason,
    StageFailed,
)
from earmark.money import Money
from earmark.runs.events import StageEnded, StageRetried
from earmark.runs.statement import RunStatus
from earmark.runs.statement_line import LineOutcome
from earmark.stages.kinds.process import process_stage
from earmark.stages.kinds.python import Costed, report_cost, stage
from earmark.testing import ManualClock


@stage(cost="0.10")
async def work(value: Any) -> Any:
    """Cost what it declares."""
    return value


@stage(cost="0.05")
async def broken(_: Any) -> Any:
    """Fail, and report no cost."""
    raise ValueError("no luck")


@stage(cost="0.60")
async def dear(value: Any) -> Any:
    """Cost much."""
    return value


WORK, BROKEN, DEAR = Stage("work"), Stage("broken"), Stage("dear")
STAGES = [work, broken, dear]


def outcomes(statement: Any) -> list[tuple[str, str]]:
    """Return stage and outcome of each line, in the order of the lines."""
    return [(line.stage, str(line.outcome)) for line in statement.lines]


def test_failed_stage_ends_the_run_with_its_statement(house: Any) -> None:
    """A failure tells stage, place and attempt, and carries what the run cost until then."""
    error, statement = house.fail(StageFailed, Sequential((WORK, BROKEN, WORK)), stages=STAGES)
    assert (error.stage, error.path, error.attempt) == ("broken", "/stages/1", 1)
    assert error.detail == "ValueError: no luck"
    assert isinstance(error.__cause__, CallFailed)
    # Nobody knows what the stage that raised had spent: correctable, where a settlement is not.
    states = [hold.state for hold in house.books.holds(state=None)]
    assert states == ["settled", "presumed"]
    assert statement.status is RunStatus.FAILED
    assert statement.error["code"] == "stage_failed"
    assert statement.spent == Money("0.15")
    assert outcomes(statement) == [("work", "ok"), ("broken", "failed")]
    house.check(statement)


def test_first_failure_cancels_siblings_and_waits_for_their_booking(house: Any) -> None:
    """When one branch fails the others are stopped, and what they may have cost is booked first."""
    started = asyncio.Event()

    @stage(cost="0.20")
    async def endless(_: Any) -> Any:
        started.set()
        await asyncio.Event().wait()

    @stage
    async def fails(_: Any) -> Any:
        await started.wait()
        raise ValueError("stop")

    root = Parallel({"a": Stage("endless"), "b": Stage("fails")})
    _, statement = house.fail(StageFailed, root, stages=[endless, fails])
    by_stage = {line.stage: line for line in statement.lines}
    assert by_stage["endless"].outcome is LineOutcome.CANCELLED
    assert by_stage["endless"].presumed
    assert statement.spent == statement.presumed == Money("0.20")
    assert house.held == Money()
    house.check(statement)


def test_siblings_not_yet_begun_are_never_called(house: Any) -> None:
    """After a failure no further stage is started."""
    calls: list[str] = []

    @stage
    async def count(value: Any) -> Any:
        calls.append("called")
        return value

    root = Fanout(Const(0), (BROKEN, *[Stage("count")] * 20))
    house.fail(StageFailed, root, stages=[broken, count], concurrency=1)
    assert calls == []


def test_refusal_outranks_other_errors(house: Any) -> None:
    """Where one branch fails and another is refused, the run is refused: the reason to act on."""
    started = asyncio.Event()

    @stage(cost="0.30")
    async def slow_to_stop(_: Any) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise BudgetExceeded(reason=Reason.HELD, budget="elsewhere", detail="full") from None

    @stage
    async def fails(_: Any) -> Any:
        await started.wait()
        raise ValueError("first")

    root = Parallel({"a": Stage("fails"), "b": Stage("slow_to_stop")})
    error, statement = house.fail(BudgetExceeded, root, stages=[fails, slow_to_stop])
    assert error.budget == "elsewhere"
    assert statement.status is RunStatus.REFUSED
    house.check(statement)


def test_stage_that_does_not_fit_is_not_made(house: Any) -> None:
    """A call that does not fit the run's budget is refused with the numbers, and costs nothing."""
    root = Sequential((Retry(DEAR, 1), Fanout(DEAR, (WORK,))))
    _, statement = house.fail(BudgetExceeded, root, stages=STAGES, budget="1.19")
    assert outcomes(statement) == [("dear", "ok"), ("dear", "refused")]
    assert statement.spent == Money("0.60")

    @stage(cost="0.60")
    async def sometimes(value: Any) -> Any:
        return Costed(value, "0.70")

    error, statement = house.fail(
        BudgetExceeded,
        Sequential((Stage("sometimes"), DEAR)),
        stages=[sometimes, dear],
        budget="1.20",
    )
    assert (error.requested, error.available) == (Money("0.60"), Money("0.50"))
    assert error.budget == statement.budget
    assert any("/stages/1" in note for note in error.__notes__)
    assert outcomes(statement) == [("sometimes", "ok"), ("dear", "refused")]
    assert statement.overrun == Money("0.10")
    house.check(statement)


@pytest.mark.parametrize(
    ("root", "budget", "needed"),
    [
        (Sequential((WORK, DEAR)), "0.59", "0.60"),
        (Retry(Sequential((WORK, Fanout(WORK, (DEAR,)))), 3), "0.59", "0.60"),
        # These cannot settle less than they hold, so their sum is certain.
        (Sequential((Stage("exact"), WORK, Stage("exact"))), "0.59", "0.60"),
    ],
)
def test_what_can_never_fit_is_refused_before_a_call(
    house: Any, root: Node, budget: str, needed: str
) -> None:
    """What every run must hold at once, or cost, is above its budget: refused, with the numbers."""
    exact = process_stage("exact", ["echo", "1"], cost="0.30")
    error, statement = house.fail(BudgetExceeded, root, stages=[*STAGES, exact], budget=budget)
    assert (error.reason, error.requested) == (Reason.TOO_LARGE, Money(needed))
    assert statement.lines == ()
    assert statement.status is RunStatus.REFUSED
    assert house.books.budgets("acme")[1:] == []


def test_what_may_fit_is_run(house: Any) -> None:
    """Equal pure calls are paid once, and what settles less than it holds leaves room for more."""
    pure = stage(name="pure", cost="1", effects=["Pure"])(lambda value: value)
    twice = Sequential((Stage("pure"), Stage("pure")))
    assert house.run(twice, 1, stages=[pure], budget="1").spent == Money(1)

    less = stage(name="less", cost="0.02")(lambda value: Costed(value, "0.0125"))
    twice = Sequential((Stage("less"), Stage("less")))
    assert house.run(twice, 1, stages=[less], budget="0.035").spent == Money("0.025")


def test_what_fits_tomorrow_is_not_refused_for_ever(make_house: Any) -> None:
    """A window that is spent today does not stand against a run that may go on until it ends."""
    clock = ManualClock()
    house = make_house("1 usd per day", clock=clock)
    house.run(DEAR, stages=STAGES)

    @stage
    async def overnight(value: Any) -> Any:
        clock.advance(timedelta(days=1))
        return value

    statement = house.run(Sequential((Stage("overnight"), DEAR)), stages=[overnight, dear])
    assert statement.spent == Money("0.60")


def test_plan_above_a_budget_higher_up_is_refused_before_a_call(make_house: Any) -> None:
    """What is left on the budgets above the run counts too."""
    house = make_house("1 usd total")
    house.run(DEAR, stages=STAGES)
    error, statement = house.fail(BudgetExceeded, DEAR, stages=STAGES)
    assert (error.reason, error.budget, error.available) == (
        Reason.EXHAUSTED,
        "acme",
        Money("0.40"),
    )
    assert statement.lines == ()


def test_run_under_a_path_without_limit_is_bounded_by_its_own(house: Any) -> None:
    """A run brings its own limit, so it may run where no budget was set."""
    house.books.set_budget("free", limits=[])
    statement = house.run(WORK, stages=STAGES)
    assert statement.limit == Money(1)


@pytest.mark.parametrize("attempts", [2, 5])
def test_retry_pays_for_each_attempt(house: Any, attempts: int) -> None:
    """Each attempt is its own reservation; a failed one is not given back."""
    error, statement = house.fail(StageFailed, Retry(BROKEN, attempts), stages=STAGES)
    assert error.attempt == attempts
    assert [line.attempt for line in statement.lines] == list(range(1, attempts + 1))
    assert len({line.key for line in statement.lines}) == attempts
    assert statement.spent == Money.nanos(attempts * 50_000_000)
    house.check(statement)


def test_retry_that_recovers_succeeds(house: Any) -> None:
    """A run whose retry recovers is a success, with its failed attempts in the statement."""
    answers = iter([ValueError("once"), ValueError("twice"), "done"])

    @stage(cost="0.01")
    async def flaky(_: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    statement = house.run(Retry(Stage("flaky"), 4), stages=[flaky])
    assert (statement.status, statement.output) == (RunStatus.OK, "done")
    assert [str(line.outcome) for line in statement.lines] == ["failed", "failed", "ok"]
    told = [event.attempt for event in house.events if isinstance(event, StageRetried)]
    assert told == [1, 2]
    house.check(statement)


def test_retry_waits_between_attempts(make_house: Any) -> None:
    """The delay between two attempts is kept, by the run's clock."""
    clock = ManualClock()
    house = make_house(clock=clock)
    seen: list[int] = []

    @stage
    async def flaky(_: Any) -> Any:
        seen.append(clock.elapsed())
        raise ValueError("again")

    async def main() -> None:
        root = Retry(Stage("flaky"), 3, delay_ms=500)
        task = asyncio.ensure_future(house.run_async(root, stages=[flaky]))
        while not task.done():
            await asyncio.sleep(0)
            if clock.sleepers > 1:  # one renews the lease
                clock.advance(timedelta(milliseconds=250))
        with pytest.raises(StageFailed):
            await task

    asyncio.run(main())
    assert seen == [0, 500_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (ValueError("x"), 3),
        (CallFailed(detail="gone", billed="no", retryable=True), 3),
        (CallFailed(detail="wrong key", billed="no", retryable=False), 1),
        (BudgetExceeded(reason=Reason.HELD, budget="b", detail="full"), 1),
        (NoBudget(budget="b"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_retry_repeats_only_what_may_succeed(house: Any, failure: Any, attempts: int) -> None:
    """Failures are repeated; refusals, and failures that say so, are final."""
    calls: list[int] = []

    @stage
    async def fails(_: Any) -> Any:
        calls.append(1)
        raise failure

    with pytest.raises((StageFailed, BudgetExceeded, NoBudget)):
        house.run(Retry(Stage("fails"), 3), stages=[fails])
    assert len(calls) == attempts


def test_refusal_inside_a_retry_buys_nothing_more(house: Any) -> None:
    """Once it is known to be unaffordable, a retry does not buy the cheap part again."""

    @stage(cost="0.03")
    async def cheap(value: Any) -> Any:
        return value

    @stage(cost="0.40")
    async def fails(_: Any) -> Any:
        raise ValueError("no")

    root = Retry(Sequential((Stage("cheap"), Stage("fails"))), 20)
    error, statement = house.fail(BudgetExceeded, root, stages=[cheap, fails])
    assert error.requested == Money("0.40")
    assert [line.stage for line in statement.lines] == ["cheap", "fails"] * 3
    assert [str(line.outcome) for line in statement.lines][-1] == "refused"


def test_time_out_is_a_stage_failure(make_house: Any) -> None:
    """A stage that takes too long fails, its whole hold presumed, and may be repeated."""
    clock = ManualClock()
    house = make_house(clock=clock)

    @stage(cost="0.10", timeout="5s")
    async def endless(_: Any) -> Any:
        await asyncio.Event().wait()

    async def main() -> Any:
        root = Retry(Stage("endless"), 2)
        task = asyncio.ensure_future(house.run_async(root, stages=[endless]))
        while not task.done():
            await asyncio.sleep(0)
            if clock.sleepers > 1:  # one renews the lease
                clock.advance(timedelta(seconds=5))
        with pytest.raises(StageFailed) as caught:
            await task
        return caught.value

    error = asyncio.run(main())
    assert "5 s" in error.detail
    assert [line.state for line in error.statement.lines] == ["presumed", "presumed"]
    assert error.statement.spent == Money("0.20")
    house.check(error.statement)


def test_free_stage_has_a_time_limit_too(house: Any) -> None:
    """A stage that costs nothing may not hang a run either."""

    @stage(timeout=0.01)
    async def endless(_: Any) -> Any:
        await asyncio.Event().wait()

    error, _ = house.fail(StageFailed, Stage("endless"), stages=[endless])
    assert "no answer within 0.01 s" in error.detail


def test_cancelled_run_is_booked_and_written(house: Any) -> None:
    """Cancelling a run stops its stages, books what they may have cost, and keeps its statement."""

    async def main() -> Any:
        began = asyncio.Event()

        @stage(cost="0.25")
        async def endless(_: Any) -> Any:
            began.set()
            await asyncio.Event().wait()

        ended: list[Any] = []
        task = asyncio.ensure_future(
            house.run_async(Stage("endless"), stages=[endless], on_event=ended.append)
        )
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return ended[-1].statement

    statement = asyncio.run(main())
    assert statement.status is RunStatus.CANCELLED
    assert outcomes(statement) == [("endless", "cancelled")]
    assert statement.spent == Money("0.25")
    house.check(statement)


def test_cost_reported_before_a_failure_is_what_it_cost(house: Any) -> None:
    """A stage that knows what it spent before it failed is charged that."""

    @stage(cost="0.30")
    async def fails(_: Any) -> Any:
        report_cost("0.07")
        raise ValueError("no")

    _, statement = house.fail(StageFailed, Stage("fails"), stages=[fails])
    assert statement.spent == Money("0.07")
    house.check(statement)


@pytest.mark.parametrize("then", ["succeeds", "fails"])
def test_free_stage_that_reports_a_cost_is_booked(house: Any, then: str) -> None:
    """Money a stage says it spent is booked, though it declared to be free."""

    @stage
    async def liar(_: Any) -> Any:
        report_cost("0.40")
        if then == "fails":
            raise ValueError("and it failed")
        return "done"

    if then == "fails":
        _, statement = house.fail(StageFailed, Stage("liar"), stages=[liar])
    else:
        statement = house.run(Stage("liar"), stages=[liar])
    assert (statement.spent, statement.overrun) == (Money("0.40"), Money("0.40"))
    house.check(statement)


def test_unknown_stage_is_refused_before_a_call(house: Any) -> None:
    """A reference nobody knows refuses the run with its place; nothing is called."""
    error, statement = house.fail(CheckFailed, Sequential((WORK, Stage("wrk"))), stages=STAGES)
    assert "/stages/1" in error.problems[0]
    assert statement.lines == ()


def test_unpriced_effect_is_refused_unless_allowed_by_name(house: Any) -> None:
    """A stage that may cost money and has no price does not run, unless its effect is allowed."""

    @stage(effects=["Network"])
    async def fetch(_: Any) -> Any:
        return "page"

    house.fail(CheckFailed, Stage("fetch"), stages=[fetch])
    assert house.run(Stage("fetch"), stages=[fetch], allow=["network"]).output == "page"


def test_input_of_another_type_is_refused_before_a_call(house: Any) -> None:
    """The run's input is checked against the type the composition takes."""

    @stage(input="Text", cost="0.01")
    async def shout(value: Any) -> Any:
        return value.upper()

    error, statement = house.fail(CheckFailed, Stage("shout"), 7, stages=[shout])
    assert "input" in error.problems[0]
    assert statement.lines == ()


def test_error_that_is_no_stages_ends_the_run_and_keeps_its_statement(house: Any) -> None:
    """An error of the program around the run ends it; what was called is booked and told."""
    statements: list[Any] = []

    def on_event(event: Any) -> None:
        if isinstance(event, StageEnded):
            raise ZeroDivisionError
        statements.append(event)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(house.run_async(WORK, stages=STAGES, on_event=on_event))
    statement = statements[-1].statement
    assert (statement.status, statement.spent) == (RunStatus.FAILED, Money("0.10"))
    house.check(statement)


def test_missing_provider_is_named(house: Any) -> None:
    """A model stage whose provider is not configured is refused, with the provider's name."""
    from earmark.stages.kinds.model import model_stage

    ask = model_stage("ask", "nowhere/m", "{text}")
    error, _ = house.fail((CheckFailed, NotFound), Stage("ask"), "x", stages=[ask])
    assert "nowhere" in str(error)
