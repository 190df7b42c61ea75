"""What each policy asks for, and what it does about a refusal."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.admission.policy import (
    ELASTIC,
    SOFT,
    STRICT,
    HoldAmounts,
    Policy,
    PolicyStep,
    Refuse,
    TryReserve,
    Wait,
    effective_policy,
    first_amounts,
    grown_output,
    growth_cost,
    next_step,
)
from earmark.errors import BudgetExceeded, Reason
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import Bound, DeclaredBound, ModelBound

PRICE = PriceBook({"test/m": {"input_mtok": "1", "output_mtok": "1"}}).resolve("test/m", at=0)
#: 100 input and at most 4,000 output tokens; every token costs 0.000001 USD.
BOUND = ModelBound(price=PRICE, input_tokens=100, max_output_tokens=4000)


def micro(count: int) -> Money:
    """Return *count* millionths of a dollar: what so many tokens cost."""
    return Money.nanos(count * 1000)


def refused(
    limit: int, *, settled: int = 0, held: int = 0, reason: Reason = Reason.HELD
) -> BudgetExceeded:
    """Return a refusal by a USD limit, in millionths."""
    return BudgetExceeded(
        reason=reason,
        budget="acme",
        limit=micro(limit),
        settled=micro(settled),
        held=micro(held),
        available=micro(limit - settled - held),
    )


def ladder(
    policy: Policy, refusal: BudgetExceeded, bound: Bound = BOUND
) -> list[HoldAmounts | str]:
    """Return all that is asked for without waiting if *refusal* meets every ask, and the end."""
    asked: list[HoldAmounts | str] = []
    step: PolicyStep = TryReserve(first_amounts(policy, bound, expected=300))
    while True:
        match step:
            case TryReserve(amounts):
                asked.append(amounts)
                step = next_step(policy, bound, 300, amounts, refusal)
            case Wait():
                return [*asked, "wait"]
            case Refuse():
                return [*asked, "refuse"]


def outputs(asked: list[HoldAmounts | str]) -> list[int | str | None]:
    """Return the output tokens of each ask."""
    return [each if isinstance(each, str) else each.max_output_tokens for each in asked]


def test_strict_holds_the_worst_case() -> None:
    """The default holds the whole input and all the output a call may ask for."""
    amounts = first_amounts(STRICT, BOUND, expected=300)
    assert amounts.hold == micro(4100)
    assert amounts.units() == {"tokens": 4100}
    assert not amounts.clamped


def test_strict_lowers_to_the_most_that_fits_then_waits() -> None:
    """What is left is asked for, all of it, while replies are expected to need no more than that.

    Of less it could make no good use: it waits for what is in flight.
    """
    assert outputs(ladder(STRICT, refused(5000, held=2000))) == [4000, 2900, "wait"]
    assert outputs(ladder(STRICT, refused(5000, held=4600))) == [4000, 300, "wait"]
    assert outputs(ladder(STRICT, refused(5000, held=4601))) == [4000, "wait"]


def test_strict_does_not_take_less_than_its_floor_while_it_may_wait() -> None:
    """Also on a route of very short replies; with nothing in flight it takes what there is."""
    amounts = first_amounts(STRICT, BOUND, 20)
    assert isinstance(next_step(STRICT, BOUND, 20, amounts, refused(5000, held=4645)), Wait)
    for refusal, most in ((refused(5000, held=4644), 256), (refused(355), 255)):
        step = next_step(STRICT, BOUND, 20, amounts, refusal)
        assert isinstance(step, TryReserve)
        assert (step.amounts.max_output_tokens, step.amounts.clamped) == (most, True)


def test_strict_clamps_to_what_is_left_when_nothing_is_in_flight() -> None:
    """With nothing to wait for, the call gets the output tokens that the rest pays for."""
    spent = refused(5000, settled=4700, reason=Reason.EXHAUSTED)
    asked = ladder(STRICT, spent)
    assert outputs(asked) == [4000, 200, "refuse"]
    last = asked[1]
    assert isinstance(last, HoldAmounts)
    assert last.hold == micro(300)
    assert last.clamped


@pytest.mark.parametrize("policy", [STRICT, ELASTIC, SOFT])
@pytest.mark.parametrize(
    ("limit", "settled", "held", "reason"),
    [
        (131, 0, 0, Reason.TOO_LARGE),
        (132, 1, 0, Reason.EXHAUSTED),
        (3000, 2869, 100, Reason.EXHAUSTED),
        (3000, 2868, 100, Reason.HELD),
    ],
)
def test_the_reason_is_that_of_the_shortest_useful_reply(
    policy: Policy, limit: int, settled: int, held: int, reason: Reason
) -> None:
    """The whole request is more than any of these limits, yet on a new day it would be lowered.

    Only what not even 32 tokens fit into is too large for ever.
    """
    refusal = refused(limit, settled=settled, held=held, reason=Reason.TOO_LARGE)
    step = next_step(policy, BOUND, 300, first_amounts(policy, BOUND, 300), refusal)
    assert isinstance(step, Refuse | Wait)
    assert (step.refusal.reason, step.refusal.requested) == (reason, micro(132))
    assert isinstance(step, Wait) == (reason is Reason.HELD)


def test_a_useless_rest_is_refused() -> None:
    """A reply that would be cut after a few words is refused, not bought."""
    spent = refused(5000, settled=4890, reason=Reason.EXHAUSTED)
    assert outputs(ladder(STRICT, spent)) == [4000, "refuse"]


def test_what_can_never_fit_does_not_wait() -> None:
    """If not even the shortest useful reply fits with all in flight back, the answer is no now."""
    hopeless = refused(5000, settled=4880, held=100, reason=Reason.EXHAUSTED)
    assert outputs(ladder(STRICT, hopeless)) == [4000, "refuse"]


def test_a_short_request_is_asked_for_as_it_is() -> None:
    """A caller who wants less than the smallest useful reply gets exactly that, or nothing."""
    short = replace(BOUND, max_output_tokens=10)
    assert outputs(ladder(STRICT, refused(5000, held=4950), short)) == [10, "wait"]
    assert outputs(ladder(STRICT, refused(109, reason=Reason.TOO_LARGE), short)) == [10, "refuse"]


def test_who_cannot_wait_is_clamped() -> None:
    """The way out of waiting is the clamp to what is left now."""
    lowered = HoldAmounts(
        hold=micro(400), tokens=400, max_output_tokens=300, covered=300, clamped=True
    )
    step = next_step(STRICT, BOUND, 300, lowered, refused(5000, settled=4000, held=800))
    assert isinstance(step, Wait)
    assert isinstance(step.otherwise, TryReserve)
    assert step.otherwise.amounts.max_output_tokens == 100


def test_who_cannot_wait_is_not_cut_to_nothing() -> None:
    """Who cannot wait is refused rather than clamped to a useless rest."""
    lowered = HoldAmounts(
        hold=micro(400), tokens=400, max_output_tokens=300, covered=300, clamped=True
    )
    step = next_step(STRICT, BOUND, 300, lowered, refused(5000, settled=4000, held=890))
    assert isinstance(step, Wait)
    assert isinstance(step.otherwise, Refuse)


def test_no_policy_lowers_to_a_thinking_budget_or_below() -> None:
    """A provider refuses `max_tokens` that is not above a thinking budget: it is never sent.

    Neither where little output is expected, nor where a limit of money or of tokens leaves no more.
    """
    thinking = replace(BOUND, least_output_tokens=2001)
    for policy in (STRICT, ELASTIC, SOFT):
        amounts = first_amounts(policy, thinking, 300)
        for room in (3000, 2100, 1000):
            money = refused(room, reason=Reason.EXHAUSTED)
            tokens = BudgetExceeded(
                reason=Reason.EXHAUSTED,
                budget="acme",
                unit="tokens",
                limit=room,
                settled=0,
                held=0,
                available=room,
            )
            for refusal in (money, tokens):
                step, lower = next_step(policy, thinking, 300, amounts, refusal), amounts
                while isinstance(step, TryReserve):
                    lower = step.amounts
                    step = next_step(policy, thinking, 300, lower, refusal)
                assert (lower.max_output_tokens or 0) >= 2001, (policy, refusal)


def test_a_call_without_output_waits_for_what_is_in_flight() -> None:
    """Embeddings have no output to lower; what is held may come back."""
    silent = replace(BOUND, max_output_tokens=0)
    amounts = first_amounts(STRICT, silent, 300)
    assert isinstance(next_step(STRICT, silent, 300, amounts, refused(110, held=50)), Wait)


def test_strict_lowers_to_just_above_a_thinking_budget() -> None:
    """What is expected is less than the model must be given to think: it is given that."""
    thinking = replace(BOUND, least_output_tokens=2001)
    amounts = first_amounts(STRICT, thinking, 300)
    lowered = next_step(STRICT, thinking, 300, amounts, refused(2101, reason=Reason.EXHAUSTED))
    assert isinstance(lowered, TryReserve)
    assert lowered.amounts.max_output_tokens == 2001


def test_pauses_and_unknown_prices_are_final() -> None:
    """Neither a smaller amount nor waiting helps against a pause or a missing price."""
    for reason in (Reason.PAUSED, Reason.UNPRICED):
        assert outputs(ladder(STRICT, BudgetExceeded(reason=reason, budget="a"))) == [
            4000,
            "refuse",
        ]


def test_a_full_calls_limit_is_not_answered_with_fewer_tokens() -> None:
    """A limit of calls makes a call wait or refuses it; it does not shorten it."""
    held = BudgetExceeded(
        reason=Reason.HELD, budget="a", unit="calls", limit=3, settled=2, held=1, available=0
    )
    assert outputs(ladder(STRICT, held)) == [4000, "wait"]


def test_a_tokens_limit_clamps_too() -> None:
    """What is left of a tokens limit clamps the output like what is left of the money."""
    left = BudgetExceeded(
        reason=Reason.EXHAUSTED, budget="a", unit="tokens", limit=500, settled=250, held=0,
        available=250,
    )  # fmt: skip
    assert outputs(ladder(STRICT, left)) == [4000, 150, "refuse"]


def test_declared_costs_are_all_or_nothing() -> None:
    """A declared cost cannot be lowered: it waits while it would fit, else it is refused."""
    declared = DeclaredBound(Money("0.05"))
    assert outputs(ladder(STRICT, refused(60_000, held=20_000), declared)) == [None, "wait"]
    spent = refused(60_000, settled=20_000, reason=Reason.EXHAUSTED)
    assert outputs(ladder(STRICT, spent, declared)) == [None, "refuse"]


def test_elastic_holds_what_is_expected() -> None:
    """A stream's first hold is its expected length; what it may ask for is not lowered."""
    amounts = first_amounts(ELASTIC, BOUND, expected=300)
    assert (amounts.hold, amounts.covered, amounts.max_output_tokens) == (micro(400), 300, 4000)


def test_elastic_is_strict_with_what_does_not_stream() -> None:
    """A hold can only grow with a stream counted in tokens; other calls are held in full."""
    assert effective_policy(ELASTIC, BOUND, streams=True) is ELASTIC
    assert effective_policy(ELASTIC, BOUND, streams=False) == STRICT
    assert effective_policy(ELASTIC, DeclaredBound(Money(1)), streams=True) == STRICT


def test_elastic_grows_in_steps_with_a_margin() -> None:
    """The hold grows before the stream comes within one step of its end, by whole steps."""
    assert grown_output(ELASTIC, BOUND, covered=300, produced=172) == 300
    assert grown_output(ELASTIC, BOUND, covered=300, produced=173) == 428
    assert grown_output(ELASTIC, BOUND, covered=300, produced=1000) == 1196
    assert grown_output(ELASTIC, BOUND, covered=3990, produced=3900) == 4000
    assert grown_output(ELASTIC, BOUND, covered=4000, produced=4000) == 4000


def test_growth_pays_exactly_the_difference() -> None:
    """What a hold grows by is the exact difference of the two bounds, in money and tokens."""
    assert growth_cost(BOUND, 300, 428) == (micro(128), 128)


def test_growth_counts_all_choices() -> None:
    """The tokens produced are those of all choices together, and so is the hold."""
    two = replace(BOUND, choices=2)
    assert grown_output(ELASTIC, two, covered=300, produced=344) == 300
    assert grown_output(ELASTIC, two, covered=300, produced=346) == 428
    assert growth_cost(two, 300, 428) == (micro(256), 256)


def test_soft_holds_less_than_it_may_cost() -> None:
    """The soft policy holds the expected length and lets the call run to its own end."""
    amounts = first_amounts(SOFT, BOUND, expected=300)
    assert (amounts.hold, amounts.max_output_tokens) == (micro(400), 4000)
    assert outputs(ladder(SOFT, refused(5000, held=4900))) == [4000, "wait"]


@given(
    policy=st.sampled_from([STRICT, ELASTIC, SOFT]),
    limit=st.integers(0, 6000),
    settled=st.integers(0, 6000),
    held=st.integers(0, 6000),
    reason=st.sampled_from([Reason.HELD, Reason.EXHAUSTED, Reason.TOO_LARGE]),
)
def test_every_ladder_ends(
    policy: Policy, limit: int, settled: int, held: int, reason: Reason
) -> None:
    """Whatever refuses, each ask is smaller than the one before and the ladder ends."""
    refusal = refused(limit, settled=settled, held=held, reason=reason)
    step: PolicyStep = TryReserve(first_amounts(policy, BOUND, 300))
    holds: list[Money] = []
    while not isinstance(step, Refuse):
        if isinstance(step, Wait):
            step = step.otherwise
            continue
        holds.append(step.amounts.hold)
        step = next_step(policy, BOUND, 300, step.amounts, refusal)
    assert holds == sorted(set(holds), reverse=True)
