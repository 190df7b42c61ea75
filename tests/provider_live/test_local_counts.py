"""A real server's own count of an input, against what it then reads: the same number."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

import earmark
from earmark.admission.call import Call, input_counter
from earmark.admission.guard import COUNT_TIMEOUT_S, AsyncGuard, Receipt
from earmark.clock import SystemClock
from earmark.errors import BudgetExceeded
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.pricing.bound import ModelBound
from earmark.provider import SpokenApi, open_provider
from earmark.provider.local import LocalModel
from support.calls import ask, grant

MODEL: Final = "local/smollm2-135m"
BOOK: Final = PriceBook({MODEL: {"input_mtok": "1", "output_mtok": "1", "cache_read_mtok": "1"}})
#: llama.cpp counts for its Messages and its Responses API.
APIS: Final[tuple[SpokenApi, ...]] = ("anthropic", "openai-responses")
TEXTS: Final = {
    "short": "hi",
    "English": "Tell me about the planets, one by one. " * 40,
    "ligatures": "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 10 + "🎉" * 20,
}


@asynccontextmanager
async def opened(
    api: SpokenApi, model: LocalModel, text: str, margin: int | None
) -> AsyncGenerator[Call]:
    """Give one call of the local model, and close its provider."""
    url = model.anthropic_url if api == "anthropic" else model.openai_url
    provider = open_provider(
        "local", api=api, book=BOOK, clock=SystemClock(), base_url=url, count_margin=margin
    )
    try:
        yield provider.call(ask(MODEL, text, max_tokens=4))
    finally:
        await provider.aclose()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_was_counted_is_what_is_read(
    local_model: LocalModel, api: SpokenApi, text: str
) -> None:
    """With no margin: the bound is the usage, and the bytes of the few options beside it."""

    async def main() -> tuple[Any, Any, int]:
        async with opened(api, local_model, text, 0) as by_bytes:
            count = input_counter(by_bytes)
            assert count is not None
            counted = await count(COUNT_TIMEOUT_S)
            reply = await counted.send(grant())
        assert reply.usage is not None
        return by_bytes.bound, counted.bound, reply.usage.get("input_tokens")

    by_bytes, counted, read = asyncio.run(main())
    assert isinstance(counted, ModelBound)
    assert read <= counted.input_tokens <= read + 16
    assert counted.input_tokens < by_bytes.input_tokens / 2


@pytest.mark.parametrize("api", APIS)
def test_a_call_that_its_bytes_would_not_fit_is_made(
    local_model: LocalModel, api: SpokenApi
) -> None:
    """On a third of what its bytes hold, and what it cost is what was read and written."""

    async def spend(margin: int | None) -> Receipt:
        text = TEXTS["English"]
        async with (
            opened(api, local_model, text, margin) as call,
            earmark.open_async("memory:") as ledger,
        ):
            third = Money.nanos(call.bound.cost().in_nanos // 3)
            await ledger.set_budget("acme", limits=[f"{third} usd total"])
            return await AsyncGuard(ledger).spend("acme", call, wait=None)

    with pytest.raises(BudgetExceeded):
        asyncio.run(spend(None))
    receipt = asyncio.run(spend(20_000))
    assert receipt.reply.usage is not None
    assert receipt.charge.settled == BOOK.resolve(MODEL, at=0).cost(receipt.reply.usage)
    assert receipt.charge.settled <= receipt.charge.hold
