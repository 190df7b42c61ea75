"""How much to hold for a call, and what to do when that does not fit: pure decisions.

A policy is a frozen value. `first_ask` says what to reserve first, `after` what to do about a
refusal, `growth` how a stream's hold grows. The guard and the simulation drive the same functions;
neither a clock nor a ledger is read here. `benchmarks/admission.py` has the numbers behind them.

The ledger's promise holds under every policy; only `Soft` lets a call cost more than its hold.
"""

from dataclasses import dataclass, replace
from typing import Final, assert_never

from earmark.admission.quantile import P99
from earmark.errors import BudgetExceeded, Reason
from earmark.money import Money
from earmark.pricing.bound import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    """Hold the worst case; if that does not fit: lower `max_tokens`, wait, clamp, refuse.

    It is lowered to the most that fits: who asks alone gets all that is left, though who comes at
    the same time waits for it. Lowered to what is expected only, 2 to 3 times as many replies were
    cut (decision 0014).
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
class Ask:
    """One attempt to reserve."""

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
        return {} if self.tokens is None else {"tokens": self.tokens}


@dataclass(frozen=True, slots=True)
class Try:
    """Reserve this instead, at once."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class Refuse:
    """The answer is no."""

    refusal: BudgetExceeded


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until something changes where *refusal* came from; who cannot wait does *otherwise*."""

    refusal: BudgetExceeded
    otherwise: Try | Refuse


Next = Try | Wait | Refuse


def in_force(policy: Policy, bound: Bound, *, streams: bool) -> Policy:
    """Return the policy that a call gets: a hold can only grow with a stream counted in tokens."""
    if not isinstance(policy, Elastic):
        return policy
    grows = streams and bound.max_output_tokens is not None
    return policy if grows else policy.strict


def first_ask(policy: Policy, bound: Bound, expected: int) -> Ask:
    """Return what to reserve first for a call that is *expected* to produce so many tokens."""
    wanted = bound.max_output_tokens
    match policy:
        case Strict():
            return _ask(bound, wanted)
        case Elastic() | Soft():
            if wanted is None:
                return _ask(bound, None)
            return _partly(bound, wanted, min(wanted, expected))
        case _:
            assert_never(policy)


def after(policy: Policy, bound: Bound, expected: int, ask: Ask, refusal: BudgetExceeded) -> Next:
    """Return what to do now that *ask* was refused.

    Every `Try` asks for less than the ask before it, so following them ends. What is refused in the
    end is the shortest useful reply: the reason is its own.
    """
    wanted = bound.max_output_tokens
    if wanted is None or refusal.unit == "calls" or refusal.reason not in _BY_AMOUNT:
        # Asking for less money is no help.
        final = Refuse(refusal)
        return Wait(refusal, final) if refusal.reason is Reason.HELD else final
    smallest = min(wanted, max(policy.smallest, bound.least_output_tokens))
    fits = _largest_fitting(bound, refusal.available)
    lower = Try(_ask(bound, fits)) if smallest <= fits < (ask.covered or 0) else None
    if isinstance(policy, Strict) and lower is not None and fits >= max(expected, policy.floor):
        return lower
    refusal = _of_shortest(bound, refusal, smallest)
    otherwise = lower or Refuse(refusal)
    waits = refusal.reason is Reason.HELD and bool(refusal.held)
    return Wait(refusal, otherwise) if waits else otherwise


def growth(policy: Elastic, bound: Bound, covered: int, produced: int) -> int:
    """Return how many output tokens the hold must pay for before a stream goes beyond *produced*.

    *covered* is what it pays for now; the answer is the same number while one step of margin
    remains or nothing more can come.
    """
    most = bound.max_output_tokens
    missing = -(-produced // choices(bound)) + policy.step - covered
    if most is None or covered >= most or missing <= 0:
        return covered
    return min(most, covered + -(-missing // policy.step) * policy.step)


def more(bound: Bound, covered: int, grown: int) -> tuple[Money, int]:
    """Return the money and the tokens by which a hold grows from *covered* to *grown* tokens."""
    cost = bound.cost(grown) - bound.cost(covered)
    return cost, (bound.tokens(grown) or 0) - (bound.tokens(covered) or 0)


def choices(bound: Bound) -> int:
    """Return how many replies of `max_output_tokens` each a call asks for."""
    if bound.max_output_tokens is None:
        return 1
    return max(1, (bound.tokens(1) or 0) - (bound.tokens(0) or 0))


def _largest_fitting(bound: Bound, room: Money | int) -> int:
    """Return the most output tokens, per choice, that *room* pays for: money, or tokens."""
    if isinstance(room, Money):
        return bound.largest_output(room) if room >= Money() else 0
    total = bound.tokens(0)
    return 0 if total is None else max(0, (room - total) // choices(bound))


_BY_AMOUNT = frozenset({Reason.HELD, Reason.EXHAUSTED, Reason.TOO_LARGE})


def _ask(bound: Bound, output: int | None) -> Ask:
    wanted = bound.max_output_tokens
    return Ask(
        hold=bound.cost(output),
        tokens=bound.tokens(output),
        max_output_tokens=output,
        covered=output,
        clamped=output is not None and wanted is not None and output < wanted,
    )


def _partly(bound: Bound, wanted: int, covered: int) -> Ask:
    return Ask(
        hold=bound.cost(covered),
        tokens=bound.tokens(covered),
        max_output_tokens=wanted,
        covered=covered,
    )


def _of_shortest(bound: Bound, refusal: BudgetExceeded, smallest: int) -> BudgetExceeded:
    """Return *refusal* as that of a reply of *smallest* tokens: what does not fit may be lowered.

    `too_large` only where not even that fits an empty window, `held` where what is in flight is all
    that stands in its way.
    """
    need = bound.cost(smallest) if refusal.unit == "usd" else bound.tokens(smallest)
    if need <= refusal.available:
        return replace(refusal, reason=Reason.HELD)
    reason = Reason.TOO_LARGE
    if need <= refusal.limit:
        fits_then = need <= refusal.limit - refusal.settled
        reason = Reason.HELD if fits_then else Reason.EXHAUSTED
    return replace(refusal, reason=reason, requested=need)
