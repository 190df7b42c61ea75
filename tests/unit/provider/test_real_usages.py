"""Real usage blocks of real providers, sent over HTTP: the bill is what the price list gives."""

import asyncio
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earmark.admission.call import Reply
from earmark.apis.openai_chat import SEARCHING_MODELS
from earmark.money import Money
from earmark.pricing.book import PriceBook
from earmark.provider import SpokenApi, open_provider
from earmark.testing import ManualClock
from support.calls import ask, grant
from support.stub_server import Scene, StubServer, chunks, completion, events, message

#: Source: test data of pydantic/genai-prices, MIT.
DATA = Path(__file__).parents[3] / "../shared/data/real_usages.jsonl"
FLAVORS: dict[SpokenApi, str] = {"openai": "chat", "anthropic": "default"}


def lines(api: SpokenApi) -> list[tuple[dict[str, Any], Decimal]]:
    """Return the bodies this API sent, with the price expected for each."""
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    found: list[tuple[dict[str, Any], Decimal]] = []
    for line in DATA.read_text().splitlines():
        entry = json.loads(line)
        for price in entry["prices"]:
            # Models that search by themselves are not called: nothing bounds their fees.
            searches = any(name in entry["model"] for name in SEARCHING_MODELS)
            flavor = (price["provider_id"], price["api_flavor"])
            if flavor == (api, FLAVORS[api]) and not searches:
                total = Decimal(price["input_price"]) + Decimal(price["output_price"])
                found.append((entry["body"], total))
    return found


def replay(
    stub: StubServer, api: SpokenApi, scenes: Sequence[tuple[str, Scene]], **request: Any
) -> list[Reply]:
    """Return the reply of each model in each scene, at the prices of one day."""
    opened = open_provider(api, api=api, book=PriceBook(), clock=ManualClock(), base_url=stub.url)

    async def each() -> list[Reply]:
        replies: list[Reply] = []
        for model, scene in scenes:
            stub.play(scene)
            # What may answer with audio, whose price is not listed, is asked for text alone.
            options = {"modalities": ["text"]} if "audio" in model else {}
            call = opened.call(ask(model, **request, options=options))
            replies.append(await call.send(grant()))
        await opened.aclose()
        return replies

    return asyncio.run(each())


def plain(api: SpokenApi, body: dict[str, Any]) -> Scene:
    """Return the scene of a plain reply."""
    write = completion if api == "openai" else message
    return Scene(body=write(body["usage"], model=body["model"]))


def streamed(api: SpokenApi, body: dict[str, Any]) -> Scene:
    """Return the scene of a stream with the same usage."""
    usage, model = body["usage"], body["model"]
    if api == "openai":
        return Scene(events=chunks(["ok"], usage, model=model))
    start = {**usage, "output_tokens": 1}
    end = {"output_tokens": usage["output_tokens"]}
    return Scene(events=events(["ok"], start, end, model=model))


@pytest.mark.parametrize("play", [plain, streamed])
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_real_usage_blocks_are_billed_exactly(
    stub: StubServer, api: SpokenApi, play: Callable[[SpokenApi, dict[str, Any]], Scene]
) -> None:
    """Every real usage block costs what is expected, or says why nobody can know."""
    known = lines(api)
    replies = replay(
        stub, api, [(body["model"], play(api, body)) for body, _ in known], stream=play is streamed
    )
    for (body, expected), reply in zip(known, replies, strict=True):
        usage = body["usage"]
        if reply.cost is None:
            assert _nobody_knows(usage), (body, reply.note)
            assert reply.note
        else:
            assert reply.cost == Money.ceil(expected) + _search_fees(usage), body


def _nobody_knows(usage: dict[str, Any]) -> bool:
    """Whether it counts audio, which has no price of its own, or the tokens of a second model."""
    audio = usage.get("prompt_tokens_details", {}).get("audio_tokens")
    iterations: list[dict[str, Any]] = usage.get("iterations") or []
    advisor = any("model" in part for part in iterations)
    return bool(audio or advisor)


def _search_fees(usage: dict[str, Any]) -> Money:
    """The expected prices of the data leave out the fee of 0.01 USD for each web search."""
    used: dict[str, int] = usage.get("server_tool_use") or {}
    return Money("0.01") * (used.get("web_search_requests") or 0)
