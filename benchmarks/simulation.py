"""One policy on one deal of a trace: an event simulation in virtual time around the real parts."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.traces import MODEL, Dealt
from earmark.admission.policy import (
    Elastic,
    HoldAmounts,
    Policy,
    PolicyStep,
    Refuse,
    Soft,
    TryReserve,
    Wait,
    first_amounts,
    grown_output,
    growth_cost,
    next_step,
)
from earmark.admission.quantile import P99, OutputQuantiles, reply_length
from earmark.clock import NANOS_PER_SECOND
from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.ledger.queue import AdmissionQueue, Waiter
from earmark.money import Money
from earmark.stores.open import open_ledger

FIRST_TOKEN_S = 0.3
TOKENS_PER_S = 60
#: Tokens a stopped stream is still billed for: what the provider makes until it notices.
STOP_LAG_TOKENS = 60


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through admission."""

    order: Dealt
    waiter: Waiter | None = None
    otherwise: TryReserve | Refuse | None = None
    amounts: HoldAmounts | None = None
    covered: int = 0
    started: float = 0.0
    state: str = "waiting"
    cut: bool = False


class SimulatedClock:
    """Virtual time, moved by the simulation alone."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def instant(self) -> int:
        """Return virtual nanoseconds."""
        return 1_700_000_000 * NANOS_PER_SECOND + round(self.now_s * NANOS_PER_SECOND)

    def elapsed(self) -> int:
        """Return virtual nanoseconds."""
        return round(self.now_s * NANOS_PER_SECOND)

    def uptime(self) -> int:
        """Return virtual nanoseconds."""
        return round(self.now_s * NANOS_PER_SECOND)

    async def sleep(self, seconds: float) -> None:
        """Not used: nothing here is a task."""
        raise NotImplementedError(f"no task sleeps {seconds} s in an event simulation")


@dataclass(slots=True)
class Simulation:
    """One policy, one deal of the trace."""

    policy: Policy
    wait_s: float
    tick: Callable[[], None]
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    queue: AdmissionQueue = field(default_factory=AdmissionQueue)
    quantiles: OutputQuantiles = field(default_factory=OutputQuantiles)
    ledger: Ledger = field(init=False)
    events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=itertools.count)
    ready: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = open_ledger("memory:", clock=self.clock)

    def run(self, jobs: list[Job], limits: dict[str, Money]) -> None:
        """Let every job arrive, wait, run and settle."""
        for shard, limit in limits.items():
            self.ledger.set_budget(shard, limits=[f"{limit} usd total"], alerts=[])
        for job in jobs:
            self.at(job.order.at, lambda job=job: self.arrive(job))
        while self.events:
            self.clock.now_s, _, action = heapq.heappop(self.events)
            action()
            while self.ready:
                self.attempt(self.ready.pop(0))

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do *action* at *moment*; at the same moment in the order of scheduling."""
        heapq.heappush(self.events, (moment, next(self.order), action))

    def arrive(self, job: Job) -> None:
        """Let *job* take its place, and try if nobody waits before it."""
        self.tick()
        job.waiter = self.queue.join(job.order.shard, lambda: self.ready.append(job))
        if job.waiter.trying:
            self.attempt(job)
        if job.state == "waiting":
            self.at(self.clock.now_s + self.wait_s, lambda: self.deadline(job))

    def attempt(self, job: Job) -> None:
        """Try all that the policy offers without waiting; wait or refuse otherwise."""
        if job.waiter is None or not job.waiter.trying:
            return
        step = self.follow(
            job, TryReserve(first_amounts(self.policy, job.order.bound, self.expected()))
        )
        if isinstance(step, Wait):
            job.otherwise = step.otherwise
            self.queue.blocked(job.waiter, step.refusal.budget)
        elif isinstance(step, Refuse):
            self.refuse(job)

    def follow(self, job: Job, step: PolicyStep) -> PolicyStep | None:
        """Reserve as *step* says, until it is admitted (`None`), to wait or refused."""
        while isinstance(step, TryReserve):
            amounts = step.amounts
            try:
                self.ledger.reserve(
                    job.order.shard, amounts.hold, key=job.order.key, units=amounts.units()
                )
            except BudgetExceeded as refusal:
                step = next_step(self.policy, job.order.bound, self.expected(), amounts, refusal)
            else:
                return self.admit(job, amounts)
        return step

    def deadline(self, job: Job) -> None:
        """Give a job that still waits its last chance."""
        if job.state != "waiting" or job.waiter is None:
            return
        if job.otherwise is not None and not self.queue.first(job.waiter):
            self.refuse(job)
            return
        step: PolicyStep | None = TryReserve(
            first_amounts(self.policy, job.order.bound, self.expected())
        )
        while isinstance(step, TryReserve | Wait):
            step = self.follow(job, step if isinstance(step, TryReserve) else step.otherwise)
        if step is not None:
            self.refuse(job)

    def refuse(self, job: Job) -> None:
        """End *job* unserved."""
        job.state = "refused"
        if job.waiter is not None:
            self.queue.leave(job.waiter)

    def admit(self, job: Job, amounts: HoldAmounts) -> None:
        """Send *job*."""
        job.state, job.amounts, job.covered = "running", amounts, amounts.covered or 0
        job.started = self.clock.now_s
        if job.waiter is not None:
            self.queue.leave(job.waiter)
        self.stream(job)

    def stream(self, job: Job) -> None:
        """Schedule what happens next to a running job: its hold must grow, or it ends."""
        amounts = job.amounts
        assert amounts is not None
        produced = min(job.order.output_tokens, amounts.max_output_tokens or 0)
        if isinstance(self.policy, Elastic):
            due = job.covered - self.policy.step + 1
            grows = grown_output(self.policy, job.order.bound, job.covered, produced) > job.covered
            if grows and not amounts.clamped:
                self.at(self.when(job, max(due, 1)), lambda: self.grow(job, max(due, 1)))
                return
        self.at(self.when(job, produced), lambda: self.finish(job, produced))

    def when(self, job: Job, tokens: int) -> float:
        """Return when *job* has produced so many tokens."""
        return job.started + FIRST_TOKEN_S + tokens / TOKENS_PER_S

    def grow(self, job: Job, produced: int) -> None:
        """Let the hold of *job* grow ahead of its stream, or stop the stream."""
        assert isinstance(self.policy, Elastic)
        grown = grown_output(self.policy, job.order.bound, job.covered, produced)
        cost, tokens = growth_cost(job.order.bound, job.covered, grown)
        try:
            self.ledger.extend(job.order.key, cost, units={"tokens": tokens})
        except BudgetExceeded:
            lag = min(STOP_LAG_TOKENS, job.order.output_tokens - produced)
            end = produced + lag
            self.at(self.when(job, end), lambda: self.finish(job, end))
            return
        job.covered = grown
        self.stream(job)

    def finish(self, job: Job, produced: int) -> None:
        """Book what *job* really cost and let others have what came back."""
        job.state = "done"
        job.cut = produced < job.order.output_tokens
        granted = job.amounts.max_output_tokens if job.amounts else None
        wanted = job.order.bound.max_output_tokens
        self.quantiles.observe(MODEL, "", reply_length(produced, granted=granted, wanted=wanted))
        tokens = job.order.bound.input_tokens + produced
        self.ledger.settle(job.order.key, job.order.bound.cost(produced), units={"tokens": tokens})
        self.queue.wake([job.order.shard])

    def expected(self) -> int:
        """Return the output tokens that a call is expected to need."""
        share = self.policy.quantile if isinstance(self.policy, Soft) else P99
        return self.quantiles.expected(MODEL, "", parts_per_million=share)
