"""Replies that real providers sent, against the prices genai-prices' own tests expect."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earmark.apis.replies import read_reply
from earmark.clock import from_datetime
from earmark.errors import EarmarkError
from earmark.money import Money
from earmark.pricing.book import PriceBook

_HERE = Path(__file__).parent
_ALL = _HERE.parents[2] / "../shared/data/real_usages.jsonl"
_SLICE = _HERE / "data/real_usages_slice.jsonl"

#: The expected prices are older than the installed list; on this day, outside the cheaper hours of
#: DeepSeek, every price they were made from still holds.
_AT = from_datetime(datetime(2026, 1, 1, 12, tzinfo=UTC))

_Key = tuple[int, str, str]
"""Line, provider, API flavour."""

#: Azure's `embeddings` reading of chat replies: 87 of 89 such entries.
_CHAT_READ_AS_EMBEDDINGS = (
    *(156, 162, 177, 184, 213, 216, 227, 232, 249, 254, 282, 283, 294, 305, 312, 326, 328, 330),
    *(332, 353, 378, 390, 415, 428, 467, 470, 472, 493, 495, 496, 498, 499, 500, 501, 502, 503),
    *(504, 506, 508, 510, 511, 512, 513, 514, 515, 517, 518, 521, 523, 524, 676, 677, 678, 679),
    *(680, 681, 682, 683, 696, 697, 698, 699, 700, 701, 702, 703, 704, 705, 706, 707, 720, 721),
    *(722, 723, 758, 762, 763, 767, 768, 778, 779, 780, 781, 782, 783, 784, 785),
)

#: Responses of OpenAI's models that the data also reads as Anthropic's Messages.
_RESPONSES_READ_AS_MESSAGES = (
    *(31, 57, 130, 138, 149, 167, 173, 176, 179, 189, 253, 299, 300, 320, 346, 359, 362, 385),
    *(399, 448, 459, 507, 539, 567, 568, 572, 574, 575, 577, 580, 582, 587, 589, 597, 600, 602),
    *(603, 605, 607, 608, 609, 618, 627, 631, 727, 732, 743, 773, 776),
)

#: Every entry whose cost is not the expected one, and why.
_OTHER_COST: dict[str, set[_Key]] = {
    "a chat reply read as embeddings loses its output; we count what only the total shows": {
        *((line, "azure", "embeddings") for line in _CHAT_READ_AS_EMBEDDINGS),
        (177, "openai", "embeddings"),
    },
    "completion_tokens leaves out 62 reasoning tokens that the total shows and Google bills": {
        (497, "google", "chat"),
    },
    "billed at the flex tier, which this model has no price for; expected at the list price": {
        (65, "google", "default"),
    },
    "iterations of a second model, whose tokens the totals leave out: refused": {
        (line, provider, flavor)
        for line in (103, 126)
        for provider, flavor in (
            ("anthropic", "default"),
            ("aws", "anthropic"),
            ("azure", "responses"),
        )
    },
    "cache writes the list reads by now and did not when the expectation was made": {
        (176, "azure", "responses"),
        (602, "azure", "responses"),
        (177, "azure", "chat"),
    },
    "audio tokens without an audio price are refused; expected at the price of text": {
        (524, "azure", "chat"),
        (524, "openai", "chat"),
    },
    "the list has no price; expected 0": {(509, "cerebras", "chat")},
    "read as another API's reply, whose tables do not know its counters: refused": {
        *((line, "azure", "anthropic") for line in _RESPONSES_READ_AS_MESSAGES),
        *((line, "aws", "anthropic") for line in (489, 490)),
        *(
            (line, "azure", "responses")
            for line in (108, 117, 123, 124, 131, 132, 761, 764, 765, 766)
        ),
    },
    "web searches, for which the list has no price at Bedrock: refused": {
        (108, "aws", "anthropic"),
        (131, "aws", "anthropic"),
    },
}

#: Every line whose counts are not the expected ones, and why.
_OTHER_USAGE: dict[str, set[int]] = {
    "iterations of a second model: refused": {103, 126},
    "62 reasoning tokens that only the total shows": {497},
}

#: Whose replies the 142 lines may be that name no provider.
_PROVIDERS = ("aws", "google", "openai", "anthropic", "cohere")


def test_every_real_reply_costs_what_is_expected() -> None:
    """All 789 replies, 1,338 prices: each equals the expected one, or is listed with its reason."""
    listed = set[_Key]().union(*_OTHER_COST.values())
    entries = list(_entries(_lines(_ALL)))

    differing = {key for key, _, expected, actual in entries if actual != expected}

    assert (len(entries), len(differing)) == (1338, 165)
    assert differing == listed


def test_every_real_usage_is_read_as_expected() -> None:
    """Every expected count of all 789 replies is read, or is listed with the reason."""
    listed = set[int]().union(*_OTHER_USAGE.values())
    lines = _lines(_ALL)

    differing = {number for number, line in enumerate(lines, 1) if not _reads(line)}

    assert (len(lines), len(differing)) == (789, 3)
    assert differing == listed


def test_the_slice_of_real_replies_costs_what_is_expected() -> None:
    """Of the 15 replies kept here, the 8 without a listed difference cost what is expected."""
    entries = list(_entries(_lines(_SLICE)))

    differing = {key for key, _, expected, actual in entries if actual != expected}

    # They are among those listed above; 3, 7 and 15 are read as another API's reply.
    assert {line for line, _, _ in differing} == {3, 4, 6, 7, 8, 10, 15}


def test_a_reply_is_read_the_same_without_naming_its_api() -> None:
    """A provider's reply is recognised by its counters: no API flavour needs to be named."""
    for line in _lines(_SLICE):
        for entry in line["prices"][-1:]:
            provider, flavor = entry["provider_id"], entry["api_flavor"]
            try:
                named = read_reply(line["body"], provider=provider, api=flavor).usage
            except EarmarkError:
                continue
            assert read_reply(line["body"], provider=provider).usage.tokens == named.tokens


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip("the whole data set is not beside this checkout, in ../shared/data")
    return [json.loads(text) for text in path.read_text().splitlines()]


def _entries(lines: list[dict[str, Any]]) -> Iterator[tuple[_Key, str, Money, Money | None]]:
    """Yield key, model, expected cost and actual cost (`None` if refused) of every price."""
    book = PriceBook()
    for number, line in enumerate(lines, 1):
        for entry in line["prices"]:
            key = (number, entry["provider_id"], entry["api_flavor"])
            usd = Decimal(entry["input_price"]) + Decimal(entry["output_price"])
            expected = Money.ceil(Decimal(entry.get("total_price", usd)))
            yield key, line["model"], expected, _cost(book, line, entry)


def _cost(book: PriceBook, line: dict[str, Any], entry: dict[str, Any]) -> Money | None:
    provider = entry["provider_id"]
    try:
        reading = read_reply(line["body"], provider=provider, api=entry["api_flavor"])
        price = book.resolve(line["model"], provider=provider, at=_AT)
        return None if reading.unknown else price.cost(reading.usage)
    except EarmarkError:
        return None


def _reads(line: dict[str, Any]) -> bool:
    named = [entry["provider_id"] for entry in line["prices"][:1]]
    for provider in named or _PROVIDERS:
        try:
            reading = read_reply(line["body"], provider=provider)
        except EarmarkError:
            continue
        # An expectation made with another API's reader lacks the parts that this API counts.
        if not reading.unknown and line["usage"].items() <= reading.usage.counts.items():
            return True
    return False
