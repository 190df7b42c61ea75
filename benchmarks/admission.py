"""Admission policies on real traces: what they overspend, use, refuse and cut.

    python benchmarks/admission.py --trace AzureLLMInferenceTrace_code.csv
    python benchmarks/admission.py --trace mooncake_conversation_trace.jsonl --json

An event simulation in virtual time around the real parts: the policies and quantiles of
`earmark.admission`, the FIFO queue and a memory ledger, one budget per shard. Only the provider is
modelled: time to first token, tokens per second, and a stream that takes a while to stop.

Method, from the agents this is for: requests are dealt to *shards* (agents), each shard's arrive in
*bursts* (a fan-out), and a shard's limit is a share of what all its requests really cost. *False
refusals* are the share refused of those requests that a clairvoyant, who knows every true cost,
serves first come, first served, until one does not fit; *+ stragglers* also counts the later ones
that would fit into what that leaves. Deterministic: a seed deals the requests, nothing else is
random.
"""

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from earmark.admission.policy import ELASTIC, SOFT, STRICT, Policy, Strict
from earmark.money import Money, show_nanos

if not __package__:
    # Run as a script: the modules beside this one are found from the checkout.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulation import Job, Simulation
from benchmarks.traces import (
    WHERE,
    Request,
    deal,
    first_come,
    limits_of,
    read_trace,
    stragglers,
)


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
    false_with_stragglers: float
    refused: float
    cut: float
    wait_p99_s: float
    wait_max_s: float


def simulate(
    name: str, trace: list[Request], settings: Settings, seed: int, tick: Callable[[], None]
) -> Outcome:
    """Return what the policy *name* did with one deal."""
    policy, wait_s = POLICIES[name]
    dealt = deal(
        trace,
        shards=settings.shards,
        burst=settings.burst,
        max_tokens=settings.max_tokens,
        seed=seed,
    )
    limits = limits_of(dealt, settings.share)
    jobs = [Job(order) for order in dealt]
    simulation = Simulation(policy, min(wait_s, settings.wait_s), tick)
    simulation.run(jobs, limits)
    report = simulation.ledger.audit()
    assert not report.problems, report.problems
    return measure(name, jobs, limits, simulation)


def measure(name: str, jobs: list[Job], limits: dict[str, Money], done: Simulation) -> Outcome:
    """Return the figures of one finished simulation."""
    spent = {shard: _spent(done, shard) for shard in limits}
    over = {shard: max(Money(), spent[shard] - limits[shard]) for shard in limits}
    orders = [job.order for job in jobs]
    served = [job for job in jobs if job.state == "done"]
    refused = {job.order.key for job in jobs if job.state == "refused"}
    waits = sorted(job.started - job.order.at for job in served)
    total = sum(limits.values(), Money())
    return Outcome(
        policy=name,
        overspent=str(sum(over.values(), Money())),
        overspent_worst_shard=max(over[s].in_nanos / limits[s].in_nanos for s in limits),
        used=sum(min(spent[s], limits[s]).in_nanos for s in limits) / total.in_nanos,
        false_refusals=_share(refused, first_come(orders, limits)),
        false_with_stragglers=_share(refused, stragglers(orders, limits)),
        refused=1 - len(served) / len(jobs),
        cut=sum(job.cut for job in served) / max(1, len(served)),
        wait_p99_s=waits[len(waits) * 99 // 100] if waits else 0.0,
        wait_max_s=max(waits, default=0.0),
    )


def _spent(done: Simulation, shard: str) -> Money:
    (account,) = done.ledger.store.accounts(shard, done.clock.instant())
    assert not account.held, "everything is settled when the simulation ends"
    return Money.nanos(account.settled)


def _share(refused: set[str], deserving: set[str]) -> float:
    return len(refused & deserving) / max(1, len(deserving))


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
    try:
        trace = read_trace(args.trace)
    except (OSError, KeyError, ValueError) as error:
        print(f"{args.trace} is no trace: {type(error).__name__} {error}\n{WHERE}", file=sys.stderr)
        return 1
    runs = list(itertools.product(args.policies or POLICIES, settings.seeds))
    tick = _progress(len(runs) * len(trace))
    outcomes = [simulate(name, trace, settings, seed, tick) for name, seed in runs]
    rows = [_median(list(group)) for _, group in itertools.groupby(outcomes, lambda o: o.policy)]
    if args.json:
        print(
            json.dumps({"trace": args.trace.name, **asdict(settings), "policies": rows}, indent=2)
        )
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
    """Return what tells of progress: in place on a terminal, else a line for every fifth."""
    done = itertools.count(1)
    live = sys.stderr.isatty()
    step = max(1, total // (200 if live else 5))

    def tick() -> None:
        count = next(done)
        if count % step == 0 or count == total:
            text = f"{count:,} of {total:,} requests simulated"
            end = "" if live and count < total else "\n"
            print(f"\r{text}" if live else text, end=end, file=sys.stderr, flush=True)

    return tick


def _median(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the median of each figure over the deals; overspending is summed, never averaged."""
    figures = (
        "used",
        "false_refusals",
        "false_with_stragglers",
        "refused",
        "cut",
        "wait_p99_s",
    )
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
        f"{'+ stragglers':>14}{'refused':>9}{'cut':>8}{'wait p99':>10}"
    )
    for row in rows:
        over = f"{row['overspent_usd']} ({row['overspent_worst_shard']:.1%})"
        print(
            f"{row['policy']:22}{over:>24}{row['used']:>9.2%}{row['false_refusals']:>16.2%}"
            f"{row['false_with_stragglers']:>14.2%}{row['refused']:>9.1%}{row['cut']:>8.2%}"
            f"{row['wait_p99_s']:>8.1f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
