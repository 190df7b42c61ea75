"""Online quantiles of reply lengths."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from earmark.admission.quantile import (
    MIN_REPLIES,
    P99,
    PRIOR_TOKENS,
    ROUTES_MAX,
    WINDOW,
    OutputQuantiles,
    WindowQuantile,
    reply_length,
)


def test_exact_over_the_last_thousand() -> None:
    """The quantile is exactly that of the last 1000 replies, whatever came before them."""
    source = random.Random(7)
    window, seen = WindowQuantile(), list[int]()
    for _ in range(3 * WINDOW):
        value = source.randrange(300)
        window.add(value)
        seen.append(value)
    last = sorted(seen[-WINDOW:])
    assert window.quantile(P99) == last[989]
    assert window.quantile(950_000) == last[949]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_nearest_rank(values: list[int]) -> None:
    """At least 99 of 100 values do not exceed the quantile, and a smaller value would not do."""
    window = WindowQuantile()
    for value in values:
        window.add(value)
    answer = window.quantile(P99)
    need = math.ceil(len(values) * 0.99)
    assert sum(value <= answer for value in values) >= need
    assert sum(value < answer for value in values) < need


def test_constant_memory() -> None:
    """A route keeps 1000 values and the book of routes a bounded number of them."""
    quantiles = OutputQuantiles()
    for number in range(ROUTES_MAX + 10):
        quantiles.observe("m", f"route-{number}", 5)
    for _ in range(WINDOW + 10):
        quantiles.observe("m", "busy", 5)
    routes = quantiles._routes  # pyright: ignore[reportPrivateUsage]
    assert len(routes) == ROUTES_MAX
    assert len(routes["m", "busy"]) == WINDOW


def test_cold_route_uses_the_prior() -> None:
    """A route with few replies is expected to need the prior, not what little was seen."""
    quantiles = OutputQuantiles()
    for _ in range(MIN_REPLIES - 1):
        quantiles.observe("m", "r", 20)
    assert quantiles.expected("m", "r") == PRIOR_TOKENS
    quantiles.observe("m", "r", 20)
    assert quantiles.expected("m", "r") == 20


def test_routes_are_apart() -> None:
    """What one route needs says nothing about another of the same model."""
    quantiles = OutputQuantiles()
    for _ in range(MIN_REPLIES):
        quantiles.observe("m", "short", 20)
        quantiles.observe("m", "long", 2000)
    assert quantiles.expected("m", "short") == 20
    assert quantiles.expected("m", "long") == 2000


def test_cut_replies_let_the_quantile_grow() -> None:
    """A reply cut by our clamp counts for more than its length, one that ended does not."""
    assert reply_length(256, granted=256, wanted=4096) == 512
    assert reply_length(3000, granted=3000, wanted=4096) == 4096
    assert reply_length(100, granted=256, wanted=4096) == 100
    assert reply_length(4096, granted=4096, wanted=4096) == 4096
    assert reply_length(77, granted=None, wanted=None) == 77
