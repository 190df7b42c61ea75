"""Traces of real services, dealt to budgets, and what a clairvoyant would make of them."""

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound

MODEL: Final = "trace/sonnet-4"
#: Source: anthropic.com/pricing, Claude Sonnet 4, read 2026-11: USD per million tokens.
PRICES: Final = {MODEL: {"input_mtok": "3", "output_mtok": "15"}}
WHERE: Final = """give a trace with --trace FILE:
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
class Dealt:
    """A request in the hands of a shard."""

    at: float
    """When its burst arrives, in seconds."""
    key: str
    shard: str
    bound: ModelBound
    output_tokens: int
    """What it produces if nobody cuts it."""
    true_cost: Money


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
    return [
        Request(row["timestamp"] / 1000, row["input_length"], row["output_length"]) for row in rows
    ]


def deal(
    trace: list[Request], *, shards: int, burst: int, max_tokens: int, seed: int
) -> list[Dealt]:
    """Return the requests dealt to *shards* at random, each shard's in bursts, by arrival."""
    price = PriceBook(PRICES).resolve(MODEL, at=0)
    source = random.Random(seed)
    hands: dict[int, list[Request]] = {}
    for request in trace:
        hands.setdefault(source.randrange(shards), []).append(request)
    dealt: list[Dealt] = []
    for shard, hand in sorted(hands.items()):
        for number, request in enumerate(hand):
            first = hand[number - number % burst]
            wanted = max(max_tokens, request.output_tokens)
            bound = ModelBound(
                price=price, input_tokens=request.input_tokens, max_output_tokens=wanted
            )
            dealt.append(
                Dealt(
                    at=first.at,
                    key=f"{shard}-{number}",
                    shard=f"shard-{shard:04d}",
                    bound=bound,
                    output_tokens=request.output_tokens,
                    true_cost=bound.cost(request.output_tokens),
                )
            )
    return sorted(dealt, key=lambda job: job.at)


def limits_of(jobs: Iterable[Dealt], share: float) -> dict[str, Money]:
    """Return each shard's limit: a share of what its requests really cost."""
    total: dict[str, int] = {}
    for job in jobs:
        total[job.shard] = total.get(job.shard, 0) + job.true_cost.in_nanos
    return {shard: Money.nanos(int(cost * share)) for shard, cost in sorted(total.items())}


def first_come(jobs: Iterable[Dealt], limits: Mapping[str, Money]) -> set[str]:
    """Return the keys of those a clairvoyant serves first come, first served.

    It knows every true cost. Once somebody does not fit, those who come later are not served.
    """
    left, served, closed = dict(limits), set[str](), set[str]()
    for job in jobs:
        if job.shard in closed:
            continue
        if job.true_cost > left[job.shard]:
            closed.add(job.shard)
            continue
        left[job.shard] -= job.true_cost
        served.add(job.key)
    return served


def stragglers(jobs: Iterable[Dealt], limits: Mapping[str, Money]) -> set[str]:
    """Return the keys of `first_come` and of whoever is cheap enough for what is left after it."""
    left, served = dict(limits), set[str]()
    for job in jobs:
        if job.true_cost <= left[job.shard]:
            left[job.shard] -= job.true_cost
            served.add(job.key)
    return served
