"""A model's call is held at the dearest price until it can have ended."""

import socket
from datetime import UTC, datetime
from typing import Any

import pytest

import earmark
from earmark.errors import StageFailed
from earmark.pricing.book import PriceBook
from earmark.provider import open_provider
from earmark.stages.kinds.model import model_stage
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock

MODEL = "deepseek/deepseek-v4-flash"
GRAPH = '{"description": "", "root": {"op": "Stage", "id": "ask"}, "version": "0.1.0"}'


def held(own_timeout: str | None = None, **options: Any) -> int:
    """Return what a run's one call holds at 23:57, before the peak's price begins at 01:00.

    Source: genai-prices 0.2.3, deepseek-v4-flash: twice the price from 01:00 UTC.
    """
    clock = ManualClock(datetime(2026, 11, 22, 23, 57, tzinfo=UTC))
    with socket.socket() as unused, open_ledger("memory:", clock=clock) as ledger:
        unused.bind(("127.0.0.1", 0))
        provider = open_provider(
            "deepseek",
            api="openai",
            book=PriceBook(),
            clock=clock,
            base_url=f"http://127.0.0.1:{unused.getsockname()[1]}",
        )
        ledger.set_budget("acme", limits=["1 usd per day"])
        ask = model_stage("ask", MODEL, "hi", max_tokens=1000, timeout=own_timeout)
        with pytest.raises(StageFailed):
            earmark.run(
                earmark.parse_composition(GRAPH), {}, ledger=ledger, under="acme", budget="0.5",
                stages=[ask], providers={"deepseek": provider}, clock=clock, **options,
            )  # fmt: skip
        (opened,) = (each for each in ledger.entries() if each.kind == "reserve")
        return opened.amounts.usd


def test_a_call_of_a_run_is_held_until_its_wait_and_its_time_are_over() -> None:
    """The run's own time, or the stage's, or a long wait: each may reach into the peak."""
    cheap = held()
    assert held(timeout="50min", wait=None) == held("50min", timeout="3h", wait=None) == cheap
    assert held(timeout="2h") == held("2h") == held(wait="1h") == 2 * cheap
