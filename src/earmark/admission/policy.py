"""How much to hold for a call, and what to do when that does not fit: pure decisions.

A policy is a frozen value. `first_amounts` says what to reserve first, `next_step` what to do about
a refusal, `grown_output` how far a stream's hold grows. The guard and the simulation call the same
functions; neither a clock nor a ledger is read here. `benchmarks/admission.py` measures them.

The ledger's promise holds under every policy; only `Soft` lets a call cost more than its hold.
"""

from dataclasses import dataclass, replace
from typing import Final, assert_never

from earmark.admission.quantile import P99
from earmark.budget.units import TOKENS, USD
from earmark.errors import BudgetExceeded, Reason
from earmark.money import Money
from earmark.pricing.bound import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    """Hold the worst case; if that does not fit: lower `max_tokens`, wait, clamp, refuse.

    It is lowered to the most that fits: a single call gets all that is available, and concurrent
    calls wait for it. Lowering to the expected length cut 2 to 3 times as many replies (decision
    0014).
    """

    floor: int = 256
    """While something is in flight, `max_tokens` is lowered neither below this nor below what
    replies are expected to need: the call waits."""
    smallest: int = 32
    """A reply cut shorter than this is not worth its input: refuse instead.

    On the Azure code trace 256 refused 0.9 % falsely, 32 refused 0.1 %, and less gained nothing.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Hold what a stream is expected to need, grow the hold ahead of it, stop it on a refusal.

    Assumes that a cancelled stream is billed for what was generated only; one step beyond what was
    produced is held as margin for what is on its way when the stream is stopped.

    The hold begins at 1024 output tokens, or the request's limit if that is less, until the guard
    has seen 100 replies of the model and `stage` label, then at what 99 of 100 of the last 1000
    needed. It learns in memory: each guard, so each process, begins anew. A stream that is left
    before its end is presumed at all that is held: what it began with, or, once it has grown, at
    most two steps more than was produced. Settle it by its usage where the client knows that, or
    correct it by its key: `ledger.settle(ticket.key, …)`.
    """

    step: int = 128
    """Output tokens by which a hold grows, and the margin it keeps ahead of the stream."""
    smallest: int = 32
    strict: Strict = Strict()
    """For calls that do not stream, whose bound is not in tokens, or whose reasoning is hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soft:
    """Hold what a call is expected to need and let it run: overruns are possible, and booked.

    In the simulation up to 0.1 % of all limits and 4 % of a small one was overspent.
    """

    quantile: int = P99
    """Parts per million of replies that shall fit their hold."""
    smallest: int = 32


Policy = Strict | Elastic | Soft
STRICT: Final = Strict()
ELASTIC: Final = Elastic()
SOFT: Final = Soft()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAmounts:
    """What to reserve for a call, and what the call may then produce."""

    hold: Money
    tokens: int | None
    """For `tokens` limits; `None` where the bound is not in tokens."""
    max_output_tokens: int | None
    """What the call may ask its provider for; `None` for calls not bounded in tokens."""
    covered: int | None
    """The output tokens the hold pays for; fewer than it may ask for if it grows or is soft."""
    clamped: bool = False
    """Whether `max_output_tokens` is less than the caller wanted."""

    def units(self) -> dict[str, int]:
        """Return the counted units beside the money."""
        return {} if self.tokens is None else {TOKENS: self.tokens}


@dataclass(frozen=True, slots=True)
class TryReserve:
    """Reserve these amounts next, at once."""

    amounts: HoldAmounts


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse the call."""

    refusal: BudgetExceeded


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the accounts of *refusal* change; *otherwise* is the step without waiting."""

    refusal: BudgetExceeded
    otherwise: TryReserve | Refuse


PolicyStep = TryReserve | Wait | Refuse


def effective_policy(policy: Policy, bound: Bound, *, streams: bool) -> Policy:
    """Return the policy that applies to a call: a hold only grows with a stream that has tokens."""
    if not isinstance(policy, Elastic):
        return policy
    grows = streams and bound.max_output_tokens is not None
    return policy if grows else policy.strict


def first_amounts(policy: Policy, bound: Bound, expected: int) -> HoldAmounts:
    """Return what to reserve first for a call that is *expected* to produce so many tokens."""
    wanted = bound.max_output_tokens
    match policy:
        case Strict():
            return _amounts(bound, wanted)
        case Elastic() | Soft():
            if wanted is None:
                return _amounts(bound, None)
            return _partial_amounts(bound, wanted, min(wanted, expected))
        case _:
            assert_never(policy)


def next_step(
    policy: Policy, bound: Bound, expected: int, amounts: HoldAmounts, refusal: BudgetExceeded
) -> PolicyStep:
    """Return what to do now that *amounts* were refused.

    Every `TryReserve` has smaller amounts than the one before it, so following them ends. What is
    refused in the end is the shortest useful reply: the refusal's reason is of its amounts.
    """
    wanted = bound.max_output_tokens
    if wanted is None or refusal.unit not in _OF_OUTPUT or refusal.reason not in _BY_AMOUNT:
        # A shorter reply is no help.
        final = Refuse(refusal)
        return Wait(refusal, final) if refusal.reason is Reason.HELD else final
    smallest = min(wanted, max(policy.smallest, bound.least_output_tokens))
    fits = _largest_output(bound, refusal.available)
    lower = TryReserve(_amounts(bound, fits)) if smallest <= fits < (amounts.covered or 0) else None
    if isinstance(policy, Strict) and lower is not None and fits >= max(expected, policy.floor):
        return lower
    refusal = _for_shortest_reply(bound, refusal, smallest)
    otherwise = lower or Refuse(refusal)
    waits = refusal.reason is Reason.HELD and bool(refusal.held)
    return Wait(refusal, otherwise) if waits else otherwise


def grown_output(policy: Elastic, bound: Bound, covered: int, produced: int) -> int:
    """Return how many output tokens the hold must pay for before a stream goes beyond *produced*.

    *covered* is what it pays for now; the answer is the same number while one step of margin
    remains or nothing more can come.
    """
    most = bound.max_output_tokens
    missing = -(-produced // choice_count(bound)) + policy.step - covered
    if most is None or covered >= most or missing <= 0:
        return covered
    return min(most, covered + -(-missing // policy.step) * policy.step)


def growth_cost(bound: Bound, covered: int, grown: int) -> tuple[Money, int]:
    """Return the money and the tokens by which a hold grows from *covered* to *grown* tokens."""
    cost = bound.cost(grown) - bound.cost(covered)
    return cost, (bound.tokens(grown) or 0) - (bound.tokens(covered) or 0)


def choice_count(bound: Bound) -> int:
    """Return how many replies of `max_output_tokens` each a call asks for."""
    if bound.max_output_tokens is None:
        return 1
    return max(1, (bound.tokens(1) or 0) - (bound.tokens(0) or 0))


def _largest_output(bound: Bound, room: Money | int) -> int:
    """Return the most output tokens, per choice, that *room* pays for: money, or tokens."""
    if isinstance(room, Money):
        return bound.largest_output(room) if room >= Money() else 0
    total = bound.tokens(0)
    return 0 if total is None else max(0, (room - total) // choice_count(bound))


#: Of these units a shorter reply takes less.
_OF_OUTPUT = frozenset({USD, TOKENS})
_BY_AMOUNT = frozenset({Reason.HELD, Reason.EXHAUSTED, Reason.TOO_LARGE})


def _amounts(bound: Bound, output: int | None) -> HoldAmounts:
    wanted = bound.max_output_tokens
    return HoldAmounts(
        hold=bound.cost(output),
        tokens=bound.tokens(output),
        max_output_tokens=output,
        covered=output,
        clamped=output is not None and wanted is not None and output < wanted,
    )


def _partial_amounts(bound: Bound, wanted: int, covered: int) -> HoldAmounts:
    return HoldAmounts(
        hold=bound.cost(covered),
        tokens=bound.tokens(covered),
        max_output_tokens=wanted,
        covered=covered,
    )


def _for_shortest_reply(bound: Bound, refusal: BudgetExceeded, smallest: int) -> BudgetExceeded:
    """Return *refusal* as that of a reply of *smallest* tokens: what does not fit may be lowered.

    `too_large` only where not even that fits an empty window, `held` where what is in flight is all
    that stands in its way.
    """
    need = bound.cost(smallest) if refusal.unit == USD else bound.tokens(smallest)
    if need <= refusal.available:
        return replace(refusal, reason=Reason.HELD)
    reason = Reason.TOO_LARGE
    if need <= refusal.limit:
        fits_then = need <= refusal.limit - refusal.settled
        reason = Reason.HELD if fits_then else Reason.EXHAUSTED
    return replace(refusal, reason=reason, requested=need)
