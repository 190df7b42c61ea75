"""Admission policies on real traces: what they overspend, use, refuse and cut.

    python benchmarks/admission.py --trace AzureLLMInferenceTrace_code.csv
    python benchmarks/admission.py --trace mooncake_conversation_trace.jsonl --json

An event simulation in virtual time around the real parts: the policies and quantiles of
`earmark.admission`, the FIFO queue and a memory ledger, one budget per shard. Only the provider is
modelled: time to first token, tokens per second, and a stream that takes a while to stop.

Method, from the agents this is for: requests are dealt to *shards* (agents), each shard's arrive in
*bursts* (a fan-out), and a shard's limit is a share of what all its requests really cost. *False
refusals* are those of the requests that a clairvoyant would have admitted, first come first served,
knowing every true cost. Deterministic: a seed deals the requests, nothing else is random.
"""

import argparse
import csv
import heapq
import itertools
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from earmark.admission.policy import (
    ELASTIC,
    SOFT,
    STRICT,
    Ask,
    Elastic,
    Next,
    Policy,
    Refuse,
    Soft,
    Strict,
    Try,
    Wait,
    after,
    first_ask,
    growth,
    more,
)
from earmark.admission.quantile import P99, OutputQuantiles, reply_length
from earmark.clock import NANOS_PER_SECOND
from earmark.errors import BudgetExceeded
from earmark.ledger.ledger import Ledger
from earmark.ledger.queue import TurnQueue, Waiter
from earmark.money import Money, show_nanos
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.pricing.price import Price
from earmark.stores.open import open_ledger

MODEL = "trace/sonnet-4"
#: Source: anthropic.com/pricing, Claude Sonnet 4, read 2026-11: USD per million tokens.
PRICES = {MODEL: {"input_mtok": "3", "output_mtok": "15"}}
FIRST_TOKEN_S = 0.3
TOKENS_PER_S = 60
#: Tokens a stopped stream is still billed for: what the provider makes until it notices.
STOP_LAG_TOKENS = 60
WHERE = """give a trace with --trace FILE:
  Azure's CSV      https://github.com/Azure/AzurePublicDataset
                   data/AzureLLMInferenceTrace_code.csv (CC-BY 4.0), columns TIMESTAMP,
                   ContextTokens, GeneratedTokens
  Mooncake's JSONL https://github.com/kvcache-ai/Mooncake
                   FAST25-release/traces/conversation_trace.jsonl (Apache-2.0), keys timestamp (ms),
                   input_length, output_length"""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a trace."""

    at: float
    """Seconds."""
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is simulated."""

    shards: int
    burst: int
    share: float
    max_tokens: int
    wait_s: float
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one policy did with one deal of the trace; shares are of 1."""

    policy: str
    overspent: str
    overspent_worst_shard: float
    used: float
    false_refusals: float
    refused: float
    cut: float
    wait_p99_s: float
    wait_max_s: float


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through admission."""

    request: Request
    shard: str
    bound: ModelBound
    key: str
    true_cost: Money
    waiter: Waiter | None = None
    otherwise: Try | Refuse | None = None
    ask: Ask | None = None
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
    queue: TurnQueue = field(default_factory=TurnQueue)
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
            self.at(job.request.at, lambda job=job: self.arrive(job))
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
        job.waiter = self.queue.join(job.shard, lambda: self.ready.append(job))
        if job.waiter.trying:
            self.attempt(job)
        if job.state == "waiting":
            self.at(self.clock.now_s + self.wait_s, lambda: self.deadline(job))

    def attempt(self, job: Job) -> None:
        """Try all that the policy offers without waiting; wait or refuse otherwise."""
        if job.waiter is None or not job.waiter.trying:
            return
        step = self.follow(job, Try(first_ask(self.policy, job.bound, self.expected())))
        if isinstance(step, Wait):
            job.otherwise = step.otherwise
            self.queue.blocked(job.waiter, step.refusal.budget)
        elif isinstance(step, Refuse):
            self.refuse(job)

    def follow(self, job: Job, step: Next) -> Next | None:
        """Reserve as *step* says, until it is admitted (`None`), to wait or refused."""
        while isinstance(step, Try):
            ask = step.ask
            try:
                self.ledger.reserve(job.shard, ask.hold, key=job.key, units=ask.units())
            except BudgetExceeded as refusal:
                step = after(self.policy, job.bound, self.expected(), ask, refusal)
            else:
                return self.admit(job, ask)
        return step

    def deadline(self, job: Job) -> None:
        """Give a job that still waits its last chance."""
        if job.state != "waiting" or job.waiter is None:
            return
        if job.otherwise is not None and not self.queue.first(job.waiter):
            self.refuse(job)
            return
        step: Next | None = Try(first_ask(self.policy, job.bound, self.expected()))
        while isinstance(step, Try | Wait):
            step = self.follow(job, step if isinstance(step, Try) else step.otherwise)
        if step is not None:
            self.refuse(job)

    def refuse(self, job: Job) -> None:
        """End *job* unserved."""
        job.state = "refused"
        if job.waiter is not None:
            self.queue.leave(job.waiter)

    def admit(self, job: Job, ask: Ask) -> None:
        """Send *job*."""
        job.state, job.ask, job.covered = "running", ask, ask.covered or 0
        job.started = self.clock.now_s
        if job.waiter is not None:
            self.queue.leave(job.waiter)
        self.stream(job)

    def stream(self, job: Job) -> None:
        """Schedule what happens next to a running job: its hold must grow, or it ends."""
        ask = job.ask
        assert ask is not None
        produced = min(job.request.output_tokens, ask.max_output_tokens or 0)
        if isinstance(self.policy, Elastic):
            due = job.covered - self.policy.step + 1
            grows = growth(self.policy, job.bound, job.covered, produced) > job.covered
            if grows and not ask.clamped:
                self.at(self.when(job, max(due, 1)), lambda: self.grow(job, max(due, 1)))
                return
        self.at(self.when(job, produced), lambda: self.finish(job, produced))

    def when(self, job: Job, tokens: int) -> float:
        """Return when *job* has produced so many tokens."""
        return job.started + FIRST_TOKEN_S + tokens / TOKENS_PER_S

    def grow(self, job: Job, produced: int) -> None:
        """Let the hold of *job* grow ahead of its stream, or stop the stream."""
        assert isinstance(self.policy, Elastic)
        grown = growth(self.policy, job.bound, job.covered, produced)
        cost, tokens = more(job.bound, job.covered, grown)
        try:
            self.ledger.extend(job.key, cost, units={"tokens": tokens})
        except BudgetExceeded:
            lag = min(STOP_LAG_TOKENS, job.request.output_tokens - produced)
            end = produced + lag
            self.at(self.when(job, end), lambda: self.finish(job, end))
            return
        job.covered = grown
        self.stream(job)

    def finish(self, job: Job, produced: int) -> None:
        """Book what *job* really cost and let others have what came back."""
        job.state = "done"
        job.cut = produced < job.request.output_tokens
        granted = job.ask.max_output_tokens if job.ask else None
        wanted = job.bound.max_output_tokens
        self.quantiles.observe(MODEL, "", reply_length(produced, granted=granted, wanted=wanted))
        tokens = job.request.input_tokens + produced
        self.ledger.settle(job.key, job.bound.cost(produced), units={"tokens": tokens})
        self.queue.wake([job.shard])

    def expected(self) -> int:
        """Return the output tokens that a call is expected to need."""
        share = self.policy.quantile if isinstance(self.policy, Soft) else P99
        return self.quantiles.expected(MODEL, "", parts_per_million=share)


def read_trace(path: Path) -> list[Request]:
    """Return the requests of a trace in Azure's CSV or Mooncake's JSONL, by time."""
    with path.open(newline="") as lines:
        rows = _mooncake(lines) if path.suffix == ".jsonl" else _azure(lines)
        return sorted(rows, key=lambda row: row.at)


def _azure(lines: Iterator[str]) -> list[Request]:
    return [
        Request(
            # Seven digits of fraction: one more than datetime reads.
            datetime.fromisoformat(f"{row['TIMESTAMP'][:26]}+00:00").timestamp(),
            int(row["ContextTokens"]),
            int(row["GeneratedTokens"]),
        )
        for row in csv.DictReader(lines)
    ]


def _mooncake(lines: Iterator[str]) -> list[Request]:
    rows = [json.loads(line) for line in lines if line.strip()]
    return [Request(row["timestamp"] / 1000, row["input_length"], row["output_length"]) for row in rows]


def deal(trace: list[Request], price: Price, settings: Settings, seed: int) -> list[Job]:
    """Return the requests dealt to shards at random, each shard's in bursts, by arrival."""
    source = random.Random(seed)
    hands: dict[int, list[Request]] = {}
    for request in trace:
        hands.setdefault(source.randrange(settings.shards), []).append(request)
    jobs: list[Job] = []
    for shard, hand in sorted(hands.items()):
        for number, request in enumerate(hand):
            first = hand[number - number % settings.burst]
            wanted = max(settings.max_tokens, request.output_tokens)
            bound = ModelBound(
                price=price, input_tokens=request.input_tokens, max_output_tokens=wanted
            )
            together = Request(first.at, request.input_tokens, request.output_tokens)
            key = f"{shard}-{number}"
            cost = bound.cost(request.output_tokens)
            jobs.append(Job(together, f"shard-{shard:04d}", bound, key, cost))
    return sorted(jobs, key=lambda job: job.request.at)


def limits_of(jobs: list[Job], share: float) -> dict[str, Money]:
    """Return each shard's limit: a share of what its requests really cost."""
    total: dict[str, int] = {}
    for job in jobs:
        total[job.shard] = total.get(job.shard, 0) + job.true_cost.in_nanos
    return {shard: Money.nanos(int(cost * share)) for shard, cost in sorted(total.items())}


def clairvoyant(jobs: list[Job], limits: dict[str, Money]) -> set[str]:
    """Return the keys that first-come-first-served admits, knowing every true cost."""
    left, admitted = dict(limits), set[str]()
    for job in jobs:
        if job.true_cost <= left[job.shard]:
            left[job.shard] -= job.true_cost
            admitted.add(job.key)
    return admitted


def simulate(
    name: str, trace: list[Request], settings: Settings, seed: int, tick: Callable[[], None]
) -> Outcome:
    """Return what the policy *name* did with one deal."""
    policy, wait_s = POLICIES[name]
    price = PriceBook(PRICES).resolve(MODEL, at=1_700_000_000 * NANOS_PER_SECOND)
    jobs = deal(trace, price, settings, seed)
    limits = limits_of(jobs, settings.share)
    simulation = Simulation(policy, min(wait_s, settings.wait_s), tick)
    simulation.run(jobs, limits)
    report = simulation.ledger.audit()
    assert not report.problems, report.problems
    return measure(name, jobs, limits, simulation)


def measure(name: str, jobs: list[Job], limits: dict[str, Money], done: Simulation) -> Outcome:
    """Return the figures of one finished simulation."""
    balances = {shard: done.ledger.balances(shard)[0] for shard in limits}
    spent = {shard: balance.limit - balance.available for shard, balance in balances.items()}
    over = {shard: max(Money(), spent[shard] - limits[shard]) for shard in limits}
    should = clairvoyant(jobs, limits)
    served = [job for job in jobs if job.state == "done"]
    falsely = sum(job.key in should and job.state == "refused" for job in jobs)
    waits = sorted(job.started - job.request.at for job in served)
    total = sum(limits.values(), Money())
    return Outcome(
        policy=name,
        overspent=str(sum(over.values(), Money())),
        overspent_worst_shard=max(over[s].in_nanos / limits[s].in_nanos for s in limits),
        used=sum(min(spent[s], limits[s]).in_nanos for s in limits) / total.in_nanos,
        false_refusals=falsely / len(should),
        refused=1 - len(served) / len(jobs),
        cut=sum(job.cut for job in served) / max(1, len(served)),
        wait_p99_s=waits[len(waits) * 99 // 100],
        wait_max_s=waits[-1],
    )


#: A policy, and the longest a call waits under it in seconds.
POLICIES: dict[str, tuple[Policy, float]] = {
    "strict": (STRICT, float("inf")),
    "elastic": (ELASTIC, float("inf")),
    "soft": (SOFT, float("inf")),
    "strict, no queue": (STRICT, 0.0),
    "worst case, no queue": (Strict(floor=1 << 40, smallest=1 << 40), 0.0),
}


def main() -> int:
    """Run the policies on a trace and print a table, or JSON."""
    args = _arguments()
    if args.trace is None:
        print(WHERE, file=sys.stderr)
        return 1
    settings = Settings(
        shards=args.shards,
        burst=args.burst,
        share=args.share,
        max_tokens=args.max_tokens,
        wait_s=args.wait,
        seeds=tuple(args.seeds),
    )
    trace = read_trace(args.trace)
    runs = list(itertools.product(args.policies or POLICIES, settings.seeds))
    tick = _progress(len(runs) * len(trace))
    outcomes = [simulate(name, trace, settings, seed, tick) for name, seed in runs]
    print(file=sys.stderr)
    rows = [_median(list(group)) for _, group in itertools.groupby(outcomes, lambda o: o.policy)]
    if args.json:
        print(json.dumps({"trace": args.trace.name, **asdict(settings), "policies": rows}, indent=2))
    else:
        _print_table(args.trace, len(trace), settings, rows)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Admission policies on a real trace.")
    parser.add_argument("--trace", type=Path, help="Azure's CSV or Mooncake's JSONL")
    parser.add_argument("--shards", type=int, default=100, help="budgets (default 100)")
    parser.add_argument("--burst", type=int, default=16, help="requests at once (default 16)")
    parser.add_argument("--share", type=float, default=0.5, help="limit / true cost (default 0.5)")
    parser.add_argument("--max-tokens", type=int, default=4096, help="asked for (default 4096)")
    parser.add_argument("--wait", type=float, default=600.0, help="longest wait, s (default 600)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="deals")
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), help="default: all")
    parser.add_argument("--json", action="store_true", help="machine output")
    return parser.parse_args()


def _progress(total: int) -> Callable[[], None]:
    done = itertools.count(1)

    def tick() -> None:
        count = next(done)
        if count % 2000 == 0 or count == total:
            print(f"\r{count:,} of {total:,} requests simulated", end="", file=sys.stderr, flush=True)

    return tick


def _median(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the median of each figure over the deals; overspending is summed, never averaged."""
    figures = ("used", "false_refusals", "refused", "cut", "wait_p99_s")
    over = sum((Money(outcome.overspent) for outcome in outcomes), Money())
    return {
        "policy": outcomes[0].policy,
        "overspent_usd": show_nanos(over.in_nanos),
        "overspent_worst_shard": max(outcome.overspent_worst_shard for outcome in outcomes),
        "used_least": min(outcome.used for outcome in outcomes),
        "false_refusals_most": max(outcome.false_refusals for outcome in outcomes),
        **{name: statistics.median(getattr(each, name) for each in outcomes) for name in figures},
        "wait_max_s": max(outcome.wait_max_s for outcome in outcomes),
    }


def _print_table(path: Path, requests: int, settings: Settings, rows: list[dict[str, Any]]) -> None:
    print(
        f"{path.name}: {requests:,} requests, {settings.shards} budgets of {settings.share:.0%} of"
        f" their true cost, bursts of {settings.burst}, max_tokens {settings.max_tokens};"
        f" medians of {len(settings.seeds)} deals\n"
    )
    print(
        f"{'policy':22}{'overspent USD (worst)':>24}{'used':>9}{'false refusals':>16}"
        f"{'refused':>9}{'cut':>8}{'wait p99':>10}"
    )
    for row in rows:
        over = f"{row['overspent_usd']} ({row['overspent_worst_shard']:.1%})"
        print(
            f"{row['policy']:22}{over:>24}{row['used']:>9.2%}{row['false_refusals']:>16.2%}"
            f"{row['refused']:>9.1%}{row['cut']:>8.2%}{row['wait_p99_s']:>8.1f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
