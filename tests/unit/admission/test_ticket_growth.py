"""A hold that grows with its stream: reported by several tasks, and on a store that hiccups."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from earmark.admission.guard import Guard
from earmark.admission.policy import Elastic, Strict
from earmark.admission.quantile import PRIOR_TOKENS
from earmark.apis.stream_parts import PART_TOKENS
from earmark.errors import StoreUnavailable
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.stores.open import open_ledger
from earmark.testing import ManualClock
from support.tickets import BODY, BOOK

BODY_OF_STREAM = {**BODY, "max_tokens": 100_000, "stream": True}


def test_two_tasks_that_report_at_once_grow_the_hold_once(tmp_path: Path) -> None:
    """What the first takes is not taken again by the second: the hold is that of the larger."""

    async def grown(*reports: int) -> Money:
        url = f"sqlite:///{tmp_path}/{len(reports)}-{reports[-1]}.db"
        with open_ledger(url, clock=ManualClock()) as ledger:
            ledger.set_budget("acme", limits=["1 usd per day"])
            guard = Guard(ledger.as_async(), policy=Elastic(step=100), book=BOOK)
            async with guard.open("acme", BODY_OF_STREAM, provider="test") as ticket:
                await asyncio.gather(*(ticket.produced(tokens) for tokens in reports))
                return ticket.hold

    first, alone = asyncio.run(grown(0)), asyncio.run(grown(9000))
    assert asyncio.run(grown(5000, 9000, 9000)) == alone > first


def test_a_store_that_cannot_move_a_deadline_ends_no_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what must grow needs the store; told again once it is back, the deadline moves."""
    clock = ManualClock()
    with open_ledger("memory:", clock=clock) as ledger:
        ledger.set_budget("acme", limits=["1 usd per day"])
        guard = Guard(ledger, policy=Elastic(step=100), book=BOOK)
        ticket = guard.open("acme", BODY_OF_STREAM, provider="test", timeout="10min")
        before = ticket.reservation.expires
        clock.advance(timedelta(minutes=6))

        def unavailable(*_: Any) -> Any:
            raise StoreUnavailable(store="memory:", detail="gone for a moment")

        with monkeypatch.context() as broken:
            broken.setattr(type(ledger.committer), "submit", unavailable)
            ticket.produced(1)
            with pytest.raises(StoreUnavailable):
                ticket.produced(9000)
        assert ticket.reservation.expires == before
        held = ticket.hold
        ticket.produced(9000)
        assert ticket.reservation.expires > before
        assert ticket.hold > held
        ticket.presume()


def test_a_hold_stays_within_two_steps_of_what_a_known_tokenizer_counts() -> None:
    """Of OpenAI's models: a stream that fits is not cut, and its hold is never behind it."""
    book = PriceBook({"openai/gpt-4.1-mini": {"input_mtok": "0.4", "output_mtok": "1.6"}})
    body = {**BODY_OF_STREAM, "model": "gpt-4.1-mini", "max_tokens": 16_000}
    with open_ledger("memory:", clock=ManualClock()) as ledger:
        ledger.set_budget("acme", limits=["0.01 usd per day"])
        guard = Guard(ledger, policy=Elastic(), book=book)
        ticket = guard.open("acme", body, provider="openai")
        first = ticket.hold
        for number in range(PART_TOKENS + 1, 2300):
            ticket.feed({"choices": [{"index": 0, "delta": {"content": " understanding"}}]})
            covered = PRIOR_TOKENS + (ticket.hold - first).in_nanos // 1600
            assert number + 128 <= covered
            assert covered <= max(PRIOR_TOKENS, number + 2 * 128)
        assert ticket.hold < Money("0.005")
        ticket.feed({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 9, "completion_tokens": 2283}
        ticket.feed({"choices": [], "usage": usage})
        assert ticket.settle().state == "settled"


def asked(api: str, model: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    """Return a request for a long stream."""
    limit: dict[str, Any] = {"max_tokens": 50_000, "stream": True, "model": model}
    body = {**BODY, **limit}
    if api == "openai-responses":
        body = {"input": "hi", "max_output_tokens": 50_000, "stream": True, "model": model}
    if api == "gemini":
        config = {"maxOutputTokens": 50_000, **more.pop("config", {})}
        body = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": config}
    return api, model, {**body, **more}


NO_THOUGHTS = {"thinkingConfig": {"thinkingBudget": 0}}


@pytest.mark.parametrize(
    ("request_", "grows"),
    [
        (asked("openai", "gpt-4o"), True),
        (asked("openai", "gpt-5"), False),
        (asked("openai-responses", "o3"), False),
        (asked("openai-responses", "gpt-4.1-mini"), True),
        (asked("anthropic", "claude-sonnet-4-20250514"), True),
        (asked("anthropic", "claude-sonnet-4-5", thinking={"type": "adaptive"}), False),
        (asked("anthropic", "claude-sonnet-4-5", thinking={"type": "disabled"}), True),
        (asked("anthropic", "claude-haiku-5-5"), False),
        (asked("gemini", "gemini-2.5-flash"), False),
        (asked("gemini", "gemini-2.5-flash", config=NO_THOUGHTS), True),
    ],
)
def test_a_hold_grows_only_with_a_stream_that_shows_all_its_output(
    request_: tuple[str, str, dict[str, Any]],
    grows: bool,  # noqa: FBT001 - as it is given
) -> None:
    """Of hidden reasoning nothing is seen before it is billed: all that it may be is held."""
    api, model, body = request_
    assert _grows(api, model, body) == grows


@pytest.mark.parametrize(
    ("provider", "model", "more", "grows"),
    [
        ("openrouter", "openai/o3", {}, False),
        ("openrouter", "openai/gpt-4o", {}, True),
        ("openrouter", "anthropic/claude-opus-4.5", {}, False),
        ("openrouter", "openai/gpt-4o", {"thinking": {"budget_tokens": 4096}}, False),
        ("openrouter", "qwen/qwen3-max", {}, False),
        ("x-ai", "grok-4-0709", {}, False),
        ("deepseek", "deepseek-chat", {}, True),
        ("mine", "gpt-5", {}, False),
        ("mine", "qwen3-8b", {}, True),
        ("mine", "qwen3-8b", {"reasoning": {"exclude": True}}, False),
    ],
)
def test_a_model_hides_its_reasoning_whoever_serves_it(
    provider: str,
    model: str,
    more: dict[str, Any],
    grows: bool,  # noqa: FBT001 - as it is given
) -> None:
    """What is not known to show all its output is held in full; one's own server bills no other."""
    body = {**asked("openai", model)[2], **more}
    assert _grows("openai", model, body, provider) == grows


def _grows(api: str, model: str, body: dict[str, Any], provider: str | None = None) -> bool:
    """Return whether *Elastic* holds less than the whole."""
    prices = {"input_mtok": "1", "output_mtok": "2"}
    book = PriceBook({f"mine/{each}": prices for each in ("gpt-5", "qwen3-8b")})
    more: Any = {} if provider is None else {"provider": provider}
    with open_ledger("memory:", clock=ManualClock()) as ledger:
        ledger.set_budget("acme", limits=["100 usd per day"])
        guard = Guard(ledger, book=book)
        whole, first = (
            guard.open(
                "acme", body, api=api, model=model, stream=True, policy=policy,
                allowed_options={"reasoning", "thinking"}, **more,
            ).hold
            for policy in (Strict(), Elastic())
        )  # fmt: skip
        return first < whole
