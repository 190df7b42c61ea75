"""Counted units."""

import pickle
from typing import Any

import pytest

from earmark.errors import InvalidUsage
from earmark.pricing.usage import Usage

HUGE = 1 << 20_000
ABSURD = {
    "negative": -1,
    "fraction": 1.0,
    "nan": float("nan"),
    "infinite": float("inf"),
    "bool": True,
    "text": "7",
    "none": None,
    "large": 10**12 + 1,
    "huge": HUGE,
    "huge debt": -HUGE,
}


@pytest.mark.parametrize("count", ABSURD.values(), ids=ABSURD.keys())
def test_absurd_counts_are_refused(count: Any) -> None:
    """Negative, fractional, NaN, textual and astronomical counts are refused, briefly."""
    with pytest.raises(InvalidUsage) as refused:
        Usage.of(input_tokens=count)
    assert len(str(refused.value)) < 120


def test_zero_counts_are_as_good_as_none() -> None:
    """A provider that reports 0 cached tokens says the same as one that reports none."""
    assert Usage.of(input_tokens=5, cache_read_tokens=0) == Usage.of(input_tokens=5)
    assert Usage.of(input_tokens=5).get("cache_read_tokens") == 0


def test_usage_survives_json_and_pickle() -> None:
    """What is written is read back equal, tier included."""
    usage = Usage({"output_tokens": 2, "input_tokens": 1}, tier="flex")
    assert Usage.from_json(usage.to_json()) == usage
    assert pickle.loads(pickle.dumps(usage)) == usage  # noqa: S301 - our own bytes
    assert hash(Usage.from_json(usage.to_json())) == hash(usage)
    assert usage.tokens == 3


def test_usage_cannot_be_changed() -> None:
    """A usage that was read stays what it was."""
    counts = {"input_tokens": 1}
    usage = Usage(counts)
    counts["input_tokens"] = 2
    assert usage.get("input_tokens") == 1
    with pytest.raises(TypeError):
        usage.counts["input_tokens"] = 2  # type: ignore[index]
